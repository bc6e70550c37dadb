//! One commit: look at heads and claims, keep what fits, write it, all in one transaction.

use std::collections::HashMap;

use sqlx::{Connection, QueryBuilder, Sqlite, SqliteConnection};
use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::{NewEvent, Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Append, AppendError, Appended, Holder};
use stateward_domain::time::Timestamp;

use crate::hash::{self, Hash};

/// What becomes of one append.
pub(super) type Outcome = Result<Appended, AppendError>;

/// Where a batch broke.
pub(super) enum Broke {
    /// Nothing was written.
    Before(sqlx::Error),
    /// Perhaps all of it was written, perhaps nothing.
    InCommit(sqlx::Error),
}

impl From<sqlx::Error> for Broke {
    fn from(error: sqlx::Error) -> Self {
        Self::Before(error)
    }
}

/// The last event of a stream.
#[derive(Clone, Copy)]
struct Head {
    version: Version,
    hash: Hash,
    recorded_at: Timestamp,
}

const EMPTY: Head =
    Head { version: Version(0), hash: hash::GENESIS, recorded_at: Timestamp(i64::MIN) };

/// Heads of streams that were written lately. The writer is the only one, so they cannot be stale.
#[derive(Default)]
pub(super) struct Heads {
    known: HashMap<StreamId, Head>,
}

impl Heads {
    const MAX: usize = 50_000;

    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    async fn load(
        &mut self,
        connection: &mut SqliteConnection,
        appends: &[Append],
    ) -> Result<(), sqlx::Error> {
        if self.known.len() > Self::MAX {
            self.known.clear();
        }
        let unknown: Vec<[&str; 2]> = appends
            .iter()
            .filter(|append| !self.known.contains_key(&append.stream))
            .map(|append| [append.stream.category.as_str(), append.stream.id.as_str()])
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let rows: Vec<(String, String, i64, Vec<u8>, i64)> = sqlx::query_as(
            "SELECT e.aggregate_type, e.aggregate_id, e.sequence, e.hash, e.recorded_at \
             FROM json_each(?) wanted JOIN events e ON e.position = \
             (SELECT position FROM events \
              WHERE aggregate_type = wanted.value ->> 0 AND aggregate_id = wanted.value ->> 1 \
              ORDER BY sequence DESC LIMIT 1)",
        )
        .bind(serde_json::to_string(&unknown).expect("strings are JSON"))
        .fetch_all(connection)
        .await?;
        for (category, id, version, hash, recorded_at) in rows {
            let head = Head {
                version: Version(u64::try_from(version).unwrap_or_default()),
                hash: hash.try_into().unwrap_or(hash::GENESIS),
                recorded_at: Timestamp(recorded_at),
            };
            self.known.insert(StreamId { category, id }, head);
        }
        Ok(())
    }

    fn of(&self, stream: &StreamId) -> Head {
        self.known.get(stream).copied().unwrap_or(EMPTY)
    }
}

/// An event with everything that the log adds.
pub(super) struct Row<'a> {
    pub(super) position: u64,
    pub(super) stream: &'a StreamId,
    pub(super) version: Version,
    pub(super) recorded_at: Timestamp,
    pub(super) hash: Hash,
    pub(super) event: &'a NewEvent,
}

impl Row<'_> {
    fn recorded(&self, epoch: u32) -> Recorded {
        Recorded {
            position: Position { epoch, major: 0, minor: self.position },
            stream: self.stream.clone(),
            version: self.version,
            id: self.event.id,
            event_type: self.event.event_type.clone(),
            schema_version: self.event.schema_version,
            recorded_at: self.recorded_at,
            payload: self.event.payload.clone(),
            metadata: self.event.metadata.clone(),
            hash: self.hash,
        }
    }
}

/// Writes what fits of `appends`, of which no two share a stream or a claim key. Answers with an outcome for
/// each, and with what was written.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    heads: &mut Heads,
    appends: &[Append],
    now: Timestamp,
    epoch: u32,
    head: u64,
) -> Result<(Vec<Outcome>, Vec<Recorded>), Broke> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    heads.load(&mut transaction, appends).await?;
    let holders = holders(&mut transaction, appends).await?;
    let mut outcomes = Vec::with_capacity(appends.len());
    let mut rows = Vec::new();
    let mut fitting = Vec::new();
    let mut last = head;
    for append in appends {
        let before = heads.of(&append.stream);
        if before.version != append.expected {
            let repeated = repeated(&mut transaction, append, epoch).await?;
            let conflict = AppendError::Conflict { actual: before.version };
            outcomes.push(repeated.ok_or(conflict));
            continue;
        }
        if let Some(taken) = taken(append, &holders) {
            outcomes.push(Err(taken));
            continue;
        }
        let after = extend(&mut rows, append, before, now, &mut last);
        let position = Position { epoch, major: 0, minor: last };
        outcomes.push(Ok(Appended { version: after.version, position }));
        fitting.push((append, after));
    }
    if rows.is_empty() {
        transaction.rollback().await?;
        return Ok((outcomes, Vec::new()));
    }
    insert(&mut transaction, &rows).await?;
    claim(&mut transaction, &fitting, &holders, now).await?;
    crate::crash::point("store::append::commit");
    transaction.commit().await.map_err(Broke::InCommit)?;
    for (append, after) in fitting {
        heads.known.insert(append.stream.clone(), after);
    }
    Ok((outcomes, rows.iter().map(|row| row.recorded(epoch)).collect()))
}

/// Chains the append's events to the stream's head; its new head.
fn extend<'a>(
    rows: &mut Vec<Row<'a>>,
    append: &'a Append,
    mut head: Head,
    now: Timestamp,
    last: &mut u64,
) -> Head {
    for event in &append.events {
        let version = head.version.next();
        let recorded_at = now.max(Timestamp(head.recorded_at.0.saturating_add(1)));
        let hash = hash::of_new(&head.hash, &append.stream, version, recorded_at, event);
        *last += 1;
        let stream = &append.stream;
        rows.push(Row { position: *last, stream, version, recorded_at, hash, event });
        head = Head { version, hash, recorded_at };
    }
    head
}

async fn holders(
    connection: &mut SqliteConnection,
    appends: &[Append],
) -> Result<HashMap<ClaimKey, Holder>, sqlx::Error> {
    let claims = appends.iter().flat_map(|append| &append.claims);
    let keys: Vec<&ClaimKey> = claims.map(Claim::key).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, String, String, i64, String)> = sqlx::query_as(
        "SELECT key, aggregate_type, aggregate_id, sequence, value FROM claims \
         WHERE key IN (SELECT value FROM json_each(?))",
    )
    .bind(serde_json::to_string(&keys).expect("strings are JSON"))
    .fetch_all(connection)
    .await?;
    let holder = |(key, category, id, version, value): (_, _, _, i64, _)| {
        let version = Version(u64::try_from(version).unwrap_or_default());
        (ClaimKey(key), Holder { stream: StreamId { category, id }, version, value })
    };
    Ok(rows.into_iter().map(holder).collect())
}

fn taken(append: &Append, holders: &HashMap<ClaimKey, Holder>) -> Option<AppendError> {
    append.claims.iter().find_map(|claim| {
        let Claim::Take { key, .. } = claim else { return None };
        let holder = holders.get(key).filter(|holder| holder.stream != append.stream)?;
        Some(AppendError::ClaimTaken { key: key.clone(), holder: holder.clone() })
    })
}

/// An append that is in the log already is recognised by its last event's id. Only one whose version does not
/// fit can be there, because every append moves its stream on.
async fn repeated(
    connection: &mut SqliteConnection,
    append: &Append,
    epoch: u32,
) -> Result<Option<Appended>, sqlx::Error> {
    let Some(last) = append.events.last() else { return Ok(None) };
    let row: Option<(i64, i64)> = sqlx::query_as(
        "SELECT position, sequence FROM events \
         WHERE event_id = ? AND aggregate_type = ? AND aggregate_id = ?",
    )
    .bind(last.id.to_string())
    .bind(&append.stream.category)
    .bind(&append.stream.id)
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(position, version)| Appended {
        version: Version(u64::try_from(version).unwrap_or_default()),
        position: Position { epoch, major: 0, minor: u64::try_from(position).unwrap_or_default() },
    }))
}

/// Rows of one statement: a bound on its variables, and few enough texts for the statement cache.
const ROWS_PER_INSERT: usize = 32;

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    rows: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        let mut statement: QueryBuilder<Sqlite> = QueryBuilder::new(
            "INSERT INTO events (position, aggregate_type, aggregate_id, sequence, event_type, \
             event_version, payload, metadata, event_id, recorded_at, hash) ",
        );
        statement.push_values(chunk, |mut values, row| {
            values
                .push_bind(signed(row.position))
                .push_bind(row.stream.category.clone())
                .push_bind(row.stream.id.clone())
                .push_bind(signed(row.version.0))
                .push_bind(row.event.event_type.clone())
                .push_bind(row.event.schema_version.to_string())
                .push_bind(row.event.payload.clone())
                .push_bind(row.event.metadata.clone())
                .push_bind(row.event.id.to_string())
                .push_bind(row.recorded_at.0)
                .push_bind(row.hash.to_vec());
        });
        statement.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Gives back and takes what the fitting appends do. No two of them share a key, so the order does not matter.
async fn claim(
    connection: &mut SqliteConnection,
    fitting: &[(&Append, Head)],
    holders: &HashMap<ClaimKey, Holder>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut freed = Vec::new();
    let mut taken = Vec::new();
    for (append, head) in fitting {
        for claim in &append.claims {
            match claim {
                Claim::Take { key, value } => taken.push((append, head, key, value)),
                Claim::Free { key } => {
                    let holder = holders.get(key).filter(|holder| holder.stream == append.stream);
                    freed.extend(holder.map(|_| key));
                }
            }
        }
    }
    if !freed.is_empty() {
        sqlx::query("DELETE FROM claims WHERE key IN (SELECT value FROM json_each(?))")
            .bind(serde_json::to_string(&freed).expect("strings are JSON"))
            .execute(&mut *connection)
            .await?;
    }
    for chunk in taken.chunks(ROWS_PER_INSERT) {
        let mut statement: QueryBuilder<Sqlite> = QueryBuilder::new(
            "INSERT INTO claims (key, aggregate_type, aggregate_id, sequence, value, taken_at) ",
        );
        statement.push_values(chunk, |mut values, (append, head, key, value)| {
            values
                .push_bind(key.0.clone())
                .push_bind(append.stream.category.clone())
                .push_bind(append.stream.id.clone())
                .push_bind(signed(head.version.0))
                .push_bind((*value).clone())
                .push_bind(now.0);
        });
        statement.push(
            " ON CONFLICT (key) DO UPDATE SET sequence = excluded.sequence, \
             value = excluded.value, taken_at = excluded.taken_at",
        );
        statement.build().execute(&mut *connection).await?;
    }
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
