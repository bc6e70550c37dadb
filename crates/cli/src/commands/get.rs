//! `stateward get`.

use clap::Args;

use crate::client::backend_pause::explain_pauses;
use crate::exit::Exit;
use crate::presentation::output::{Format, Output};
use crate::presentation::render::entity::{ENTITY, ENTITY_ANYWHERE};
use crate::presentation::terminal;
use crate::select::Selection;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward get local.file\n  stateward get file/motd -o yaml\n  \
    stateward get -A --state erred -o wide\n  stateward get -l team=platform -o name"
)]
pub(crate) struct Get {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    output: Output,
}

impl ClientCommand for Get {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let mut selected = self.selection.resolve(&context.client).await?;
        if self.output.format == Format::Wide {
            explain_pauses(&context.client, &mut selected.entities).await;
        }
        let anywhere = self.selection.filter.is_anywhere();
        let noun = if anywhere { &ENTITY_ANYWHERE } else { &ENTITY };
        match selected.entities.as_slice() {
            [entity] if self.selection.is_single() => {
                context.print_one(noun, entity, self.output)?;
            }
            [] if !selected.missing.is_empty() => {}
            entities => context.print_list(noun, entities, self.output)?,
        }
        for (what, error) in &selected.missing {
            terminal::report_error(what, error);
        }
        Ok(selected.exit())
    }
}
