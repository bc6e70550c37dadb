//! One commit: what fits is written in one transaction. Heads and claims are looked up where they are not known, and cannot
//! be taken for new.

use std::borrow::Cow;
use std::collections::HashMap;

use sqlx::SqliteConnection;
use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::{NewEvent, Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Append, AppendError, Appended, Holder};
use stateward_domain::time::Timestamp;

use crate::hash::{self, Hash};
use crate::sqlite::log::event_row::signed;
use crate::sqlite::transaction::{Broke, Insert, Script, Values, Writer};

/// What becomes of one append.
pub(in crate::sqlite) type Outcome = Result<Appended, AppendError>;

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
pub(in crate::sqlite) struct Heads {
    known: HashMap<StreamId, Head>,
}

impl Heads {
    const MAX: usize = 50_000;

    pub(in crate::sqlite) fn clear(&mut self) {
        self.known.clear();
    }

    /// Forgets all when there are too many.
    fn bound(&mut self) {
        if self.known.len() > Self::MAX {
            self.known.clear();
        }
    }

    /// Whether nothing has to be read for `appends`: each goes on from a head that is known, or begins a stream.
    fn suffice(&self, appends: &[Append]) -> bool {
        appends.iter().all(|append| match self.known.get(&append.stream) {
            Some(head) => head.version == append.expected,
            None => append.expected == Version(0),
        })
    }

    /// Those of `appends` that are not known, as the query in [`look`] wants them.
    fn unknown<'a>(&self, appends: &'a [Append]) -> Vec<[&'a str; 2]> {
        let unknown = appends.iter().filter(|append| !self.known.contains_key(&append.stream));
        unknown.map(|append| [append.stream.category.as_str(), append.stream.id.as_str()]).collect()
    }

    fn of(&self, stream: &StreamId) -> Head {
        self.known.get(stream).copied().unwrap_or(EMPTY)
    }
}

/// An event with everything that the log adds.
pub(in crate::sqlite) struct Row<'a> {
    pub(in crate::sqlite) position: u64,
    pub(in crate::sqlite) stream: &'a StreamId,
    pub(in crate::sqlite) version: Version,
    pub(in crate::sqlite) recorded_at: Timestamp,
    pub(in crate::sqlite) hash: Hash,
    pub(in crate::sqlite) event: &'a NewEvent,
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

/// Where and when a batch goes into the log: the log's life, its last position, and the time.
#[derive(Clone, Copy)]
pub(in crate::sqlite) struct Place {
    pub(in crate::sqlite) now: Timestamp,
    pub(in crate::sqlite) epoch: u32,
    pub(in crate::sqlite) head: u64,
}

/// Writes what fits of `appends`, of which no two share a stream or a claim key. Answers with an outcome for
/// each, and with what was written.
pub(in crate::sqlite) async fn write(
    writer: &mut Writer,
    heads: &mut Heads,
    appends: &[Append],
    place: Place,
) -> Result<(Vec<Outcome>, Vec<Recorded>), Broke> {
    heads.bound();
    // Nearly always what is new is new. Where it is not, the tables themselves refuse it.
    if heads.suffice(appends) {
        match attempt(writer, heads, appends, place, Hope::AllIsNew).await {
            Err(Broke::Before(error)) if is_there(&error) => {}
            outcome => return outcome,
        }
    }
    attempt(writer, heads, appends, place, Hope::Nothing).await
}

/// What is taken for granted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hope {
    /// Streams that begin are not there, and claims that are taken are free.
    AllIsNew,
    /// Nothing: it is looked up.
    Nothing,
}

fn is_there(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

async fn attempt(
    writer: &mut Writer,
    heads: &mut Heads,
    appends: &[Append],
    place: Place,
    hope: Hope,
) -> Result<(Vec<Outcome>, Vec<Recorded>), Broke> {
    let Place { now, epoch, head } = place;
    // Nobody else writes, so what is read before the transaction still holds in it.
    let holders = match hope {
        Hope::AllIsNew => HashMap::new(),
        Hope::Nothing => look(writer, heads, appends).await?,
    };
    let mut outcomes = Vec::with_capacity(appends.len());
    let mut rows = Vec::new();
    let mut fitting = Vec::new();
    let mut last = head;
    for append in appends {
        let before = heads.of(&append.stream);
        if before.version != append.expected {
            let repeated = repeated(writer, append, epoch).await?;
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
        return Ok((outcomes, Vec::new()));
    }
    let mut script = writer.script();
    insert(&mut script, &rows).await?;
    claim(&mut script, &fitting, now, hope).await?;
    script.commit().await?;
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

/// The key of a claim, or `None` for a head; then its stream, version, value or hash, and the time of a head.
type Found = (Option<String>, String, String, i64, Vec<u8>, i64);

/// Heads that are not known yet, and who holds the claims that the appends are about: one query for both.
async fn look(
    connection: &mut SqliteConnection,
    heads: &mut Heads,
    appends: &[Append],
) -> Result<HashMap<ClaimKey, Holder>, sqlx::Error> {
    let unknown = heads.unknown(appends);
    let claims = appends.iter().flat_map(|append| &append.claims);
    let keys: Vec<&ClaimKey> = claims.map(Claim::key).collect();
    let mut holders = HashMap::new();
    if unknown.is_empty() && keys.is_empty() {
        return Ok(holders);
    }
    let found: Vec<Found> = sqlx::query_as(
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
        let version = Version(u64::try_from(version).unwrap_or_default());
        if let Some(key) = key {
            let value = String::from_utf8_lossy(&value).into_owned();
            holders.insert(ClaimKey(key), Holder { stream, version, value });
        } else {
            let hash = value.try_into().unwrap_or(hash::GENESIS);
            let head = Head { version, hash, recorded_at: Timestamp(recorded_at) };
            heads.known.insert(stream, head);
        }
    }
    Ok(holders)
}

fn taken(append: &Append, holders: &HashMap<ClaimKey, Holder>) -> Option<AppendError> {
    append.claims.iter().find_map(|claim| {
        let (Claim::Take { key, .. } | Claim::Share { key }) = claim else { return None };
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

/// Adds the rows.
pub(in crate::sqlite) async fn insert(
    script: &mut Script<'_>,
    rows: &[Row<'_>],
) -> Result<(), sqlx::Error> {
    let bind = |values: &mut Values, row: &Row<'_>| {
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
    script.insert(&EVENTS, rows, bind).await
}

/// A claim that is taken: by which stream, at which version, which, and what is stored with it.
type Taken<'a> = (&'a StreamId, u64, &'a ClaimKey, &'a String);

const CLAIMS: Insert = Insert {
    table: Cow::Borrowed("claims"),
    columns: &["key", "aggregate_type", "aggregate_id", "sequence", "value", "taken_at"],
    conflict: "",
};

/// Who holds a claim may take it again.
const CLAIMS_AGAIN: Insert = Insert {
    conflict: "ON CONFLICT (key) DO UPDATE SET sequence = excluded.sequence, \
               value = excluded.value, taken_at = excluded.taken_at",
    ..CLAIMS
};

/// Adds what the fitting appends give back and take. No two of them share a key, so the order does not matter.
async fn claim(
    script: &mut Script<'_>,
    fitting: &[(&Append, Head)],
    now: Timestamp,
    hope: Hope,
) -> Result<(), sqlx::Error> {
    let (mut freed, mut shared) = (Vec::new(), Vec::new());
    let mut taken: Vec<Taken<'_>> = Vec::new();
    for (append, _) in fitting {
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
        // Only whoever holds a claim gives it back.
        script
            .push(
                "DELETE FROM claims WHERE (key, aggregate_type, aggregate_id) IN \
                 (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?))",
            )
            .push(serde_json::to_string(&freed).expect("strings are JSON"));
    }
    if !shared.is_empty() && hope == Hope::AllIsNew {
        // Whoever holds one stands in the way of its own row, as it does of one that is taken.
        script
            .push(
                "INSERT INTO claims SELECT c.* FROM json_each(?) wanted JOIN claims c \
                 ON c.key = wanted.value ->> 0 WHERE (c.aggregate_type, c.aggregate_id) \
                 <> (wanted.value ->> 1, wanted.value ->> 2)",
            )
            .push(serde_json::to_string(&shared).expect("strings are JSON"));
    }
    let bind = |values: &mut Values, (stream, version, key, value): &Taken<'_>| {
        values
            .push(key.0.clone())
            .push(stream.category.clone())
            .push(stream.id.clone())
            .push(signed(*version))
            .push((*value).clone())
            .push(now.0);
    };
    let insert = if hope == Hope::AllIsNew { &CLAIMS } else { &CLAIMS_AGAIN };
    script.insert(insert, &taken, bind).await
}
