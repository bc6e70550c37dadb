//! The rows that tables have of an entity, made by the lists of columns that adapters write by.

use std::sync::Arc;

use stateward_domain::entity::claims::ClaimKey;

use super::{Cell, ENTITIES, ExpectedViews, QUEUE, Table, TableRow};
use crate::shared::queue_row::TimedQueueRow;
use crate::shared::stored_row::{RowValues, StoredRow, Value};

/// The rows of an entity. `lease_after` of the queue is NULL: it depends on the clock of the process.
pub(crate) fn rows_of(fold: &ExpectedViews) -> Vec<TableRow> {
    let mut rows = Vec::new();
    if let Some((entity, operations)) = &fold.entity {
        rows.push(table_row("entities", ENTITIES, entity.entity.id.to_string(), entity));
        let operation = |row| table_row("operations", ENTITIES, operation_id(row), row);
        rows.extend(operations.iter().map(operation));
    }
    if let Some(row) = &fold.queue_row {
        let timed = TimedQueueRow { row, lease_after: None };
        let entity = row.entity.to_string();
        rows.push(table_row("sync_queue", QUEUE, entity.clone(), &timed));
        let uses = row.dependencies.iter().map(|used| (format!("{entity} {}", used.0), used));
        rows.extend(
            uses.map(|(key, used)| table_row("sync_uses", QUEUE, key, &Use(&entity, used))),
        );
    }
    rows
}

fn operation_id(row: &stateward_domain::entity::operation::OperationRow) -> String {
    row.id.to_string()
}

/// An entity that depends on a name.
struct Use<'a>(&'a str, &'a ClaimKey);

impl StoredRow for Use<'_> {
    const COLUMNS: &'static [&'static str] = &["user", "used"];

    fn put(&self, to: &mut impl RowValues) {
        to.put("user", self.0.to_owned()).put("used", self.1.0.clone());
    }
}

struct Cells(Vec<Cell>);

impl RowValues for Cells {
    fn put(&mut self, _: &'static str, value: impl Into<Value>) -> &mut Self {
        self.0.push(match value.into() {
            Value::Text(text) => Cell::Text(text),
            Value::Shared(text) => Cell::Text(text.to_string()),
            Value::Name(name) => Cell::Text(name.to_owned()),
            Value::Number(number) => Cell::Integer(number),
            Value::Flag(flag) => Cell::Integer(i64::from(flag)),
            Value::Bytes(bytes) => Cell::Bytes(bytes),
            Value::Missing => Cell::Null,
        });
        self
    }
}

/// One row of the table `name`, whose primary key has the values `key`.
pub(crate) fn table_row<R: StoredRow>(
    name: &str,
    model: &'static str,
    key: String,
    row: &R,
) -> TableRow {
    let columns = R::COLUMNS.iter().map(|column| (*column).to_owned()).collect();
    let table = Arc::new(Table { name: name.to_owned(), columns, model });
    let mut cells = Cells(Vec::with_capacity(R::COLUMNS.len()));
    row.put(&mut cells);
    TableRow { table, key, cells: cells.0 }
}
