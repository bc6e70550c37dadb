//! Events: the log, and the history of one entity.

use serde_json::Value;

use crate::json_text::{single_line, text};
use crate::presentation::output::color::Tone;
use crate::presentation::output::table::{Cell, Table};
use crate::presentation::output::{ResourcePrinter, time};

/// The history of one entity: who did what, when and why.
pub(crate) const HISTORY: ResourcePrinter = ResourcePrinter { name, table: history };
/// The log.
pub(crate) const EVENT: ResourcePrinter = ResourcePrinter { name, table: events };

fn name(event: &Value) -> String {
    text(event, "/position")
}

fn history(items: &[Value], wide: bool, _: jiff::Timestamp) -> Table {
    let mut header = vec!["VERSION", "TIME", "WHO", "WHAT", "DETAIL", "WHY"];
    if wide {
        header.extend(["OPERATION", "REQUEST", "HASH"]);
    }
    let mut table = Table::new(&header);
    for event in items {
        let mut row: Vec<Cell> = vec![
            text(event, "/version").into(),
            time::moment(&text(event, "/recorded_at")).into(),
            who(event).into(),
            Cell::toned(what(event), tone(event)),
            detail(event).into(),
            text(event, "/reason").into(),
        ];
        if wide {
            row.extend(
                ["/operation_id", "/request_id", "/hash"].map(|p| Cell::from(text(event, p))),
            );
        }
        table.row_of(row);
    }
    table
}

fn events(items: &[Value], wide: bool, _: jiff::Timestamp) -> Table {
    let mut header = vec!["POSITION", "TIME", "STREAM", "WHO", "WHAT", "DETAIL"];
    if wide {
        header.extend(["WHY", "OPERATION"]);
    }
    let mut table = Table::new(&header);
    for event in items {
        let mut row: Vec<Cell> = vec![
            text(event, "/position").into(),
            time::moment(&text(event, "/recorded_at")).into(),
            text(event, "/stream").into(),
            who(event).into(),
            Cell::toned(what(event), tone(event)),
            detail(event).into(),
        ];
        if wide {
            row.extend(["/reason", "/operation_id"].map(|p| Cell::from(text(event, p))));
        }
        table.row_of(row);
    }
    table
}

/// One line of a growing list, whose columns have fixed widths.
pub(crate) fn line(event: &Value, color: bool) -> String {
    let what = tone(event).paint(&format!("{:<18}", what(event)), color);
    let line = format!(
        "{:<40}  {:<20}  {:<43}  {:<10}  {what}  {}",
        text(event, "/position"),
        time::moment(&text(event, "/recorded_at")),
        text(event, "/stream"),
        who(event),
        single_line(&detail(event)),
    );
    line.trim_end().to_owned()
}

/// The actor: a user by id, others by their type.
fn who(event: &Value) -> String {
    let id = text(event, "/actor/id");
    if event["actor"]["type"] == "user" || id.is_empty() { id } else { text(event, "/actor/type") }
}

/// The event type without its prefix, as words.
pub(crate) fn what(event: &Value) -> String {
    let name = text(event, "/type");
    name.rsplit('.').next().unwrap_or_default().replace('_', " ")
}

fn tone(event: &Value) -> Tone {
    match text(event, "/type").as_str() {
        "entity.sync_failed"
        | "entity.drift_detected"
        | "entity.stray_found"
        | "entity.object_contested" => Tone::Bad,
        "entity.sync_completed" | "entity.drift_cleared" | "entity.error_cleared" => Tone::Good,
        _ => Tone::Plain,
    }
}

/// The most important part of the event's data.
fn detail(event: &Value) -> String {
    let data = &event["data"];
    let fields = |list: &Value| {
        let fields = list.as_array().into_iter().flatten();
        fields.map(|field| text(field, "/field")).collect::<Vec<_>>().join(", ")
    };
    match text(event, "/type").as_str() {
        "entity.sync_started" | "entity.sync_completed" => {
            format!("attempt {}: {}", data["attempt"], step(&data["step"]))
        }
        "entity.sync_failed" => text(data, "/error/message"),
        "entity.drift_detected" => fields(&data["diff"]),
        "entity.settings_changed" => keys(&data["settings"]),
        "entity.action_requested" => text(data, "/action"),
        "entity.delete_requested" => text(data, "/policy"),
        "entity.external_id_recorded" | "entity.stray_found" | "entity.adopt_requested" => {
            text(data, "/external_id")
        }
        "entity.decision_taken" => text(data, "/decision"),
        "entity.create_requested" | "entity.update_requested" => keys(&data["desired"]),
        _ => String::new(),
    }
}

/// A step with its fields, if it has some.
fn step(step: &Value) -> String {
    let Some((name, about)) = step.as_object().and_then(|tagged| tagged.iter().next()) else {
        return text(step, "");
    };
    format!("{name} {}", super::joined(&about["fields"])).trim_end().to_owned()
}

fn keys(value: &Value) -> String {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}
