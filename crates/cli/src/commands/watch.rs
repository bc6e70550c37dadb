//! `stateward watch`.

use std::collections::HashMap;

use clap::Args;
use serde_json::Value;

use crate::client::entity_json::label;
use crate::client::watch_until;
use crate::client::{EventStream, Problem, Request, StreamItem};
use crate::exit::{CliError, Exit};
use crate::json_text::text;
use crate::presentation::output::{Format, Output};
use crate::presentation::render::entity::{LINE_HEADER, line};
use crate::presentation::terminal;
use crate::select::{Selected, Selection};
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward watch                    # everything in the namespace\n  \
    stateward watch file/motd\n  stateward watch -A -l app=site -o json\n\n\
    Shows each entity as it is, then a line whenever it changes, until Ctrl-C. -o json: a document a line."
)]
pub(crate) struct Watch {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    output: Output,
}

/// The state of a watch: which entities are watched, and which versions were shown.
struct WatchView<'a> {
    context: &'a CommandContext,
    watch: &'a Watch,
    /// Full names; empty = all.
    kinds: Vec<String>,
    /// Only these ids; `None` = all that match the filter.
    only: Option<Vec<String>>,
    /// Version of each entity that was shown.
    shown: HashMap<String, u64>,
}

impl ClientCommand for Watch {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        if matches!(self.output.format, Format::Yaml | Format::Wide) {
            return Err(CliError::usage("watch writes lines: -o table, json or name"));
        }
        let client = &context.client;
        let kinds = self.selection.kinds(client).await?;
        let selected = self.selection.resolve(client).await?;
        for (what, error) in &selected.missing {
            terminal::report_error(what, error);
        }
        if selected.exactly && selected.entities.is_empty() {
            return Ok(selected.exit());
        }
        let ids = |selected: &Selected| selected.entities.iter().map(|e| text(e, "/id")).collect();
        let only: Option<Vec<String>> = selected.exactly.then(|| ids(&selected));
        // Subscribe before the first read, so that no change in between is missed.
        let mut events = EventStream::open(client, self.request(only.as_deref())).await?;
        let mut view = WatchView { context, watch: &self, kinds, only, shown: HashMap::new() };
        if self.output.format == Format::Table {
            terminal::print(LINE_HEADER)?;
        }
        view.refresh().await?;
        loop {
            match events.next().await? {
                StreamItem::Reconnected => view.refresh().await?,
                StreamItem::Event(event) => view.follow(&event).await?,
            }
        }
    }
}

impl Watch {
    fn request(&self, only: Option<&[String]>) -> Request {
        match only {
            Some(ids) => watch_until::events_of(ids),
            None => {
                Request::get("/v1/events").maybe("namespace", self.selection.filter.namespace())
            }
        }
    }
}

impl WatchView<'_> {
    async fn refresh(&mut self) -> anyhow::Result<()> {
        let selected = self.watch.selection.resolve(&self.context.client).await?;
        selected.entities.iter().try_for_each(|entity| self.show(entity))
    }

    async fn follow(&mut self, event: &Value) -> anyhow::Result<()> {
        let id = watch_until::entity_id(event);
        let is_entity = text(event, "/type").starts_with("entity.");
        let wanted = self.only.as_ref().is_none_or(|only| only.contains(&id));
        let known = self.shown.get(&id).copied().unwrap_or_default();
        if !is_entity || !wanted || event["version"].as_u64().unwrap_or_default() <= known {
            return Ok(());
        }
        let read = self.context.client.send(&Request::get(format!("/v1/entities/{id}"))).await;
        let entity = match read {
            Ok(entity) => entity,
            // The caller may not see its namespace any more.
            Err(error) if error.downcast_ref::<Problem>().is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        // An entity that stops matching is shown once more: its new state says why.
        let fits = self.only.is_some() || self.watch.selection.filter.fits(&self.kinds, &entity);
        if fits || known > 0 { self.show(&entity) } else { Ok(()) }
    }

    fn show(&mut self, entity: &Value) -> anyhow::Result<()> {
        let version = entity["version"].as_u64().unwrap_or_default();
        let before = self.shown.insert(text(entity, "/id"), version).unwrap_or_default();
        if version <= before {
            return Ok(());
        }
        terminal::print(&match self.watch.output.format {
            Format::Json => entity.to_string(),
            Format::Name => label(entity),
            Format::Table | Format::Wide | Format::Yaml => line(entity, self.context.color),
        })
    }
}
