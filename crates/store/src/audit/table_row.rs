//! Rows of derived tables, as they are stored. Every cell is compared, whatever columns a table has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use stateward_domain::audit::{Fault, FaultKind};

/// Characters of a value that a fault shows, at most.
const VALUE_CHARS_MAX: usize = 80;

/// A value as it is stored. Values of different types are different.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number; no table of ours has one.
    Real(f64),
    /// Valid UTF-8 text.
    Text(String),
    /// A blob, or a text that is not UTF-8.
    Bytes(Vec<u8>),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Text(text) if text.chars().count() > VALUE_CHARS_MAX => {
                write!(f, "{:?}…", text.chars().take(VALUE_CHARS_MAX).collect::<String>())
            }
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// A table. Its name lacks the number of the model's tables.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// The projection whose checkpoint moves with it.
    pub model: &'static str,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// Its table.
    pub table: Arc<Table>,
    /// The values of its primary key.
    pub key: String,
    /// A cell for each column of the table.
    pub cells: Vec<Cell>,
}

impl TableRow {
    /// A fault of the row, or of one column of it.
    pub(crate) fn fault(&self, column: Option<&str>, what: &str) -> Fault {
        let (table, key) = (&self.table.name, &self.key);
        let place = column.map_or_else(|| table.clone(), |column| format!("{table}.{column}"));
        let detail = format!("{place} of {key}: {what}");
        Fault::new(FaultKind::View, detail).in_table(table, key, column)
    }
}

/// The differences between the `stored` rows of one entity and the `expected` ones.
pub(crate) fn differences(stored: Vec<TableRow>, expected: &[TableRow]) -> Vec<Fault> {
    let place = |row: &TableRow| (row.table.name.clone(), row.key.clone());
    let mut stored: BTreeMap<_, _> = stored.into_iter().map(|row| (place(&row), row)).collect();
    let mut faults = Vec::new();
    for row in expected {
        match stored.remove(&place(row)) {
            None => faults.push(row.fault(None, "the row is missing that the events make")),
            Some(found) => faults.extend(cells(&found, row)),
        }
    }
    let invented = |row: &TableRow| row.fault(None, "the events make no such row");
    faults.extend(stored.values().map(invented));
    faults
}

fn cells(found: &TableRow, expected: &TableRow) -> Vec<Fault> {
    let columns = expected.table.columns.iter().zip(&expected.cells);
    let differing = columns.filter_map(|(column, expected)| {
        let stored = found.table.columns.iter().position(|name| name == column);
        let Some(stored) = stored.and_then(|place| found.cells.get(place)) else {
            return Some(found.fault(Some(column), "there is no such column"));
        };
        let what = || match members(stored, expected) {
            Some(members) => format!("{members:?} are not what the events say"),
            None => format!("{stored}, and by the events {expected}"),
        };
        (stored != expected).then(|| found.fault(Some(column), &what()))
    });
    differing.collect()
}

/// Names of the members that differ between two JSON objects; `None` when one is not an object, or all members are
/// equal.
fn members(one: &Cell, other: &Cell) -> Option<Vec<String>> {
    let (Cell::Text(one), Cell::Text(other)) = (one, other) else { return None };
    let object = |text: &str| serde_json::from_str::<BTreeMap<String, Value>>(text).ok();
    let (one, other) = (object(one)?, object(other)?);
    let names = one.keys().chain(other.keys()).filter(|name| one.get(*name) != other.get(*name));
    let mut names: Vec<String> = names.cloned().collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, cells: [Cell; 2]) -> TableRow {
        let columns = ["id", "data"].map(str::to_owned).to_vec();
        let table = Arc::new(Table { name: "things".to_owned(), columns, model: "entities" });
        TableRow { table, key: key.to_owned(), cells: cells.to_vec() }
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    #[test]
    fn each_difference_is_said_with_table_key_and_column() {
        let expected = [
            row("a", [text("a"), text("{\"x\":1,\"y\":2}")]),
            row("b", [text("b"), Cell::Integer(1)]),
            row("c", [text("c"), Cell::Null]),
        ];
        assert_eq!(differences(expected.to_vec(), &expected), []);
        let stored = vec![
            row("a", [text("a"), text("{\"x\":3,\"y\":2}")]),
            row("b", [Cell::Bytes(b"b".to_vec()), text("1")]),
            row("d", [text("d"), Cell::Null]),
        ];
        let found = differences(stored, &expected);
        let shown: Vec<_> = found
            .iter()
            .map(|fault| (fault.key.as_deref(), fault.column.as_deref(), fault.detail.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (Some("a"), Some("data"), "things.data of a: [\"x\"] are not what the events say"),
                (Some("b"), Some("id"), "things.id of b: 1 bytes, and by the events \"b\""),
                (Some("b"), Some("data"), "things.data of b: \"1\", and by the events 1"),
                (Some("c"), None, "things of c: the row is missing that the events make"),
                (Some("d"), None, "things of d: the events make no such row"),
            ]
        );
        assert!(found.iter().all(|fault| fault.table.as_deref() == Some("things")));
    }
}
