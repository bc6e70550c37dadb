//! Rows of `sync_queue` as they are stored.

use std::collections::BTreeSet;

use sqlx::FromRow;
use sqlx::sqlite::SqliteRow;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::work::{Priority, QueueRow, WaitsFor};
use stateward_domain::id::BackendName;
use stateward_domain::time::Timestamp;

use crate::sqlite::error::{parsed, undecodable};

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
    let waits_for = waits_for.map(|text| decode_wait(&text)).transpose();
    Ok(QueueRow {
        entity: parsed(("sync_queue", "entity"), &entity, &entity)?,
        backend: BackendName(backend),
        priority: match priority {
            0 => Priority::User,
            1 => Priority::Retry,
            2 => Priority::Drift,
            other => {
                let why = format!("there is no priority {other}");
                return Err(undecodable(("sync_queue", "priority"), &entity, why));
            }
        },
        since: since.map(Timestamp),
        due: due.map(Timestamp),
        waits_for: waits_for
            .map_err(|error| undecodable(("sync_queue", "waits_for"), &entity, error))?,
        dependencies,
        position: parsed(("sync_queue", "position"), &entity, &position)?,
    })
}
