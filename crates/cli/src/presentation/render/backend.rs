//! Backends.

use serde_json::Value;

use super::joined;
use crate::client::backend_pause;
use crate::json_text::text;
use crate::presentation::output::ResourcePrinter;
use crate::presentation::output::color::Tone;
use crate::presentation::output::table::{Cell, Table};

pub(crate) const BACKEND: ResourcePrinter =
    ResourcePrinter { name: |backend| text(backend, "/name"), table };
/// The change that a reload made to each backend.
pub(crate) const RELOADED: ResourcePrinter =
    ResourcePrinter { name: |backend| text(backend, "/name"), table: reloaded };

fn table(items: &[Value], wide: bool, _: jiff::Timestamp) -> Table {
    let mut header = vec!["NAME", "DRIVER", "STATE", "WHY"];
    if wide {
        header.push("KINDS");
    }
    let mut table = Table::new(&header);
    for backend in items {
        let state = state(backend);
        let tone = if state == "open" { Tone::Good } else { Tone::Bad };
        let mut row: Vec<Cell> = vec![
            text(backend, "/name").into(),
            text(backend, "/driver").into(),
            Cell::toned(state, tone),
            why(backend).into(),
        ];
        if wide {
            row.push(joined(&backend["kinds"]).into());
        }
        table.row_of(row);
    }
    table
}

fn reloaded(items: &[Value], _: bool, _: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "CHANGE"]);
    for backend in items {
        table.row([text(backend, "/name").into(), text(backend, "/change").into()]);
    }
    table
}

/// `open`, `paused`, or the reason why it is closed.
fn state(backend: &Value) -> String {
    if backend["paused"] == true {
        return "paused".to_owned();
    }
    match &backend["closed"] {
        Value::Null => "open".to_owned(),
        Value::String(word) => word.replace('_', " "),
        Value::Object(tagged) => {
            tagged.keys().next().map(|word| word.replace('_', " ")).unwrap_or_default()
        }
        other => other.to_string(),
    }
}

/// The end and reason of a pause, and the innermost message of why it is closed.
fn why(backend: &Value) -> String {
    let reasons = [backend_pause::pause(backend).unwrap_or_default(), closed(backend)];
    reasons.into_iter().filter(|reason| !reason.is_empty()).collect::<Vec<_>>().join("; ")
}

fn closed(backend: &Value) -> String {
    let closed = backend["closed"].as_object().and_then(|tagged| tagged.values().next());
    let Some(inner) = closed else { return String::new() };
    for pointer in ["/message", "/error/message"] {
        let message = text(inner, pointer);
        if !message.is_empty() {
            return message;
        }
    }
    words(inner)
}

/// An object as text, without brackets and null members.
fn words(value: &Value) -> String {
    let members = value.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let said = members.map(|(name, value)| {
        let name = name.replace('_', " ");
        if value.is_object() {
            format!("{name}: {}", words(value))
        } else {
            format!("{name} {}", text(value, ""))
        }
    });
    said.collect::<Vec<_>>().join(", ")
}
