//! Rows of `events`: the query for a page, and their decoding.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EventId, Position, Version};
use stateward_domain::ports::event_store::PAGE_BYTES_MAX;
use stateward_domain::time::Timestamp;

use crate::sqlite::error::undecodable;

/// Columns that are selected, in this order.
pub(in crate::sqlite) const COLUMNS: &str = "position, aggregate_type, aggregate_id, sequence, event_type, \
     event_version, payload, metadata, event_id, recorded_at, hash";

/// The query for a page of `events e`: `columns` of the rows that match `condition`, in `order`, at most as many as
/// the parameter `limit` says, up to the row that reaches [`PAGE_BYTES_MAX`]. `SQLite` knows the length of a text
/// without reading it, so no row beyond the page is loaded. Parameters are numbered, because `condition` occurs
/// twice.
pub(in crate::sqlite) fn page(columns: &str, condition: &str, order: &str, limit: &str) -> String {
    format!(
        "SELECT {columns} FROM events e WHERE {condition} ORDER BY {order} LIMIT (\
         SELECT count(*) FROM (SELECT sum(bytes) OVER (ORDER BY {order} \
         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM (\
         SELECT {order}, coalesce(octet_length(payload), 0) + coalesce(octet_length(metadata), 0) AS bytes \
         FROM events WHERE {condition} ORDER BY {order} LIMIT {limit})) \
         WHERE coalesce(before, 0) < {PAGE_BYTES_MAX})"
    )
}

/// Column of an event's position.
pub(in crate::sqlite) const POSITION: (&str, &str) = ("events", "position");
/// Column of an event's version in its stream.
pub(in crate::sqlite) const VERSION: (&str, &str) = ("events", "sequence");

/// One row of [`COLUMNS`]. Its position lacks the epoch.
pub(in crate::sqlite) struct EventRow(pub(in crate::sqlite) Recorded);

impl EventRow {
    pub(in crate::sqlite) fn in_epoch(self, epoch: u32) -> Recorded {
        Recorded { position: Position { epoch, ..self.0.position }, ..self.0 }
    }
}

impl<'r> FromRow<'r, SqliteRow> for EventRow {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let unsigned = |index: usize| -> Result<u64, sqlx::Error> {
            u64::try_from(row.try_get::<i64, _>(index)?).map_err(|error| broken(index, error))
        };
        let hash: &[u8] = row.try_get(10)?;
        Ok(Self(Recorded {
            position: Position { epoch: 0, major: 0, minor: unsigned(0)? },
            stream: StreamId { category: row.try_get(1)?, id: row.try_get(2)? },
            version: Version(unsigned(3)?),
            event_type: row.try_get(4)?,
            schema_version: row.try_get::<&str, _>(5)?.parse().map_err(|error| broken(5, error))?,
            payload: row.try_get::<&str, _>(6)?.into(),
            metadata: row.try_get::<&str, _>(7)?.into(),
            id: row.try_get::<&str, _>(8)?.parse::<EventId>().map_err(|error| broken(8, error))?,
            recorded_at: Timestamp(row.try_get(9)?),
            hash: hash.try_into().map_err(|error| broken(10, error))?,
        }))
    }
}

fn broken(index: usize, source: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    let column = COLUMNS.split(", ").nth(index).map_or("", str::trim_start);
    undecodable(("events", column), "", source)
}
