//! One commit of the log: every append that fits goes into one transaction. Heads and claims are read only where the
//! optimistic path does not apply.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::SqliteConnection;
use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Append, Appended, Holder};
use stateward_domain::time::Timestamp;

use crate::shared::chain::{
    self, Admission, ClaimChanges, Outcome, SealedEvent, StreamHead, StreamHeads, TakenClaim,
};
use crate::shared::event_columns::PositionedEvent;
use crate::shared::stored_row::signed;
use crate::sql_value::undecodable;
use crate::sql_value::unsigned;
use crate::sqlite::log::event_row::{POSITION, VERSION};
use crate::sqlite::transaction::{
    CommitError, Insert, PipelinedTransaction, Values, WriteConnection,
};

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
    let (mut sealed, mut accepted) = (Vec::new(), Vec::new());
    for append in appends {
        let before = heads.of(&append.stream);
        outcomes.push(match chain::admit(append, before, |key| holders.get(key)) {
            Admission::Moved(conflict) => {
                find_repeated(writer, append, epoch).await?.ok_or(conflict)
            }
            Admission::Refused(refusal) => Err(refusal),
            Admission::Fits => {
                let after = chain::seal(append, before, now, &mut sealed);
                accepted.push((append, after));
                let position = Position { epoch, major: 0, minor: head + sealed.len() as u64 };
                Ok(Appended { version: after.version, position })
            }
        });
    }
    if sealed.is_empty() {
        return Ok((outcomes, Vec::new()));
    }
    let mut transaction = writer.pipeline();
    insert(&mut transaction, head + 1, &sealed).await?;
    let claims = ClaimChanges::of(accepted.iter().map(|(append, _)| *append));
    write_claims(&mut transaction, &claims, now, mode).await?;
    transaction.commit().await?;
    for (append, after) in accepted {
        heads.record(append.stream.clone(), after);
    }
    let recorded = (head + 1..)
        .zip(&sealed)
        .map(|(minor, event)| event.recorded(Position { epoch, major: 0, minor }));
    Ok((outcomes, recorded.collect()))
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
    let unknown: Vec<_> = unknown.iter().map(|stream| [&stream.category, &stream.id]).collect();
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
        let version = Version(unsigned(VERSION, &stream.to_string(), version)?);
        if let Some(key) = key {
            let value = String::from_utf8_lossy(&value).into_owned();
            holders.insert(ClaimKey(key), Holder { stream, version, value });
        } else {
            let hash = value.try_into().map_err(|value: Vec<u8>| {
                let why = format!("a hash has 32 bytes, and not {}", value.len());
                undecodable(("events", "hash"), &stream.to_string(), why)
            })?;
            let head = StreamHead { version, hash, recorded_at: Timestamp(recorded_at) };
            heads.record(stream, head);
        }
    }
    Ok(holders)
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
    let Some((position, version)) = row else { return Ok(None) };
    let stream = append.stream.to_string();
    let minor = unsigned(POSITION, &stream, position)?;
    Ok(Some(Appended {
        version: Version(unsigned(VERSION, &stream, version)?),
        position: Position { epoch, major: 0, minor },
    }))
}

/// Adds events with consecutive positions, `first` being that of the first one, to the transaction.
pub(in crate::sqlite) async fn insert(
    transaction: &mut PipelinedTransaction<'_>,
    first: u64,
    events: &[SealedEvent<'_>],
) -> Result<(), sqlx::Error> {
    let positioned = |(position, event)| PositionedEvent { position, event };
    let rows: Vec<_> = (first..).zip(events).map(positioned).collect();
    transaction.insert_rows("events", "", &rows).await
}

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

/// Adds the changes of claims to the transaction.
async fn write_claims(
    transaction: &mut PipelinedTransaction<'_>,
    claims: &ClaimChanges<'_>,
    now: Timestamp,
    mode: Mode,
) -> Result<(), sqlx::Error> {
    let encode = |pairs: &[(&ClaimKey, &StreamId)]| {
        let rows = pairs.iter().map(|(key, stream)| (key, &stream.category, &stream.id));
        serde_json::to_string(&rows.collect::<Vec<_>>()).expect("strings are JSON")
    };
    if !claims.freed.is_empty() {
        // Only the holder of a claim frees it.
        transaction
            .push(
                "DELETE FROM claims WHERE (key, aggregate_type, aggregate_id) IN \
                 (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
            )
            .push(encode(&claims.freed));
    }
    if !claims.shared.is_empty() && mode == Mode::Optimistic {
        // A shared key that another stream holds violates the primary key here, as one that is taken does.
        transaction
            .push(
                "INSERT INTO claims SELECT c.* FROM json_each(?) wanted JOIN claims c \
                 ON c.key = wanted.value ->> 0 WHERE (c.aggregate_type, c.aggregate_id) \
                 <> (wanted.value ->> 1, wanted.value ->> 2)",
            )
            .push(encode(&claims.shared));
    }
    let bind = |values: &mut Values, claim: &TakenClaim<'_>| {
        values
            .push(claim.key.0.clone())
            .push(claim.stream.category.clone())
            .push(claim.stream.id.clone())
            .push(signed(claim.version.0))
            .push(claim.value.to_owned())
            .push(now.0);
    };
    let insert = if mode == Mode::Optimistic { &CLAIMS } else { &CLAIMS_UPSERT };
    transaction.insert(insert, &claims.taken, bind).await
}
