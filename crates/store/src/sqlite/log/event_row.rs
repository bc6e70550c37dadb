//! Rows of `events`: the query for a page, and their decoding.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EventId, Position, Version};
use stateward_domain::ports::event_store::PAGE_BYTES_MAX;
use stateward_domain::time::Timestamp;

use crate::shared::event_columns::EventColumn;
use crate::sql_value::undecodable;

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
pub(in crate::sqlite) const POSITION: (&str, &str) = ("events", EventColumn::Position.name());
/// Column of an event's version in its stream.
pub(in crate::sqlite) const VERSION: (&str, &str) = ("events", EventColumn::Version.name());

/// One row of [`SELECTED`](crate::shared::event_columns::SELECTED). Its position lacks the epoch.
pub(in crate::sqlite) struct EventRow(pub(in crate::sqlite) Recorded);

impl EventRow {
    pub(in crate::sqlite) fn in_epoch(self, epoch: u32) -> Recorded {
        Recorded { position: Position { epoch, ..self.0.position }, ..self.0 }
    }
}

impl<'r> FromRow<'r, SqliteRow> for EventRow {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        use EventColumn::{
            Category, Hash, Id, Metadata, Payload, Position as At, RecordedAt, SchemaVersion,
            StreamId as Stream, Type, Version as Sequence,
        };

        let unsigned = |column: EventColumn| -> Result<u64, sqlx::Error> {
            u64::try_from(row.try_get::<i64, _>(column.place())?)
                .map_err(|error| broken(column, error))
        };
        let text = |column: EventColumn| row.try_get::<&str, _>(column.place());
        let hash: &[u8] = row.try_get(Hash.place())?;
        Ok(Self(Recorded {
            position: Position { epoch: 0, major: 0, minor: unsigned(At)? },
            stream: StreamId { category: text(Category)?.to_owned(), id: text(Stream)?.to_owned() },
            version: Version(unsigned(Sequence)?),
            event_type: text(Type)?.to_owned(),
            schema_version: text(SchemaVersion)?
                .parse()
                .map_err(|error| broken(SchemaVersion, error))?,
            payload: text(Payload)?.into(),
            metadata: text(Metadata)?.into(),
            id: text(Id)?.parse::<EventId>().map_err(|error| broken(Id, error))?,
            recorded_at: Timestamp(row.try_get(RecordedAt.place())?),
            hash: hash.try_into().map_err(|error| broken(Hash, error))?,
        }))
    }
}

fn broken(
    column: EventColumn,
    source: impl std::error::Error + Send + Sync + 'static,
) -> sqlx::Error {
    undecodable(("events", column.name()), "", source)
}
