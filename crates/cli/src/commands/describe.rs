//! `stateward describe`.

use std::slice;

use clap::Args;

use crate::client::Request;
use crate::client::backend_pause::explain_pauses;
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::render::describe::{EntityPage, page};
use crate::presentation::terminal;
use crate::select::{InNamespace, find_one_or_deleted};
use crate::verb_context::{ClientCommand, CommandContext};

/// Operations and events shown at most.
const OPERATIONS: usize = 5;
const EVENTS: usize = 10;

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward describe local.file/motd\n  stateward describe file/motd file/ntp"
)]
pub(crate) struct Describe {
    /// What to describe
    #[arg(value_name = "KIND/NAME|ID", required = true)]
    targets: Vec<String>,
    #[command(flatten)]
    place: InNamespace,
}

impl ClientCommand for Describe {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let client = &context.client;
        for (number, target) in self.targets.iter().enumerate() {
            let entity = find_one_or_deleted(client, target, &self.place.namespace).await?;
            let path = format!("/v1/entities/{}", text(&entity, "/id"));
            // Only this endpoint lists the dependents.
            let mut entity = client.send(&Request::get(path.clone())).await?;
            explain_pauses(client, slice::from_mut(&mut entity)).await;
            let operations = Request::get(format!("{path}/operations"));
            let operations = client.list(&operations, Some(OPERATIONS)).await?;
            let events = client.list(&Request::get(format!("{path}/events")), None).await?;
            let events = &events[events.len().saturating_sub(EVENTS)..];
            let described = EntityPage { entity: &entity, operations: &operations, events };
            if number > 0 {
                terminal::print("\n---\n\n")?;
            }
            terminal::print(&page(&described, context.now, context.color))?;
        }
        Ok(Exit::Ok)
    }
}
