//! `stateward namespaces`.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::client::{ChangeReason, Request, escaped};
use crate::exit::Exit;
use crate::presentation::output::Output;
use crate::presentation::render::access::NAMESPACE;
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward namespaces\n  stateward namespaces create physics --require-reason\n  \
    stateward namespaces delete physics"
)]
pub(crate) struct Namespaces {
    #[command(subcommand)]
    verb: Option<NamespaceVerb>,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum NamespaceVerb {
    /// List those that you may see
    #[command(after_help = "Example:\n  stateward namespaces list -o name")]
    List,
    /// Create one
    #[command(after_help = "Example:\n  stateward namespaces create physics --require-reason")]
    Create {
        name: String,
        /// Changes in it need a reason
        #[arg(long)]
        require_reason: bool,
        #[command(flatten)]
        why: ChangeReason,
    },
    /// Delete one without entities
    #[command(after_help = "Example:\n  stateward namespaces delete physics")]
    Delete {
        name: String,
        #[command(flatten)]
        why: ChangeReason,
    },
}

impl ClientCommand for Namespaces {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let client = &context.client;
        match self.verb.unwrap_or(NamespaceVerb::List) {
            NamespaceVerb::List => {
                let items = client.items("/v1/namespaces").await?;
                context.print_list(&NAMESPACE, &items, self.output)?;
            }
            NamespaceVerb::Create { name, require_reason, why } => {
                let body = json!({ "name": name, "require_reason": require_reason });
                let request = Request::post("/v1/namespaces").json(&body);
                let made = client.with_reason(&why).send(&request).await?;
                context.print_one(&NAMESPACE, &made, self.output)?;
            }
            NamespaceVerb::Delete { name, why } => {
                let request = Request::delete(format!("/v1/namespaces/{}", escaped(&name)));
                client.with_reason(&why).send(&request).await?;
                terminal::note(&format!("namespace {name} deleted"));
            }
        }
        Ok(Exit::Ok)
    }
}
