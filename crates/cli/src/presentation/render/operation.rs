//! Tables of operations.

use serde_json::Value;

use crate::json_text::text;
use crate::presentation::output::table::{Cell, Table};
use crate::presentation::output::{ResourcePrinter, time};

pub(crate) const OPERATION: ResourcePrinter =
    ResourcePrinter { name: |operation| text(operation, "/id"), table };

fn table(items: &[Value], wide: bool, now: jiff::Timestamp) -> Table {
    let mut header = vec!["ID", "TYPE", "STATE", "ENTITY", "ATTEMPTS", "ACTOR", "AGE"];
    if wide {
        header.extend(["FINISHED", "REASON", "ERROR"]);
    }
    let mut table = Table::new(&header);
    for operation in items {
        let mut row: Vec<Cell> = vec![
            text(operation, "/id").into(),
            text(operation, "/type").into(),
            Cell::state(&text(operation, "/state")),
            text(operation, "/entity_id").into(),
            text(operation, "/attempts").into(),
            text(operation, "/actor/id").into(),
            time::age(&text(operation, "/created_at"), now).into(),
        ];
        if wide {
            row.push(time::moment(&text(operation, "/finished_at")).into());
            row.push(text(operation, "/reason").into());
            row.push(text(operation, "/error/message").into());
        }
        table.row_of(row);
    }
    table
}
