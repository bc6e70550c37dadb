//! Decodes rows of the log without trust in the types of their columns.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{TypeInfo, ValueRef};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EventId, Position, Version};
use stateward_domain::time::Timestamp;

use crate::audit::{Cell, RawRow, Unreadable};
use crate::hash::Hash;
use crate::shared::event_columns::EventColumn::{
    self, Category, Hash as HashColumn, Id, Metadata, Payload, Position as At, RecordedAt,
    SchemaVersion, StreamId as Stream, Type, Version as Sequence,
};

/// Decodes a row of [`SELECTED`](crate::shared::event_columns::SELECTED). Every column must be exactly what the log writes: hashes cover values, so another
/// spelling of the same value would not change them.
pub(super) fn read(row: &SqliteRow, epoch: u32) -> RawRow {
    let minor = integer(row, At).ok().and_then(|minor| u64::try_from(minor).ok());
    let position = Position { epoch, major: 0, minor: minor.unwrap_or_default() };
    let stream = stream(row);
    let readable = stream.clone().and_then(|stream| parse(row, position, stream));
    readable.map_err(|why| {
        let nearly =
            StreamId { category: lossy(row, Category.place()), id: lossy(row, Stream.place()) };
        let nearly = if stream.is_err() { parse(row, position, nearly).ok() } else { None };
        Box::new(Unreadable {
            position,
            stream: stream.ok(),
            version: version(row).ok(),
            hash: hash(row).ok(),
            why,
            nearly,
        })
    })
}

fn parse(row: &SqliteRow, position: Position, stream: StreamId) -> Result<Recorded, String> {
    let number = text(row, SchemaVersion)?;
    let schema_version: u32 = number.parse().map_err(|_| wrong(SchemaVersion, "no number"))?;
    if schema_version.to_string() != number {
        return Err(wrong(SchemaVersion, "spelt in another way"));
    }
    let id = text(row, Id)?;
    let event: EventId = id.parse().map_err(|_| wrong(Id, "no id"))?;
    if event.0.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()) != id {
        return Err(wrong(Id, "spelt in another way"));
    }
    Ok(Recorded {
        position,
        stream,
        version: version(row)?,
        id: event,
        event_type: text(row, Type)?.to_owned(),
        schema_version,
        recorded_at: Timestamp(integer(row, RecordedAt)?),
        payload: text(row, Payload)?.into(),
        metadata: text(row, Metadata)?.into(),
        hash: hash(row)?,
    })
}

fn wrong(column: EventColumn, what: &str) -> String {
    format!("{} is {what}", column.name())
}

fn stream(row: &SqliteRow) -> Result<StreamId, String> {
    Ok(StreamId { category: text(row, Category)?.to_owned(), id: text(row, Stream)?.to_owned() })
}

fn version(row: &SqliteRow) -> Result<Version, String> {
    let version = u64::try_from(integer(row, Sequence)?).ok().filter(|version| *version > 0);
    version.map(Version).ok_or_else(|| wrong(Sequence, "less than 1"))
}

fn text(row: &SqliteRow, column: EventColumn) -> Result<&str, String> {
    row.try_get(column.place()).map_err(|_| wrong(column, "no text"))
}

fn integer(row: &SqliteRow, column: EventColumn) -> Result<i64, String> {
    row.try_get(column.place()).map_err(|_| wrong(column, "no integer"))
}

fn hash(row: &SqliteRow) -> Result<Hash, String> {
    blob(row, HashColumn.place()).ok_or_else(|| wrong(HashColumn, "no hash"))
}

/// A hash that is stored as a BLOB; a TEXT of the same bytes is rejected.
pub(super) fn blob(row: &SqliteRow, index: usize) -> Option<Hash> {
    let value = row.try_get_raw(index).ok()?;
    let is_blob = value.type_info().name() == "BLOB";
    let bytes: &[u8] = row.try_get(index).ok()?;
    bytes.try_into().ok().filter(|_| is_blob)
}

/// The value of a column, of any type.
pub(super) fn cell(row: &SqliteRow, index: usize) -> Cell {
    let Ok(value) = row.try_get_raw(index) else { return Cell::Null };
    if value.is_null() {
        return Cell::Null;
    }
    let bytes = || row.try_get_unchecked::<&[u8], _>(index).unwrap_or_default().to_vec();
    match value.type_info().name() {
        "TEXT" => String::from_utf8(bytes()).map_or_else(|_| Cell::Bytes(bytes()), Cell::Text),
        "BLOB" => Cell::Bytes(bytes()),
        "REAL" => Cell::Real(row.try_get_unchecked(index).unwrap_or_default()),
        _ => Cell::Integer(row.try_get_unchecked(index).unwrap_or_default()),
    }
}

/// The value of a column as a text, with replacement characters for invalid UTF-8.
pub(super) fn lossy(row: &SqliteRow, index: usize) -> String {
    let bytes: &[u8] = row.try_get_unchecked(index).unwrap_or_default();
    String::from_utf8_lossy(bytes).into_owned()
}
