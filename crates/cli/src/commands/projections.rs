//! `stateward projections`.

use clap::{Args, Subcommand};

use crate::client::{Request, escaped};
use crate::context::{Run, Session};
use crate::exit::Exit;
use crate::presentation::output::Output;
use crate::presentation::render::projection::PROJECTION;
use crate::presentation::terminal;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward projections\n  stateward projections rebuild entities\n  \
    stateward projections retry entities"
)]
pub(crate) struct Projections {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum Verb {
    /// List the read models with their state
    #[command(after_help = "Example:\n  stateward projections list")]
    List,
    /// Replay the log beside the live one, then swap them; waits for it
    #[command(after_help = "Example:\n  stateward projections rebuild entities")]
    Rebuild { name: String },
    /// Replay the streams that were set aside
    #[command(after_help = "Example:\n  stateward projections retry entities")]
    Retry { name: String },
}

impl Run for Projections {
    async fn run(self, session: &Session) -> anyhow::Result<Exit> {
        match self.verb.unwrap_or(Verb::List) {
            Verb::List => {
                let items = session.client.items("/v1/projections").await?;
                session.print_list(&PROJECTION, &items, self.output)?;
            }
            Verb::Rebuild { name } => act(session, &name, "rebuild", "rebuilt").await?,
            Verb::Retry { name } => act(session, &name, "retry", "tried again").await?,
        }
        Ok(Exit::Ok)
    }
}

async fn act(session: &Session, name: &str, action: &str, word: &str) -> anyhow::Result<()> {
    let path = format!("/v1/projections/{}/{action}", escaped(name));
    session.client.send(&Request::post(path).unhurried()).await?;
    terminal::note(&format!("projection {name} {word}"));
    Ok(())
}
