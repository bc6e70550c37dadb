//! `stateward unfreeze`.

use clap::Args;

use crate::client::{ChangeReason, Request};
use crate::exit::Exit;
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Example:\n  stateward audit verify && stateward unfreeze --reason 'restored, looks right'\n\n\
    A server that started from a backup, a copy or an import only looks until a person says this."
)]
pub(crate) struct Unfreeze {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    why: ChangeReason,
}

impl ClientCommand for Unfreeze {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        if !self.yes && !terminal::confirm("change things on the backends again?")? {
            terminal::note("nothing was done");
            return Ok(Exit::Failure);
        }
        context.client.with_reason(&self.why).send(&Request::post("/v1/system/unfreeze")).await?;
        terminal::note("changes are made on the backends again");
        Ok(Exit::Ok)
    }
}
