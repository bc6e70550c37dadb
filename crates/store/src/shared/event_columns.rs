//! Columns of the table `events`: one list for the writer, the readers and the audit of every adapter.

use std::sync::LazyLock;

use super::chain::SealedEvent;
use super::stored_row::{RowValues, StoredRow, signed};

/// A column of `events`; its number is its place in a row that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventColumn {
    Position,
    Category,
    StreamId,
    Version,
    Type,
    SchemaVersion,
    Payload,
    Metadata,
    Id,
    RecordedAt,
    Hash,
}

const COUNT: usize = 11;

impl EventColumn {
    const ALL: [Self; COUNT] = [
        Self::Position,
        Self::Category,
        Self::StreamId,
        Self::Version,
        Self::Type,
        Self::SchemaVersion,
        Self::Payload,
        Self::Metadata,
        Self::Id,
        Self::RecordedAt,
        Self::Hash,
    ];

    /// Its name: where `postgres-es` has the column, the same one.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::Category => "aggregate_type",
            Self::StreamId => "aggregate_id",
            Self::Version => "sequence",
            Self::Type => "event_type",
            Self::SchemaVersion => "event_version",
            Self::Payload => "payload",
            Self::Metadata => "metadata",
            Self::Id => "event_id",
            Self::RecordedAt => "recorded_at",
            Self::Hash => "hash",
        }
    }

    /// Its place in a row of [`SELECTED`].
    pub(crate) const fn place(self) -> usize {
        self as usize
    }
}

const NAMES: [&str; COUNT] = {
    let (mut names, mut at) = ([""; COUNT], 0);
    while at < COUNT {
        names[at] = EventColumn::ALL[at].name();
        at += 1;
    }
    names
};

/// The columns that are selected, in this order.
pub(crate) static SELECTED: LazyLock<String> = LazyLock::new(|| NAMES.join(", "));

/// An event with the position that it is written at.
pub(crate) struct PositionedEvent<'a> {
    pub(crate) position: u64,
    pub(crate) event: &'a SealedEvent<'a>,
}

impl StoredRow for PositionedEvent<'_> {
    const COLUMNS: &'static [&'static str] = &NAMES;

    fn put(&self, to: &mut impl RowValues) {
        let row = self.event;
        to.put(EventColumn::Position.name(), signed(self.position))
            .put(EventColumn::Category.name(), row.stream.category.clone())
            .put(EventColumn::StreamId.name(), row.stream.id.clone())
            .put(EventColumn::Version.name(), signed(row.version.0))
            .put(EventColumn::Type.name(), row.event.event_type.clone())
            .put(EventColumn::SchemaVersion.name(), row.event.schema_version.to_string())
            .put(EventColumn::Payload.name(), row.event.payload.clone())
            .put(EventColumn::Metadata.name(), row.event.metadata.clone())
            .put(EventColumn::Id.name(), row.event.id.to_string())
            .put(EventColumn::RecordedAt.name(), row.recorded_at.0)
            .put(EventColumn::Hash.name(), row.hash.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use stateward_domain::envelope::{NewEvent, StreamId};
    use stateward_domain::id::{EventId, Version};
    use stateward_domain::time::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::shared::stored_row::Value;
    use crate::shared::stored_row::tests::values;

    #[test]
    fn each_column_is_written_where_it_is_read() {
        let stream = StreamId { category: "entity".to_owned(), id: "a".to_owned() };
        let event = NewEvent {
            id: EventId(Uuid::from_u128(1)),
            event_type: "entity.paused".to_owned(),
            schema_version: 2,
            payload: "{}".into(),
            metadata: "{}".into(),
        };
        let (version, recorded_at, hash) = (Version(3), Timestamp(4), [5; 32]);
        let event = SealedEvent { stream: &stream, version, recorded_at, hash, event: &event };
        let values = values(&PositionedEvent { position: 6, event: &event });
        assert_eq!(EventColumn::ALL.map(EventColumn::place), std::array::from_fn(|place| place));
        for (column, value) in [
            (EventColumn::Position, Value::Number(6)),
            (EventColumn::StreamId, Value::Text("a".to_owned())),
            (EventColumn::Version, Value::Number(3)),
            (EventColumn::SchemaVersion, Value::Text("2".to_owned())),
            (EventColumn::RecordedAt, Value::Number(4)),
            (EventColumn::Hash, Value::Bytes(vec![5; 32])),
        ] {
            assert_eq!(values[column.place()], value, "{}", column.name());
        }
    }
}
