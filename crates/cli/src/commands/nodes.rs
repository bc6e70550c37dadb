//! `stateward nodes`.

use clap::Args;

use crate::exit::Exit;
use crate::presentation::output::Output;
use crate::presentation::render::node::NODE;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward nodes\n  stateward nodes -o wide")]
pub(crate) struct Nodes {
    #[command(flatten)]
    output: Output,
}

impl ClientCommand for Nodes {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let items = context.client.items("/v1/nodes").await?;
        context.print_list(&NODE, &items, self.output)?;
        Ok(Exit::Ok)
    }
}
