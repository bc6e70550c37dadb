//! `stateward history`.

use anyhow::Context;
use clap::Args;

use crate::client::Request;
use crate::client::entity_json::label;
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::output::{Format, Output, time, yaml};
use crate::presentation::render::entity::ENTITY;
use crate::presentation::render::event::HISTORY;
use crate::presentation::terminal;
use crate::select::{InNamespace, find_one_or_deleted};
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward history file/motd\n  stateward history file/motd -o wide\n  \
    stateward history file/motd --at 3\n  stateward history file/motd --at 2026-11-25T08:00:00Z\n  \
    stateward history file/motd --at 10m               # ten minutes ago"
)]
pub(crate) struct History {
    /// The entity
    #[arg(value_name = "KIND/NAME|ID")]
    target: String,
    #[command(flatten)]
    place: InNamespace,
    /// Show the entity as it was at this version or time
    #[arg(long, value_name = "VERSION|TIME")]
    at: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl ClientCommand for History {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let client = &context.client;
        let entity = find_one_or_deleted(client, &self.target, &self.place.namespace).await?;
        let path = format!("/v1/entities/{}", text(&entity, "/id"));
        let Some(at) = &self.at else {
            let events = client.list(&Request::get(format!("{path}/events")), None).await?;
            context.print_list(&HISTORY, &events, self.output)?;
            return Ok(Exit::Ok);
        };
        let is_version = at.bytes().all(|byte| byte.is_ascii_digit());
        let at = if is_version { at.clone() } else { time::past(at, context.now)? };
        let then = client.send(&Request::get(path).query("at", &*at)).await;
        let then = then.with_context(|| format!("{} at {at}", label(&entity)))?;
        match self.output.format {
            // A table would show only a few of the fields.
            Format::Table => terminal::print(&yaml(&then))?,
            _ => context.print_one(&ENTITY, &then, self.output)?,
        }
        Ok(Exit::Ok)
    }
}
