//! Tables and lines of entities.

use serde_json::Value;

use super::yes;
use crate::client::entity_json::{condition, label, message};
use crate::json_text::text;
use crate::presentation::output::color::Tone;
use crate::presentation::output::table::{Cell, Table};
use crate::presentation::output::{ResourcePrinter, time};

/// Entities of one namespace.
pub(crate) const ENTITY: ResourcePrinter =
    ResourcePrinter { name: label, table: |items, wide, now| table(items, wide, false, now) };
/// Entities of several namespaces.
pub(crate) const ENTITY_ANYWHERE: ResourcePrinter =
    ResourcePrinter { name: label, table: |items, wide, now| table(items, wide, true, now) };

fn table(items: &[Value], wide: bool, anywhere: bool, now: jiff::Timestamp) -> Table {
    let mut header = Vec::new();
    if anywhere {
        header.push("NAMESPACE");
    }
    header.extend(["NAME", "STATE", "SYNCED", "DRIFTED", "AGE"]);
    if wide {
        header.extend(["BACKEND", "GENERATION", "EXTERNAL-ID", "ID", "MESSAGE"]);
    }
    let mut table = Table::new(&header);
    for entity in items {
        let mut row = Vec::new();
        if anywhere {
            row.push(text(entity, "/namespace").into());
        }
        row.extend(cells(entity, now));
        if wide {
            let more = ["/backend", "/generation", "/observed/external_id", "/id"];
            row.extend(more.map(|pointer| Cell::from(text(entity, pointer))));
            row.push(message(entity).into());
        }
        table.row_of(row);
    }
    table
}

fn cells(entity: &Value, now: jiff::Timestamp) -> [Cell; 5] {
    let drifted = condition(entity, "drifted");
    let drift_tone = if drifted["status"] == true { Tone::Bad } else { Tone::Plain };
    [
        label(entity).into(),
        Cell::state(&text(entity, "/state")),
        yes(&condition(entity, "synced")["status"]).into(),
        Cell::toned(yes(&drifted["status"]), drift_tone),
        time::age(&text(entity, "/created_at"), now).into(),
    ]
}

/// One line of a growing list, whose columns have fixed widths.
pub(crate) fn line(entity: &Value, color: bool) -> String {
    let state = text(entity, "/state");
    let state = Tone::of_state(&state).paint(&format!("{state:<18}"), color);
    let flag = |name: &str| yes(&condition(entity, name)["status"]);
    let line = format!(
        "{:<20}  {:<32}  {state}  {:<6}  {:<7}  {}",
        time::moment(&text(entity, "/updated_at")),
        label(entity),
        flag("synced"),
        flag("drifted"),
        message(entity),
    );
    line.trim_end().to_owned()
}

/// The header of such lines.
pub(crate) const LINE_HEADER: &str = "TIME                  NAME                              STATE               SYNCED  DRIFTED  MESSAGE";
