//! `stateward audit verify`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use stateward_domain::audit::VerificationProgress;

use super::export::Lines;
use crate::client::Request;
use crate::commands::audit::offline;
use crate::exit::Exit;
use crate::json_text::text;
use crate::presentation::output::color::Tone;
use crate::presentation::output::table::{Cell, Table};
use crate::presentation::output::{Format, Output, ResourcePrinter};
use crate::presentation::terminal;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward audit verify\n  stateward audit verify --against checkpoint.json -o json\n\n\
    A chain of hashes shows edits, gaps and reordering. A cut tail, a removed stream or a chain that was made anew\n\
    shows only against a checkpoint that was kept elsewhere. Exit code 1 when something is wrong."
)]
pub(crate) struct AuditVerify {
    /// A checkpoint that was kept elsewhere; - for standard input
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Read the files in --data, without a server
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    output: Output,
}

const FAULT: ResourcePrinter =
    ResourcePrinter { name: |fault| text(fault, "/stream"), table: faults };

fn faults(items: &[Value], _: bool, _: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["STREAM", "VERSION", "POSITION", "FAULT", "DETAIL"]);
    for fault in items {
        let fields = ["/stream", "/version", "/position"].map(|p| Cell::from(text(fault, p)));
        let mut row = fields.to_vec();
        row.push(Cell::toned(text(fault, "/fault"), Tone::Bad));
        row.push(text(fault, "/detail").into());
        table.row_of(row);
    }
    table
}

impl ClientCommand for AuditVerify {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let against = self.against.as_deref().map(read).transpose()?;
        let result = if self.offline {
            offline(context, against).await?
        } else {
            let mut request = Request::post("/v1/audit/verify").accept("application/x-ndjson");
            if let Some(against) = against {
                request = request.json(&json!({ "against": against }));
            }
            verified(context, &request).await?
        };
        match self.output.format {
            Format::Table | Format::Wide => {
                let found = result["faults"].as_array().cloned().unwrap_or_default();
                if !found.is_empty() {
                    context.print_list(&FAULT, &found, self.output)?;
                }
                for note in result["notes"].as_array().into_iter().flatten() {
                    terminal::print(&format!("note: {}", note.as_str().unwrap_or_default()))?;
                }
                terminal::print(&summary(&result))?;
            }
            Format::Json => terminal::print(&crate::presentation::output::json(&result))?,
            Format::Yaml => terminal::print(&crate::presentation::output::yaml(&result))?,
            Format::Name => {
                let found = result["faults"].as_array().cloned().unwrap_or_default();
                terminal::print(&FAULT.list(&found, Format::Name, context.now, false))?;
            }
        }
        Ok(if result["ok"] == true { Exit::Ok } else { Exit::Failure })
    }
}

fn read(file: &std::path::Path) -> anyhow::Result<Value> {
    let name = file.display();
    let bytes = if file == std::path::Path::new("-") {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{name} is no checkpoint"))
}

/// Verifies the files themselves; the report has the server's form.
async fn offline(context: &CommandContext, against: Option<Value>) -> anyhow::Result<Value> {
    let against = against.map(serde_json::from_value).transpose();
    let against = against.context("this is no checkpoint")?;
    let bar = terminal::progress("verifying", 0);
    let on_progress = |progress: VerificationProgress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let report = offline::verify(&context.data, against.as_ref(), &on_progress).await?;
    bar.finish_and_clear();
    Ok(serde_json::to_value(report)?)
}

/// Verifies over REST; reads lines of progress up to the result.
async fn verified(context: &CommandContext, request: &Request) -> anyhow::Result<Value> {
    let mut lines = Lines::of(context.client.stream(request).await?);
    let bar = terminal::progress("verifying", 0);
    while let Some(line) = lines.next().await? {
        let line: Value = serde_json::from_str(&line).context("the server's answer is no JSON")?;
        if let Some(result) = line.get("result") {
            bar.finish_and_clear();
            return Ok(result.clone());
        }
        // A server without progress answers with the bare result.
        if line.get("ok").is_some() {
            bar.finish_and_clear();
            return Ok(line);
        }
        bar.set_length(line["progress"]["total"].as_u64().unwrap_or_default());
        bar.set_position(line["progress"]["done"].as_u64().unwrap_or_default());
    }
    anyhow::bail!("the server ended before the result was there")
}

pub(super) fn summary(result: &Value) -> String {
    let number = |member: &str| text(result, &format!("/{member}"));
    let verdict = if result["ok"] == true {
        "ok".to_owned()
    } else {
        format!("{} fault(s)", number("fault_count"))
    };
    let place = &result["checkpoint"];
    format!(
        "{verdict}: {} events, {} streams, {} entities in {} ms; position {}, digest {}",
        number("events"),
        number("streams"),
        number("entities"),
        number("elapsed_ms"),
        text(place, "/position"),
        text(place, "/digest"),
    )
}
