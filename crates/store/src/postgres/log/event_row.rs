//! Rows of `events`: the query for a page, and their decoding.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EventId, Position, Version};
use stateward_domain::ports::event_store::PAGE_BYTES_MAX;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::hash;
use crate::sql_value::undecodable;

/// Columns that are selected, in this order.
const COLUMNS: &str = "position, aggregate_type, aggregate_id, sequence, event_type, event_version, \
     payload::text, metadata::text, event_id, recorded_at, hash";
/// Schema version of an event of another program whose version is no number of this one's: newer than all that are known,
/// so that no projection skips it.
const FOREIGN_VERSION: u32 = u32::MAX;

/// The query for a page of `events`: rows that match `condition`, in `order`, at most as many as the parameter `limit`
/// says, up to the row that reaches [`PAGE_BYTES_MAX`].
pub(in crate::postgres) fn page(condition: &str, order: &str, limit: &str) -> String {
    page_of("", condition, order, limit)
}

/// As [`page`], with one more column: an expression over a row `counted` of `events`.
pub(in crate::postgres) fn page_with(
    more: &str,
    condition: &str,
    order: &str,
    limit: &str,
) -> String {
    page_of(&format!(", {more}"), condition, order, limit)
}

fn page_of(more: &str, condition: &str, order: &str, limit: &str) -> String {
    format!(
        "SELECT {COLUMNS}{more} FROM (SELECT *, sum(octet_length(payload::text) + octet_length(metadata::text)) \
         OVER (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before \
         FROM (SELECT * FROM events WHERE {condition} ORDER BY {order} LIMIT {limit}) wanted) counted \
         WHERE coalesce(before, 0) < {PAGE_BYTES_MAX} ORDER BY {order}"
    )
}

/// One row of a page. Its position lacks the epoch.
pub(super) struct EventRow(Recorded);

impl EventRow {
    pub(super) fn in_epoch(self, epoch: u32) -> Recorded {
        Recorded { position: Position { epoch, ..self.0.position }, ..self.0 }
    }
}

impl<'r> FromRow<'r, PgRow> for EventRow {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let unsigned = |index: usize| -> Result<u64, sqlx::Error> {
            u64::try_from(row.try_get::<i64, _>(index)?).map_err(|error| broken(index, row, error))
        };
        let stored: &[u8] = row.try_get(10)?;
        // A row that another program inserted has no hash. It reads as one that no event has: an audit finds it unsealed.
        let sealed = !stored.is_empty();
        let hash = if sealed {
            stored.try_into().map_err(|error| broken(10, row, error))?
        } else {
            hash::GENESIS
        };
        let version: &str = row.try_get(5)?;
        let schema_version = match version.parse() {
            Ok(version) => version,
            Err(_) if !sealed => FOREIGN_VERSION,
            Err(error) => return Err(broken(5, row, error)),
        };
        Ok(Self(Recorded {
            position: Position { epoch: 0, major: 0, minor: unsigned(0)? },
            stream: StreamId { category: row.try_get(1)?, id: row.try_get(2)? },
            version: Version(unsigned(3)?),
            event_type: row.try_get(4)?,
            schema_version,
            payload: row.try_get::<&str, _>(6)?.into(),
            metadata: row.try_get::<&str, _>(7)?.into(),
            id: EventId(row.try_get::<Uuid, _>(8)?),
            recorded_at: Timestamp(row.try_get(9)?),
            hash,
        }))
    }
}

fn broken(
    index: usize,
    row: &PgRow,
    source: impl std::error::Error + Send + Sync + 'static,
) -> sqlx::Error {
    let column = COLUMNS.split(", ").nth(index).map_or("", str::trim_start);
    let stream = |index| row.try_get::<&str, _>(index).unwrap_or_default();
    undecodable(("events", column), &format!("{}/{}", stream(1), stream(2)), source)
}
