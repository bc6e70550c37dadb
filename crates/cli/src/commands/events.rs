//! `stateward events`.

use clap::Args;

use crate::client::{EventStream, Request, StreamItem};
use crate::exit::{CliError, Exit};
use crate::json_text::text;
use crate::presentation::output::{Format, Output};
use crate::presentation::render::event::{EVENT, line};
use crate::presentation::terminal;
use crate::select::{check_namespace, find_one_or_deleted};
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(after_help = "Examples:\n  stateward events --limit 20\n  stateward events -f\n  \
    stateward events --entity file/motd -f --after 1041\n  \
    stateward events --type entity.drift_detected -o json\n\n\
    -f follows the log, until Ctrl-C; with -o json a document a line.")]
pub(crate) struct Events {
    /// Follow the log as it grows
    #[arg(short, long)]
    follow: bool,
    /// After this position, such as that of an event or of a checkpoint; no time [default: from the beginning, with -f from now on]
    #[arg(long, value_name = "POSITION")]
    after: Option<String>,
    /// Of this type, such as `entity.sync_failed`; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Of this entity; may be repeated
    #[arg(long = "entity", value_name = "KIND/NAME|ID")]
    entities: Vec<String>,
    /// In this namespace [default: all]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// So many at most
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000, conflicts_with = "follow")]
    limit: usize,
    #[command(flatten)]
    output: Output,
}

impl ClientCommand for Events {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let place = self.namespace.as_deref();
        let mut ids = Vec::new();
        for target in &self.entities {
            let entity =
                find_one_or_deleted(&context.client, target, place.unwrap_or("default")).await?;
            ids.push(text(&entity, "/id"));
        }
        let request = Request::get("/v1/events")
            .maybe("after", self.after.as_deref())
            .maybe("namespace", place)
            .each("type", &self.types)
            .each("entity", &ids);
        if self.follow {
            if let Some(name) = place {
                check_namespace(&context.client, name).await?;
            }
            return self.follow(context, request).await;
        }
        let events = context.client.list(&request, Some(self.limit)).await?;
        if let Some(name) = place
            && events.is_empty()
        {
            check_namespace(&context.client, name).await?;
        }
        context.print_list(&EVENT, &events, self.output)?;
        if let Some(last) = events.last().filter(|_| events.len() == self.limit) {
            let position = text(last, "/position");
            terminal::note(&format!("there may be more: --after {position}, or a higher --limit"));
        }
        Ok(Exit::Ok)
    }
}

impl Events {
    async fn follow(&self, context: &CommandContext, request: Request) -> anyhow::Result<Exit> {
        if matches!(self.output.format, Format::Yaml | Format::Wide) {
            return Err(CliError::usage("events -f writes lines: -o table, json or name"));
        }
        let mut stream = EventStream::open(&context.client, request).await?;
        loop {
            let StreamItem::Event(event) = stream.next().await? else { continue };
            terminal::print(&match self.output.format {
                Format::Json => event.to_string(),
                Format::Name => text(&event, "/position"),
                Format::Table | Format::Wide | Format::Yaml => line(&event, context.color),
            })?;
        }
    }
}
