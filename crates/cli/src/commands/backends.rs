//! `stateward backends`.

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{ChangeReason, Request, escaped};
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::output::{Output, time};
use crate::presentation::render::backend::{BACKEND, RELOADED};
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward backends\n  stateward backends pause cloud --until 2h --reason upgrade\n  \
    stateward backends resume cloud          # also: yes, this is the one that is meant\n  stateward backends reload"
)]
pub(crate) struct Backends {
    #[command(subcommand)]
    verb: Option<BackendVerb>,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum BackendVerb {
    /// List them with their state
    #[command(after_help = "Example:\n  stateward backends list -o wide")]
    List,
    /// Show one with its state
    #[command(after_help = "Example:\n  stateward backends get local -o yaml")]
    Get { name: String },
    /// Change nothing there for a while
    #[command(
        after_help = "Example:\n  stateward backends pause cloud --until 2h --reason upgrade"
    )]
    Pause {
        name: String,
        /// For so long (2h) or until this time [default: until it is resumed]
        #[arg(long, value_name = "DURATION|TIME", allow_hyphen_values = true)]
        until: Option<String>,
        #[command(flatten)]
        why: ChangeReason,
    },
    /// Go on, and confirm that it is the one that is meant
    #[command(
        after_help = "Example:\n  stateward backends resume cloud --reason 'the new cloud is meant'"
    )]
    Resume {
        name: String,
        #[command(flatten)]
        why: ChangeReason,
    },
    /// Check whether it answers
    #[command(after_help = "Example:\n  stateward backends test cloud")]
    Test { name: String },
    /// Read the configuration and the files of secrets again
    #[command(
        after_help = "Every node reads its own files. One that could not, or has another configuration, is named, and the \
        exit code is 1.\n\nExample:\n  stateward backends reload"
    )]
    Reload {
        #[command(flatten)]
        why: ChangeReason,
    },
}

impl ClientCommand for Backends {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let output = self.output;
        let nothing = ChangeReason::default();
        match self.verb.unwrap_or(BackendVerb::List) {
            BackendVerb::List => {
                let items = context.client.items("/v1/backends").await?;
                context.print_list(&BACKEND, &items, output)?;
            }
            BackendVerb::Get { name } => {
                let request = Request::get(format!("/v1/backends/{}", escaped(&name)));
                let backend = context.client.send(&request).await;
                let backend = backend.with_context(|| format!("backend {name}"))?;
                context.print_one(&BACKEND, &backend, output)?;
            }
            BackendVerb::Pause { name, until, why } => {
                let until = until.map(|text| time::future(&text, context.now)).transpose()?;
                let body = json!({ "until": until });
                act(context, &name, "pause", &body, &why, output).await?;
            }
            BackendVerb::Resume { name, why } => {
                act(context, &name, "resume", &json!({}), &why, output).await?;
            }
            BackendVerb::Test { name } => {
                act(context, &name, "test", &json!({}), &nothing, output).await?;
            }
            BackendVerb::Reload { why } => {
                let request = Request::post("/v1/backends/reload");
                let reply = context.client.with_reason(&why).send(&request).await?;
                let backends = reply["backends"].as_array().cloned().unwrap_or_default();
                context.print_list(&RELOADED, &backends, output)?;
                return Ok(report_failed(&reply));
            }
        }
        Ok(Exit::Ok)
    }
}

/// Prints the nodes that failed in a reload; the exit code of the command.
fn report_failed(reply: &Value) -> Exit {
    let failed = reply["failed"].as_array().map_or(&[][..], Vec::as_slice);
    for node in failed {
        let (name, error) = (text(node, "/node"), text(node, "/error"));
        terminal::note(&format!("stateward: node {name} did not reload: {error}"));
    }
    if failed.is_empty() { Exit::Ok } else { Exit::Failure }
}

async fn act(
    context: &CommandContext,
    name: &str,
    action: &str,
    body: &Value,
    why: &ChangeReason,
    output: Output,
) -> anyhow::Result<()> {
    let path = format!("/v1/backends/{}/actions/{action}", escaped(name));
    let backend = context.client.with_reason(why).send(&Request::post(path).json(body)).await;
    let backend = backend.with_context(|| format!("backend {name}"))?;
    context.print_one(&BACKEND, &backend, output)
}
