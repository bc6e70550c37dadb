//! The page of `describe`: one entity with its conditions, operations and events.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::{event, operation, yes};
use crate::client::entity_json;
use crate::json_text::{single_line, text};
use crate::presentation::output::color::{Tone, bold};
use crate::presentation::output::table::{Cell, Table};
use crate::presentation::output::{time, yaml};

/// The content of the page.
pub(crate) struct EntityPage<'a> {
    pub(crate) entity: &'a Value,
    /// Newest first.
    pub(crate) operations: &'a [Value],
    /// The last ones, oldest first.
    pub(crate) events: &'a [Value],
}

/// The page.
pub(crate) fn page(described: &EntityPage<'_>, now: jiff::Timestamp, color: bool) -> String {
    let entity = described.entity;
    let mut page = head(entity, color);
    section(&mut page, "Conditions", &conditions(entity, now).render(color), color);
    section(&mut page, "Desired", &yaml(&entity["desired"]), color);
    section(&mut page, "Observed", &observed(entity), color);
    if entity["drift"].as_array().is_some_and(|drift| !drift.is_empty()) {
        section(&mut page, "Drift", &drift(entity).render(color), color);
    }
    if !described.operations.is_empty() {
        let table = (operation::OPERATION.table)(described.operations, false, now);
        section(&mut page, "Operations", &table.render(color), color);
    }
    if !described.events.is_empty() {
        let table = (event::HISTORY.table)(described.events, false, now);
        section(&mut page, "Events", &table.render(color), color);
    }
    page
}

fn head(entity: &Value, color: bool) -> String {
    let mut head = String::new();
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing to a text never fails.
            let _ = writeln!(head, "{:<14}{value}", format!("{name}:"));
        }
    };
    let state = text(entity, "/state");
    field("Name", entity_json::label(entity));
    field("Namespace", text(entity, "/namespace"));
    field("Backend", text(entity, "/backend"));
    field("Waits", single_line(&text(entity, &format!("/{}", entity_json::BACKEND_PAUSE))));
    field("Id", text(entity, "/id"));
    field("Labels", labels(entity));
    field("State", Tone::of_state(&state).paint(&state, color));
    field("Error", error(entity));
    field("Generation", text(entity, "/generation"));
    field("Revision", text(entity, "/revision"));
    field("Version", text(entity, "/version"));
    field("Deletion", text(entity, "/deletion_policy"));
    field("Drift", text(entity, "/drift_policy"));
    field("Management", text(entity, "/management_policy"));
    field("Replace", text(entity, "/replace"));
    field("Protected", yes(&entity["protected"]).to_owned());
    field("Ignores", super::joined(&entity["ignore_fields"]));
    field("Depends on", super::joined(&entity["depends_on"]));
    field("Uses", entities(&entity["references"]));
    field("Used by", entities(&entity["referenced_by"]));
    field("Created", time::moment(&text(entity, "/created_at")));
    field("Updated", time::moment(&text(entity, "/updated_at")));
    head
}

/// Labels of other entities, each once.
fn entities(others: &Value) -> String {
    let others = others.as_array().into_iter().flatten();
    let labels: BTreeSet<String> = others.map(entity_json::label).collect();
    labels.into_iter().collect::<Vec<_>>().join(", ")
}

fn labels(entity: &Value) -> String {
    let labels = entity["labels"].as_object().into_iter().flatten();
    labels.map(|(key, value)| format!("{key}={}", text(value, ""))).collect::<Vec<_>>().join(",")
}

/// The error, with the request id by which the backend's own log can be searched.
fn error(entity: &Value) -> String {
    let error = &entity["error"];
    if error.is_null() {
        return String::new();
    }
    let message = single_line(&text(error, "/message"));
    let mut line = format!("{message} ({})", text(error, "/code"));
    for (name, pointer) in [("effect", "/effect"), ("request", "/request_id")] {
        let value = text(error, pointer);
        if !value.is_empty() {
            // Writing to a text never fails.
            let _ = write!(line, ", {name} {value}");
        }
    }
    line
}

fn conditions(entity: &Value, now: jiff::Timestamp) -> Table {
    let mut table = Table::new(&["TYPE", "STATUS", "REASON", "SINCE", "MESSAGE"]);
    for condition in entity["conditions"].as_array().into_iter().flatten() {
        table.row([
            text(condition, "/type").into(),
            yes(&condition["status"]).into(),
            text(condition, "/reason").into(),
            time::age(&text(condition, "/since"), now).into(),
            text(condition, "/message").into(),
        ]);
    }
    table
}

fn observed(entity: &Value) -> String {
    yaml(&entity["observed"])
}

fn drift(entity: &Value) -> Table {
    let mut table = Table::new(&["FIELD", "DESIRED", "OBSERVED"]);
    for difference in entity["drift"].as_array().into_iter().flatten() {
        let value = |member: &str| Cell::from(difference[member].to_string());
        table.row([text(difference, "/field").into(), value("desired"), value("observed")]);
    }
    table
}

fn section(page: &mut String, name: &str, body: &str, color: bool) {
    page.push('\n');
    page.push_str(&bold(&format!("{name}:"), color));
    page.push('\n');
    for line in body.lines() {
        page.push_str("  ");
        page.push_str(line);
        page.push('\n');
    }
}
