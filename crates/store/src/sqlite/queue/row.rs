//! Rows of `sync_queue` as they are stored.

use std::collections::BTreeSet;

use sqlx::FromRow;
use sqlx::sqlite::SqliteRow;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::work::{Priority, QueueRow, WaitsFor};
use stateward_domain::id::BackendName;
use stateward_domain::time::Timestamp;

use crate::sqlite::views_db::undecodable;

/// Value of `waits_for` for work that waits for its backend.
pub(super) const BACKEND: &str = "backend";

/// Value of the column `waits_for`.
pub(super) fn waits_for(waits_for: &WaitsFor) -> String {
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

pub(in crate::sqlite) type QueueColumns =
    (String, String, i64, Option<i64>, Option<i64>, Option<String>, String);

/// Decodes a whole row of the table, in the order of its columns.
pub(in crate::sqlite) fn row_columns(row: &SqliteRow) -> Result<QueueColumns, sqlx::Error> {
    QueueColumns::from_row(row)
}

pub(in crate::sqlite) fn decode_row(
    row: QueueColumns,
    dependencies: BTreeSet<ClaimKey>,
) -> Result<QueueRow, sqlx::Error> {
    let (entity, backend, priority, since, due, waits_for, position) = row;
    let bad = |error: Box<dyn std::error::Error + Send + Sync>| undecodable(error);
    Ok(QueueRow {
        entity: entity.parse().map_err(|error| bad(Box::new(error)))?,
        backend: BackendName(backend),
        priority: match priority {
            0 => Priority::User,
            1 => Priority::Retry,
            _ => Priority::Drift,
        },
        since: since.map(Timestamp),
        due: due.map(Timestamp),
        waits_for: waits_for
            .map(|text| decode_wait(&text))
            .transpose()
            .map_err(|error: uuid::Error| bad(Box::new(error)))?,
        dependencies,
        position: position.parse().map_err(|error| bad(Box::new(error)))?,
    })
}
