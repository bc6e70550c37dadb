//! `stateward projections`.

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::client::{Request, escaped};
use crate::exit::Exit;
use crate::presentation::output::Output;
use crate::presentation::render::projection::PROJECTION;
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward projections\n  stateward projections rebuild entities\n  \
    stateward projections retry entities"
)]
pub(crate) struct Projections {
    #[command(subcommand)]
    verb: Option<ProjectionVerb>,
    #[command(flatten)]
    output: Output,
}

#[derive(Subcommand)]
enum ProjectionVerb {
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

impl ClientCommand for Projections {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        match self.verb.unwrap_or(ProjectionVerb::List) {
            ProjectionVerb::List => {
                let items = context.client.items("/v1/projections").await?;
                context.print_list(&PROJECTION, &items, self.output)?;
            }
            ProjectionVerb::Rebuild { name } => act(context, &name, "rebuild", "rebuilt").await?,
            ProjectionVerb::Retry { name } => act(context, &name, "retry", "tried again").await?,
        }
        Ok(Exit::Ok)
    }
}

async fn act(context: &CommandContext, name: &str, action: &str, word: &str) -> anyhow::Result<()> {
    let path = format!("/v1/projections/{}/{action}", escaped(name));
    let sent = context.client.send(&Request::post(path).without_timeout()).await;
    sent.with_context(|| format!("projection {name}"))?;
    terminal::note(&format!("projection {name} {word}"));
    Ok(())
}
