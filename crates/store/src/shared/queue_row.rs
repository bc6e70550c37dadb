//! Rows of the sync queue as they are stored: their columns, and the reading of them back.

use std::collections::BTreeSet;

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::{Priority, QueueRow, WaitsFor};
use stateward_domain::id::BackendName;
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Timestamp;

use super::stored_row::{RowValues, StoredRow};

/// Value of `waits_for` for work that waits for its backend.
pub(crate) const BACKEND: &str = "backend";

/// Value of the column `waits_for`.
pub(crate) fn waits_for(waits_for: &WaitsFor) -> String {
    match waits_for {
        WaitsFor::Entity(id) => id.to_string(),
        // It begins with `name/`, which no id and not `backend` begins with.
        WaitsFor::Name(key) => key.0.clone(),
        WaitsFor::Backend => BACKEND.to_owned(),
    }
}

fn decode_wait(text: &str) -> Result<WaitsFor, uuid::Error> {
    if text == BACKEND {
        Ok(WaitsFor::Backend)
    } else if text.starts_with(ClaimKey::NAME) {
        Ok(WaitsFor::Name(ClaimKey(text.to_owned())))
    } else {
        text.parse().map(WaitsFor::Entity)
    }
}

/// Value of the column `priority`: the lower, the earlier.
const fn priority(priority: Priority) -> i64 {
    match priority {
        Priority::User => 0,
        Priority::Retry => 1,
        Priority::Drift => 2,
    }
}

fn decode_priority(number: i64) -> Option<Priority> {
    let all = [Priority::User, Priority::Retry, Priority::Drift];
    all.into_iter().find(|one| priority(*one) == number)
}

/// A row with the time from which it may be leased, which depends on the clock of the process that writes it.
pub(crate) struct TimedQueueRow<'a> {
    pub(crate) row: &'a QueueRow,
    /// In steady time; `None` = it has no work.
    pub(crate) lease_after: Option<Timestamp>,
}

impl StoredRow for TimedQueueRow<'_> {
    const COLUMNS: &'static [&'static str] =
        &["entity", "backend", "priority", "since", "due", "waits_for", "position", "lease_after"];

    fn put(&self, to: &mut impl RowValues) {
        let row = self.row;
        to.put("entity", row.entity.to_string())
            .put("backend", row.backend.0.clone())
            .put("priority", priority(row.priority))
            .put("since", row.since.map(|at| at.0))
            .put("due", row.due.map(|at| at.0))
            .put("waits_for", row.waits_for.as_ref().map(waits_for))
            .put("position", row.position.to_string())
            .put("lease_after", self.lease_after.map(|at| at.0));
    }
}

/// Columns that a row is read from, in the order of [`QueueColumns`].
pub(crate) const READ_OF_QUEUE: [&str; 7] =
    ["entity", "backend", "priority", "since", "due", "waits_for", "position"];
/// Their values.
pub(crate) type QueueColumns =
    (String, String, i64, Option<i64>, Option<i64>, Option<String>, String);

/// Reads a row back. `dependencies` are stored beside it.
pub(crate) fn decode(
    columns: QueueColumns,
    dependencies: BTreeSet<ClaimKey>,
) -> Result<QueueRow, StoreError> {
    let (entity, backend, priority, since, due, waits_for, position) = columns;
    let place = |column| ("sync_queue", column);
    let no_priority = || {
        let why = format!("there is no priority {priority}");
        StoreError::inconsistent(place("priority"), &entity, why)
    };
    let waits_for = waits_for.map(|text| decode_wait(&text)).transpose();
    Ok(QueueRow {
        entity: entity.parse().map_err(|error: uuid::Error| {
            StoreError::inconsistent(place("entity"), &entity, error)
        })?,
        backend: BackendName(backend),
        priority: decode_priority(priority).ok_or_else(no_priority)?,
        since: since.map(Timestamp),
        due: due.map(Timestamp),
        waits_for: waits_for
            .map_err(|error| StoreError::inconsistent(place("waits_for"), &entity, error))?,
        dependencies,
        position: position
            .parse()
            .map_err(|error| StoreError::inconsistent(place("position"), &entity, error))?,
    })
}

#[cfg(test)]
mod tests {
    use stateward_domain::id::{EntityId, Position};
    use uuid::Uuid;

    use super::*;
    use crate::shared::stored_row::Value;
    use crate::shared::stored_row::tests::values;

    fn text(value: &Value) -> String {
        let Value::Text(text) = value else { panic!("{value:?}") };
        text.clone()
    }

    const fn number(value: &Value) -> Option<i64> {
        match value {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn stored(row: &QueueRow) -> QueueColumns {
        let values = values(&TimedQueueRow { row, lease_after: None });
        let value = |name| {
            let place = TimedQueueRow::COLUMNS.iter().position(|column| *column == name);
            values[place.expect("a column")].clone()
        };
        let [entity, backend, priority, since, due, waits_for, position] = READ_OF_QUEUE.map(value);
        (
            text(&entity),
            text(&backend),
            number(&priority).expect("a number"),
            number(&since),
            number(&due),
            Some(waits_for).filter(|value| *value != Value::Missing).map(|value| text(&value)),
            text(&position),
        )
    }

    fn row() -> QueueRow {
        QueueRow {
            entity: EntityId(Uuid::from_u128(1)),
            backend: BackendName::from("b"),
            priority: Priority::User,
            since: None,
            due: Some(Timestamp(7)),
            waits_for: None,
            dependencies: BTreeSet::new(),
            position: Position { epoch: 1, major: 0, minor: 9 },
        }
    }

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let name = ClaimKey(format!("{}n/k/a", ClaimKey::NAME));
        let waits = [
            WaitsFor::Entity(EntityId(Uuid::from_u128(2))),
            WaitsFor::Name(name),
            WaitsFor::Backend,
        ];
        for waits_for in waits.into_iter().map(Some).chain([None]) {
            for priority in [Priority::User, Priority::Retry, Priority::Drift] {
                let row = QueueRow { waits_for: waits_for.clone(), priority, ..row() };
                assert_eq!(decode(stored(&row), BTreeSet::new()), Ok(row));
            }
        }
    }

    #[test]
    fn a_value_that_was_never_written_is_named() {
        type Change = fn(&mut QueueColumns);
        let changes: [(Change, &str); 5] = [
            (|columns| columns.0 = "x".to_owned(), "entity"),
            (|columns| columns.2 = 3, "priority"),
            (|columns| columns.2 = -1, "priority"),
            (|columns| columns.5 = Some("x".to_owned()), "waits_for"),
            (|columns| columns.6 = "x".to_owned(), "position"),
        ];
        for (change, wrong) in changes {
            let mut columns = stored(&row());
            change(&mut columns);
            let found = decode(columns, BTreeSet::new());
            let Err(StoreError::Inconsistent { table, column, .. }) = found else {
                panic!("{wrong}: {found:?}");
            };
            assert_eq!((&*table, &*column), ("sync_queue", wrong));
        }
    }
}
