//! One commit of the log: every append that fits goes into one transaction. Heads and claims are read only where the
//! optimistic path does not apply.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::SqliteConnection;
use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::{NewEvent, Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Append, AppendError, Appended, Holder};
use stateward_domain::time::Timestamp;

use crate::hash::{self, Hash};
use crate::sqlite::integer::{signed, unsigned};
use crate::sqlite::transaction::{
    CommitError, Insert, PipelinedTransaction, Values, WriteConnection,
};

/// Result of one append.
pub(in crate::sqlite) type Outcome = Result<Appended, AppendError>;

/// The last event of a stream.
#[derive(Clone, Copy)]
struct StreamHead {
    version: Version,
    hash: Hash,
    recorded_at: Timestamp,
}

impl StreamHead {
    /// Of a stream without events.
    const NONE: Self =
        Self { version: Version(0), hash: hash::GENESIS, recorded_at: Timestamp(i64::MIN) };
}

/// Heads of streams that were written recently. There is one writer, so they cannot be stale.
#[derive(Default)]
pub(in crate::sqlite) struct StreamHeads {
    known: HashMap<StreamId, StreamHead>,
}

impl StreamHeads {
    const MAX: usize = 50_000;

    pub(in crate::sqlite) fn clear(&mut self) {
        self.known.clear();
    }

    /// Forgets all heads when there are too many.
    fn bound(&mut self) {
        if self.known.len() > Self::MAX {
            self.known.clear();
        }
    }

    /// Whether `appends` need no read: each continues from a cached head, or begins a stream.
    fn cover(&self, appends: &[Append]) -> bool {
        appends.iter().all(|append| match self.known.get(&append.stream) {
            Some(head) => head.version == append.expected,
            None => append.expected == Version(0),
        })
    }

    /// Streams of `appends` without a cached head, as arguments of the query in [`load_heads_and_claims`].
    fn unknown<'a>(&self, appends: &'a [Append]) -> Vec<[&'a str; 2]> {
        let unknown = appends.iter().filter(|append| !self.known.contains_key(&append.stream));
        unknown.map(|append| [append.stream.category.as_str(), append.stream.id.as_str()]).collect()
    }

    fn of(&self, stream: &StreamId) -> StreamHead {
        self.known.get(stream).copied().unwrap_or(StreamHead::NONE)
    }
}

/// An event with the columns that the log adds.
pub(in crate::sqlite) struct NewEventRow<'a> {
    pub(in crate::sqlite) position: u64,
    pub(in crate::sqlite) stream: &'a StreamId,
    pub(in crate::sqlite) version: Version,
    pub(in crate::sqlite) recorded_at: Timestamp,
    pub(in crate::sqlite) hash: Hash,
    pub(in crate::sqlite) event: &'a NewEvent,
}

impl NewEventRow<'_> {
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

/// Where and when a batch goes into the log: its epoch, its last position, and the time.
#[derive(Clone, Copy)]
pub(in crate::sqlite) struct BatchContext {
    pub(in crate::sqlite) now: Timestamp,
    pub(in crate::sqlite) epoch: u32,
    pub(in crate::sqlite) head: u64,
}

/// Writes those of `appends` that fit; no two of them share a stream or a claim key. Returns a result for each, and
/// the events that were written.
pub(in crate::sqlite) async fn write(
    writer: &mut WriteConnection,
    heads: &mut StreamHeads,
    appends: &[Append],
    context: BatchContext,
) -> Result<(Vec<Outcome>, Vec<Recorded>), CommitError> {
    heads.bound();
    // Optimistic path first: streams that begin do not exist and claims are free, as nearly always. If a unique
    // constraint rejects the batch, fall back to [`Mode::Checked`], which reads heads and claims first.
    if heads.cover(appends) {
        match try_write(writer, heads, appends, context, Mode::Optimistic).await {
            Err(CommitError::NotStarted(error)) if is_unique_violation(&error) => {}
            outcome => return outcome,
        }
    }
    try_write(writer, heads, appends, context, Mode::Checked).await
}

/// How a batch is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Assume that streams that begin do not exist and that claims are free; a unique constraint rejects the batch
    /// otherwise.
    Optimistic,
    /// Read heads and claims first.
    Checked,
}

fn is_unique_violation(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

async fn try_write(
    writer: &mut WriteConnection,
    heads: &mut StreamHeads,
    appends: &[Append],
    context: BatchContext,
    mode: Mode,
) -> Result<(Vec<Outcome>, Vec<Recorded>), CommitError> {
    let BatchContext { now, epoch, head } = context;
    // There is one writer, so what is read before the transaction still holds in it.
    let holders = match mode {
        Mode::Optimistic => HashMap::new(),
        Mode::Checked => load_heads_and_claims(writer, heads, appends).await?,
    };
    let mut outcomes = Vec::with_capacity(appends.len());
    let mut rows = Vec::new();
    let mut accepted = Vec::new();
    let mut last = head;
    for append in appends {
        let before = heads.of(&append.stream);
        if before.version != append.expected {
            let repeated = find_repeated(writer, append, epoch).await?;
            let conflict = AppendError::Conflict { actual: before.version };
            outcomes.push(repeated.ok_or(conflict));
            continue;
        }
        if let Some(conflict) = claim_conflict(append, &holders) {
            outcomes.push(Err(conflict));
            continue;
        }
        let after = chain_events(&mut rows, append, before, now, &mut last);
        let position = Position { epoch, major: 0, minor: last };
        outcomes.push(Ok(Appended { version: after.version, position }));
        accepted.push((append, after));
    }
    if rows.is_empty() {
        return Ok((outcomes, Vec::new()));
    }
    let mut transaction = writer.pipeline();
    insert(&mut transaction, &rows).await?;
    write_claims(&mut transaction, &accepted, now, mode).await?;
    transaction.commit().await?;
    for (append, after) in accepted {
        heads.known.insert(append.stream.clone(), after);
    }
    Ok((outcomes, rows.iter().map(|row| row.recorded(epoch)).collect()))
}

/// Chains the append's events to the stream's head; returns the new head.
fn chain_events<'a>(
    rows: &mut Vec<NewEventRow<'a>>,
    append: &'a Append,
    mut head: StreamHead,
    now: Timestamp,
    last: &mut u64,
) -> StreamHead {
    for event in &append.events {
        let version = head.version.next();
        let recorded_at = now.max(Timestamp(head.recorded_at.0.saturating_add(1)));
        let hash = hash::of_new(&head.hash, &append.stream, version, recorded_at, event);
        *last += 1;
        let stream = &append.stream;
        rows.push(NewEventRow { position: *last, stream, version, recorded_at, hash, event });
        head = StreamHead { version, hash, recorded_at };
    }
    head
}

/// A claim: its key, stream, version and value. Or a head: `None`, stream, version, hash and time.
type HeadOrClaimRow = (Option<String>, String, String, i64, Vec<u8>, i64);

/// Loads missing heads, and the holders of all claims that the appends touch, in one query.
async fn load_heads_and_claims(
    connection: &mut SqliteConnection,
    heads: &mut StreamHeads,
    appends: &[Append],
) -> Result<HashMap<ClaimKey, Holder>, sqlx::Error> {
    let unknown = heads.unknown(appends);
    let claims = appends.iter().flat_map(|append| &append.claims);
    let keys: Vec<&ClaimKey> = claims.map(Claim::key).collect();
    let mut holders = HashMap::new();
    if unknown.is_empty() && keys.is_empty() {
        return Ok(holders);
    }
    let found: Vec<HeadOrClaimRow> = sqlx::query_as(
        "SELECT NULL, e.aggregate_type, e.aggregate_id, e.sequence, e.hash, e.recorded_at \
         FROM json_each(?) wanted JOIN events e ON e.position = \
         (SELECT position FROM events \
          WHERE aggregate_type = wanted.value ->> 0 AND aggregate_id = wanted.value ->> 1 \
          ORDER BY sequence DESC LIMIT 1) \
         UNION ALL SELECT key, aggregate_type, aggregate_id, sequence, value, 0 FROM claims \
         WHERE key IN (SELECT value FROM json_each(?))",
    )
    .bind(serde_json::to_string(&unknown).expect("strings are JSON"))
    .bind(serde_json::to_string(&keys).expect("strings are JSON"))
    .fetch_all(connection)
    .await?;
    for (key, category, id, version, value, recorded_at) in found {
        let stream = StreamId { category, id };
        let version = Version(unsigned(version));
        if let Some(key) = key {
            let value = String::from_utf8_lossy(&value).into_owned();
            holders.insert(ClaimKey(key), Holder { stream, version, value });
        } else {
            let hash = value.try_into().unwrap_or(hash::GENESIS);
            let head = StreamHead { version, hash, recorded_at: Timestamp(recorded_at) };
            heads.known.insert(stream, head);
        }
    }
    Ok(holders)
}

fn claim_conflict(append: &Append, holders: &HashMap<ClaimKey, Holder>) -> Option<AppendError> {
    append.claims.iter().find_map(|claim| {
        let (Claim::Take { key, .. } | Claim::Share { key }) = claim else { return None };
        let holder = holders.get(key).filter(|holder| holder.stream != append.stream)?;
        Some(AppendError::ClaimTaken { key: key.clone(), holder: holder.clone() })
    })
}

/// Finds an append that is in the log already, by the id of its last event. Only one whose expected version is stale
/// can be there, because every append moves its stream on.
async fn find_repeated(
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
        version: Version(unsigned(version)),
        position: Position { epoch, major: 0, minor: unsigned(position) },
    }))
}

const EVENTS: Insert = Insert {
    table: Cow::Borrowed("events"),
    columns: &[
        "position",
        "aggregate_type",
        "aggregate_id",
        "sequence",
        "event_type",
        "event_version",
        "payload",
        "metadata",
        "event_id",
        "recorded_at",
        "hash",
    ],
    conflict: "",
};

/// Adds the rows to the transaction.
pub(in crate::sqlite) async fn insert(
    transaction: &mut PipelinedTransaction<'_>,
    rows: &[NewEventRow<'_>],
) -> Result<(), sqlx::Error> {
    let bind = |values: &mut Values, row: &NewEventRow<'_>| {
        values
            .push(signed(row.position))
            .push(row.stream.category.clone())
            .push(row.stream.id.clone())
            .push(signed(row.version.0))
            .push(row.event.event_type.clone())
            .push(row.event.schema_version.to_string())
            .push(row.event.payload.clone())
            .push(row.event.metadata.clone())
            .push(row.event.id.to_string())
            .push(row.recorded_at.0)
            .push(row.hash.to_vec());
    };
    transaction.insert(&EVENTS, rows, bind).await
}

/// A claim to take: stream, version, key and value.
type ClaimRow<'a> = (&'a StreamId, u64, &'a ClaimKey, &'a String);

const CLAIMS: Insert = Insert {
    table: Cow::Borrowed("claims"),
    columns: &["key", "aggregate_type", "aggregate_id", "sequence", "value", "taken_at"],
    conflict: "",
};

/// The holder of a claim may take it again.
const CLAIMS_UPSERT: Insert = Insert {
    conflict: "ON CONFLICT (key) DO UPDATE SET sequence = excluded.sequence, \
               value = excluded.value, taken_at = excluded.taken_at",
    ..CLAIMS
};

/// Adds the claims that the accepted appends free and take. No two appends share a key, so the order does not matter.
async fn write_claims(
    transaction: &mut PipelinedTransaction<'_>,
    accepted: &[(&Append, StreamHead)],
    now: Timestamp,
    mode: Mode,
) -> Result<(), sqlx::Error> {
    let (mut freed, mut shared) = (Vec::new(), Vec::new());
    let mut taken: Vec<ClaimRow<'_>> = Vec::new();
    for (append, _) in accepted {
        for claim in &append.claims {
            match claim {
                Claim::Take { key, value, event } => {
                    let version = append.expected.0 + *event as u64 + 1;
                    taken.push((&append.stream, version, key, value));
                }
                Claim::Share { key } => {
                    shared.push((key, &append.stream.category, &append.stream.id));
                }
                Claim::Free { key } => {
                    freed.push((key, &append.stream.category, &append.stream.id));
                }
            }
        }
    }
    if !freed.is_empty() {
        // Only the holder of a claim frees it.
        transaction
            .push(
                "DELETE FROM claims WHERE (key, aggregate_type, aggregate_id) IN \
                 (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
            )
            .push(serde_json::to_string(&freed).expect("strings are JSON"));
    }
    if !shared.is_empty() && mode == Mode::Optimistic {
        // A shared key that another stream holds violates the primary key here, as one that is taken does.
        transaction
            .push(
                "INSERT INTO claims SELECT c.* FROM json_each(?) wanted JOIN claims c \
                 ON c.key = wanted.value ->> 0 WHERE (c.aggregate_type, c.aggregate_id) \
                 <> (wanted.value ->> 1, wanted.value ->> 2)",
            )
            .push(serde_json::to_string(&shared).expect("strings are JSON"));
    }
    let bind = |values: &mut Values, (stream, version, key, value): &ClaimRow<'_>| {
        values
            .push(key.0.clone())
            .push(stream.category.clone())
            .push(stream.id.clone())
            .push(signed(*version))
            .push((*value).clone())
            .push(now.0);
    };
    let insert = if mode == Mode::Optimistic { &CLAIMS } else { &CLAIMS_UPSERT };
    transaction.insert(insert, &taken, bind).await
}
