//! Rows of the tables that follow from the log, as they are stored: what is compared is every cell of them, whatever
//! columns there are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use stateward_domain::audit::{Fault, FaultKind};

/// Characters of a value that are told.
const VALUE_CHARS_MAX: usize = 80;

/// A value as it is stored; one of another type is another value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing.
    Null,
    /// A number.
    Integer(i64),
    /// A number that no table of ours has.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes, or a text that is none.
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

/// A table, without the number that its name may end in.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// Whose checkpoint moves with it.
    pub model: &'static str,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRow {
    /// Of what.
    pub table: Arc<Table>,
    /// The values of its primary key.
    pub key: String,
    /// One for each column.
    pub cells: Vec<Cell>,
}

impl TableRow {
    /// That something is wrong with it, or with a column of it.
    pub(crate) fn fault(&self, column: Option<&str>, what: &str) -> Fault {
        let (table, key) = (&self.table.name, &self.key);
        let place = column.map_or_else(|| table.clone(), |column| format!("{table}.{column}"));
        let detail = format!("{place} of {key}: {what}");
        Fault::new(FaultKind::View, detail).in_table(table, key, column)
    }
}

/// What is wrong with the rows that are stored of one entity, where `expected` are those that its events make.
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

/// The members that differ of two JSON objects; `None` when they are none, or have the same members.
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
