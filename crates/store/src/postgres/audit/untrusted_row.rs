//! Decodes rows of the log without trust in their values: an event that another program inserted is a fault, and the pass
//! goes on.

use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row as _};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EventId, Position, Version};
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::audit::{RawRow, Unreadable};

/// Number of columns of a row.
pub(in crate::postgres) const COLUMNS: usize = 11;

/// A row of [`page`](crate::postgres::log::event_row::page). Its position lacks the epoch.
pub(in crate::postgres) struct UntrustedRow(RawRow);

impl UntrustedRow {
    pub(in crate::postgres) fn in_epoch(self, epoch: u32) -> RawRow {
        match self.0 {
            Ok(event) => Ok(Recorded { position: Position { epoch, ..event.position }, ..event }),
            Err(mut row) => {
                row.position.epoch = epoch;
                Err(row)
            }
        }
    }
}

impl<'r> FromRow<'r, PgRow> for UntrustedRow {
    /// Fails only for another query: the types of all columns are the schema's.
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        let minor = u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default();
        let position = Position { epoch: 0, major: 0, minor };
        let stream = StreamId { category: row.try_get(1)?, id: row.try_get(2)? };
        let version = Version(u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default());
        let stored: &[u8] = row.try_get(10)?;
        let hash = stored.try_into().ok();
        let number: &str = row.try_get(5)?;
        let schema_version: Option<u32> =
            number.parse().ok().filter(|known: &u32| known.to_string() == number);
        let why = if stored.is_empty() {
            Some("the event is unsealed: another program inserted it")
        } else if hash.is_none() {
            Some("hash is no hash")
        } else if schema_version.is_none() {
            Some("event_version is no number as this program writes it")
        } else {
            None
        };
        Ok(Self(match (why, hash, schema_version) {
            (None, Some(hash), Some(schema_version)) => Ok(Recorded {
                position,
                stream,
                version,
                event_type: row.try_get(4)?,
                schema_version,
                payload: row.try_get::<&str, _>(6)?.into(),
                metadata: row.try_get::<&str, _>(7)?.into(),
                id: EventId(row.try_get::<Uuid, _>(8)?),
                recorded_at: Timestamp(row.try_get(9)?),
                hash,
            }),
            (why, ..) => Err(Box::new(Unreadable {
                position,
                stream: Some(stream),
                version: Some(version),
                hash,
                why: why.unwrap_or_default().to_owned(),
                nearly: None,
            })),
        }))
    }
}
