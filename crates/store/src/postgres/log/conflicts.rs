//! What does not fit in a batch that was refused: versions of streams, holders of claims, and appends that are in the log
//! already, in one query without locks.

use std::collections::HashMap;

use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Append, Appended, Holder};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::hash;
use crate::postgres::connect::Database;
use crate::postgres::error::store_error;
use crate::shared::chain::StreamHead;
use crate::sql_value::{undecodable, unsigned};

/// What the log has of the streams and claims of some appends.
#[derive(Debug, Default)]
pub(super) struct Stored {
    heads: HashMap<StreamId, StreamHead>,
    holders: HashMap<ClaimKey, Holder>,
    /// Event at the version that the last event of an append would have, with its position.
    last: HashMap<StreamId, (Uuid, u64)>,
    /// Streams with events that another program inserted: `streams` does not have them.
    unlisted: Vec<StreamId>,
}

/// A stream's head, or a claim: key, stream, version, hash or value, time, version in `streams`, id and position of the
/// event that may be a repeated one.
type Row = (Option<String>, String, String, i64, Vec<u8>, i64, i64, Option<Uuid>, Option<i64>);

const READ: &str = "SELECT NULL::text AS key, t AS aggregate_type, i AS aggregate_id, \
     coalesce(h.sequence, 0) AS version, coalesce(h.hash, '') AS value, coalesce(h.recorded_at, 0) AS recorded_at, \
     coalesce(s.version, 0) AS listed, e.event_id, e.position \
     FROM unnest($1::text[], $2::text[], $3::bigint[]) AS wanted (t, i, q) \
     LEFT JOIN LATERAL (SELECT sequence, hash, recorded_at FROM events \
     WHERE aggregate_type = t AND aggregate_id = i ORDER BY sequence DESC LIMIT 1) h ON true \
     LEFT JOIN streams s ON s.aggregate_type = t AND s.aggregate_id = i \
     LEFT JOIN events e ON e.aggregate_type = t AND e.aggregate_id = i AND e.sequence = q \
     UNION ALL SELECT key, aggregate_type, aggregate_id, sequence, convert_to(value, 'UTF8'), 0, 0, NULL, NULL \
     FROM claims WHERE key = ANY ($4::text[])";

/// Reads what the log has of `appends`, which are of different streams.
pub(super) async fn read(database: &Database, appends: &[Append]) -> Result<Stored, StoreError> {
    let streams = appends.iter().map(|append| &append.stream);
    let (types, ids): (Vec<&str>, Vec<&str>) =
        streams.map(|stream| (&*stream.category, &*stream.id)).unzip();
    let last = |append: &Append| (append.expected.0 + append.events.len() as u64).cast_signed();
    let last: Vec<i64> = appends.iter().map(last).collect();
    let claims = appends.iter().flat_map(|append| &append.claims);
    let keys: Vec<&str> = claims.map(|claim: &Claim| &*claim.key().0).collect();
    let query = sqlx::query_as(READ).bind(types).bind(ids).bind(last).bind(keys);
    let mut stored = Stored::default();
    for row in database.fetch_all::<Row>(query).await? {
        stored.add(row).map_err(store_error)?;
    }
    stored.list(database).await?;
    Ok(stored)
}

impl Stored {
    fn add(&mut self, row: Row) -> Result<(), sqlx::Error> {
        let (key, category, id, sequence, value, recorded_at, listed, event_id, position) = row;
        let stream = StreamId { category, id };
        let version = u64::try_from(sequence)
            .map_err(|error| undecodable(("events", "sequence"), &stream.to_string(), error))?;
        if let Some(key) = key {
            let value = String::from_utf8_lossy(&value).into_owned();
            let holder = Holder { stream, version: Version(version), value };
            self.holders.insert(ClaimKey(key), holder);
            return Ok(());
        }
        if sequence > listed {
            self.unlisted.push(stream.clone());
        }
        if let (Some(id), Some(position)) = (event_id, position) {
            self.last.insert(stream.clone(), (id, unsigned(("events", "position"), "", position)?));
        }
        let head = if version == 0 {
            StreamHead::NONE
        } else {
            // An event that another program inserted has no hash.
            let sealed = if value.is_empty() { hash::GENESIS.to_vec() } else { value };
            let hash = sealed.try_into().map_err(|value: Vec<u8>| {
                let why = format!("a hash has 32 bytes, and not {}", value.len());
                undecodable(("events", "hash"), &stream.to_string(), why)
            })?;
            StreamHead { version: Version(version), hash, recorded_at: Timestamp(recorded_at) }
        };
        self.heads.insert(stream, head);
        Ok(())
    }

    /// Adds the streams that another program wrote to `streams`, so that the next append continues them.
    async fn list(&self, database: &Database) -> Result<(), StoreError> {
        if self.unlisted.is_empty() {
            return Ok(());
        }
        let mut unlisted: Vec<&StreamId> = self.unlisted.iter().collect();
        unlisted.sort();
        let (types, ids): (Vec<&str>, Vec<&str>) =
            unlisted.iter().map(|stream| (&*stream.category, &*stream.id)).unzip();
        let list = "INSERT INTO streams AS s (aggregate_type, aggregate_id, version, before, hash, recorded_at) \
             SELECT t, i, h.sequence, h.sequence - 1, h.hash, h.recorded_at \
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (t, i, o) \
             CROSS JOIN LATERAL (SELECT sequence, hash, recorded_at FROM events \
             WHERE aggregate_type = t AND aggregate_id = i ORDER BY sequence DESC LIMIT 1) h ORDER BY o \
             ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET version = excluded.version, \
             before = excluded.before, hash = excluded.hash, recorded_at = excluded.recorded_at \
             WHERE s.version < excluded.version";
        database.execute(sqlx::query(list).bind(types).bind(ids)).await.map(drop)
    }

    /// The stream's last event.
    pub(super) fn head(&self, stream: &StreamId) -> StreamHead {
        self.heads.get(stream).copied().unwrap_or(StreamHead::NONE)
    }

    /// The holder of a claim; `None` = it is free.
    pub(super) fn holder(&self, key: &ClaimKey) -> Option<&Holder> {
        self.holders.get(key)
    }

    /// The result of an append that is in the log already: its last event has the version that it would have. Any other
    /// version would be another append's, because an append decides on the version that it continues.
    pub(super) fn repeated(&self, append: &Append, epoch: u32) -> Option<Appended> {
        let (id, minor) = *self.last.get(&append.stream)?;
        if append.events.last()?.id.0 != id {
            return None;
        }
        let version = Version(append.expected.0 + append.events.len() as u64);
        Some(Appended { version, position: Position { epoch, major: 0, minor } })
    }
}
