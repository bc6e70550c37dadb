//! `stateward backends`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Request, Why, escaped};
use crate::context::{Run, Session};
use crate::exit::Exit;
use crate::presentation::output::{Output, time};
use crate::presentation::render::backend::{BACKEND, RELOADED};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward backends\n  stateward backends pause cloud --until 2h --reason upgrade\n  \
    stateward backends resume cloud          # also: yes, this is the one that is meant\n  stateward backends reload"
)]
pub(crate) struct Backends {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum Verb {
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
        #[arg(long, value_name = "DURATION|TIME")]
        until: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// Go on, and confirm that it is the one that is meant
    #[command(
        after_help = "Example:\n  stateward backends resume cloud --reason 'the new cloud is meant'"
    )]
    Resume {
        name: String,
        #[command(flatten)]
        why: Why,
    },
    /// Check whether it answers
    #[command(after_help = "Example:\n  stateward backends test cloud")]
    Test { name: String },
    /// Read the configuration and the files of secrets again
    #[command(after_help = "Example:\n  stateward backends reload")]
    Reload {
        #[command(flatten)]
        why: Why,
    },
}

impl Run for Backends {
    async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        let output = self.output;
        let nothing = Why::default();
        match self.verb.unwrap_or(Verb::List) {
            Verb::List => {
                let items = session.client.items("/v1/backends").await?;
                session.print_list(&BACKEND, &items, output)?;
            }
            Verb::Get { name } => {
                let request = Request::get(format!("/v1/backends/{}", escaped(&name)));
                session.print_one(&BACKEND, &session.client.send(&request).await?, output)?;
            }
            Verb::Pause { name, until, why } => {
                let until = until.map(|text| time::future(&text, session.now)).transpose()?;
                let body = json!({ "until": until });
                act(session, &name, "pause", &body, &why, output).await?;
            }
            Verb::Resume { name, why } => {
                act(session, &name, "resume", &json!({}), &why, output).await?;
            }
            Verb::Test { name } => {
                act(session, &name, "test", &json!({}), &nothing, output).await?;
            }
            Verb::Reload { why } => {
                let request = Request::post("/v1/backends/reload");
                let reply = session.client.because(&why).send(&request).await?;
                let backends = reply["backends"].as_array().cloned().unwrap_or_default();
                session.print_list(&RELOADED, &backends, output)?;
            }
        }
        Ok(Exit::Ok)
    }
}

async fn act(
    session: &Session,
    name: &str,
    action: &str,
    body: &Value,
    why: &Why,
    output: Output,
) -> anyhow::Result<()> {
    let path = format!("/v1/backends/{}/actions/{action}", escaped(name));
    let backend = session.client.because(why).send(&Request::post(path).json(body)).await?;
    session.print_one(&BACKEND, &backend, output)
}
