//! Reads a source: first by position, for the chains, then by entity, for what follows from the events.

use std::collections::{HashMap, HashSet};

use stateward_domain::audit::{Checkpoint, Fault, FaultKind, Progress, Report};
use stateward_domain::entity::claims::{Claim, ClaimKey, of_request};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::audit::Progressing;
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::time::Timestamp;

use super::faults::Faults;
use super::{Chains, Checker, Held, Life, Row, Snapshot, Source};

/// Rows read at a time.
const PAGE: usize = 1_000;
/// Claims that are looked at once more, because the log may have moved on between two reads.
const RECHECKED: usize = 1_000;
/// How often each of them is.
const RECHECKS: u32 = 3;
/// Behind every version.
const LAST: Version = Version(i64::MAX.cast_unsigned());

/// Verifies everything. What is met is in the report; its time is left to the caller.
///
/// # Errors
/// When the source does not answer.
pub async fn verify(
    source: &dyn Source,
    against: Option<Checkpoint>,
    now: Timestamp,
    progress: Progressing<'_>,
) -> Result<Report, ReadError> {
    // Each event is read twice: by position, and by entity.
    let total = source.head().await?.minor.saturating_mul(2);
    let told = |done: u64| progress(Progress { done: done.min(total), total });
    told(0);
    let Chains { mut faults, streams, checkpoint } = chains(source, against, now, &told).await?;
    for line in source.damage().await? {
        faults.general(FaultKind::File, line);
    }
    let set_aside = source.set_aside().await?.into_iter().collect();
    let mut lives = Lives { faults, set_aside, ..Lives::default() };
    let mut after = String::new();
    loop {
        // First the model, then its rows, then the events: each knows at least what the one before it does.
        let model = source.model().await?;
        let rows = match model {
            Some(_) => source.snapshots(&after, PAGE).await?,
            None => Vec::new(),
        };
        let until = (rows.len() == PAGE).then(|| rows.last().map(|row| row.id.clone())).flatten();
        lives.model = model;
        lives.rows = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        let done = |done| told(checkpoint.count + done);
        lives = up_to(source, lives, &after, until.as_deref(), &done).await?;
        match until {
            Some(id) => after = id,
            None => break,
        }
    }
    let Lives { mut faults, entities, claims, .. } = lives;
    held(source, &mut faults, claims).await?;
    progress(Progress { done: total, total });
    Ok(Report {
        ok: faults.count() == 0,
        events: checkpoint.count,
        streams,
        entities,
        fault_count: faults.count(),
        faults: faults.into_told(),
        notes: Vec::new(),
        checkpoint,
        elapsed_ms: 0,
    })
}

/// The chains alone: hashes, versions, positions, times, and the checkpoint.
///
/// # Errors
/// When the source does not answer.
pub async fn chains(
    source: &dyn Source,
    against: Option<Checkpoint>,
    now: Timestamp,
    done: &(dyn Fn(u64) + Send + Sync),
) -> Result<Chains, ReadError> {
    let until = source.head().await?.minor;
    let mut checker = Checker::new(source.identity(), against);
    let mut page = source.rows(0, until, PAGE).await?;
    let mut count = 0;
    while let Some(last) = page.last().map(|row| position(row).minor) {
        count += page.len() as u64;
        let check = move || {
            for row in &page {
                checker.take(row);
            }
            checker
        };
        // One page is hashed while the next one is read.
        let (taken, next) = tokio::join!(aside(check), source.rows(last, until, PAGE));
        (checker, page) = (taken?, next?);
        done(count);
    }
    Ok(checker.finish(now))
}

/// Runs what keeps a processor busy where it holds nobody up.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    let gone = |_| ReadError::Unavailable("the verification broke off".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(gone)
}

const fn position(row: &Row) -> Position {
    match row {
        Ok(event) => event.position,
        Err(row) => row.position,
    }
}

/// Everything that is known of the entities so far.
#[derive(Default)]
struct Lives {
    faults: Faults,
    set_aside: HashSet<String>,
    model: Option<Position>,
    /// Rows of the read model that no stream was found for yet.
    rows: HashMap<String, Snapshot>,
    now: Option<Current>,
    entities: u64,
    /// Events read.
    read: u64,
    /// Names and identities, each with the stream that holds it.
    claims: HashMap<ClaimKey, StreamId>,
}

/// The stream that is being folded.
struct Current {
    life: Life,
    row: Option<Snapshot>,
    /// Its newest version that the read model has to know.
    due: Version,
    /// Something is wrong that makes a comparison idle.
    broken: bool,
}

/// Folds the entities behind `after` up to `until`.
async fn up_to(
    source: &dyn Source,
    mut lives: Lives,
    after: &str,
    until: Option<&str>,
    done: &(dyn Fn(u64) + Send + Sync),
) -> Result<Lives, ReadError> {
    let mut after = (after.to_owned(), LAST);
    loop {
        let page = source.lives((&after.0, after.1), until, PAGE).await?;
        lives.read += page.len() as u64;
        let ends = page.len() < PAGE;
        let next = page.iter().rev().find_map(place);
        lives = aside(move || {
            for row in &page {
                lives.take(row);
            }
            lives
        })
        .await?;
        done(lives.read);
        match next {
            Some(next) if !ends && next > after => after = next,
            _ => break,
        }
    }
    lives.end();
    lives.orphans();
    Ok(lives)
}

fn place(row: &Row) -> Option<(String, Version)> {
    match row {
        Ok(event) => Some((event.stream.id.clone(), event.version)),
        Err(row) => Some((row.stream.as_ref()?.id.clone(), row.version?)),
    }
}

impl Lives {
    fn take(&mut self, row: &Row) {
        let stream = match row {
            Ok(event) => Some(&event.stream),
            Err(row) => row.stream.as_ref(),
        };
        let Some(stream) = stream else { return };
        if self.now.as_ref().is_none_or(|now| now.life.stream != *stream) {
            self.end();
            self.begin(stream);
        }
        let Some(now) = &mut self.now else { return };
        let Ok(event) = row else { return now.broken = true };
        if now.broken {
            return;
        }
        if let Err(detail) = now.life.take(event) {
            now.broken = true;
            let fault = Fault::new(FaultKind::Payload, detail).of(&event.stream);
            return self.faults.add(fault.at_version(event.version).at(event.position));
        }
        if self.model.is_some_and(|model| event.position <= model) {
            now.due = event.version;
        }
        let same = now.row.as_ref().filter(|row| row.version == event.version);
        if let Some(row) = same {
            self.entities += 1;
            if let Some(fault) = now.life.differs(row) {
                self.faults.add(fault.at(event.position));
            }
        }
    }

    fn begin(&mut self, stream: &StreamId) {
        let name = stream.to_string();
        // What is wrong with it was said already.
        let broken = self.faults.concern(&name);
        let row = self.rows.remove(&stream.id).filter(|_| !self.set_aside.contains(&name));
        let due = Version(0);
        self.now = Some(Current { life: Life::new(stream.clone()), row, due, broken });
    }

    fn end(&mut self) {
        let Some(Current { life, row, due, broken }) = self.now.take() else { return };
        if broken {
            return;
        }
        let known = row.map_or(Version(0), |row| row.version);
        let aside = self.set_aside.contains(&life.stream.to_string());
        let wrong = |detail: String| Fault::new(FaultKind::View, detail).of(&life.stream);
        if known > life.version {
            let detail = format!(
                "the read model knows version {known}, the log ends at {}: events are missing",
                life.version
            );
            self.faults.add(wrong(detail).at_version(life.version.next()));
        } else if known < due && !aside {
            let detail = format!("the read model is at version {known}, and passed {due}");
            self.faults.add(wrong(detail).at_version(known.next()));
        }
        for key in life.held.into_keys().filter(|key| !is_idempotency(key)) {
            if let Some(other) = self.claims.insert(key.clone(), life.stream.clone()) {
                let detail = format!("by its events it holds {key}, as {other} does");
                self.faults.add(Fault::new(FaultKind::Claim, detail).of(&life.stream));
            }
        }
    }

    /// Rows whose entities have no events.
    fn orphans(&mut self) {
        for row in std::mem::take(&mut self.rows).into_values() {
            let stream = StreamId { category: StreamId::ENTITY.to_owned(), id: row.id };
            if !self.faults.concern(&stream.to_string()) {
                let detail = "the read model knows it, the log does not: its events are missing";
                self.faults.add(Fault::new(FaultKind::View, detail).of(&stream));
            }
        }
    }
}

fn is_idempotency(key: &ClaimKey) -> bool {
    key.0.starts_with(ClaimKey::IDEMPOTENCY)
}

/// Compares what is held with what the events make of it.
async fn held(
    source: &dyn Source,
    faults: &mut Faults,
    mut expected: HashMap<ClaimKey, StreamId>,
) -> Result<(), ReadError> {
    let mut doubtful: Vec<(ClaimKey, StreamId)> = Vec::new();
    // Told at the end: one claim's fault must not hide another's of the same stream.
    let mut wrong = Vec::new();
    let mut after = String::new();
    loop {
        let page = source.claims(&after, PAGE).await?;
        // A key that is no text any more is read as another one, and must not be read for ever.
        let last = page.last().map(|claim| claim.key.0.clone()).unwrap_or_default();
        let ends = page.len() < PAGE || last <= after;
        after = last;
        for claim in page {
            if faults.concern(&claim.holder.stream.to_string()) {
                expected.remove(&claim.key);
            } else if is_idempotency(&claim.key) {
                wrong.extend(idempotency(&claim));
            } else {
                let by_events = expected.remove(&claim.key);
                if by_events.as_ref() != Some(&claim.holder.stream) {
                    doubtful.extend(by_events.map(|stream| (claim.key.clone(), stream)));
                    doubtful.push((claim.key, claim.holder.stream));
                }
            }
        }
        if ends {
            break;
        }
    }
    for fault in wrong {
        faults.add(fault);
    }
    doubtful.extend(expected);
    for (number, (key, stream)) in doubtful.into_iter().enumerate() {
        if number >= RECHECKED || !is_settled(source, &key, &stream).await? {
            let holder = source.holder(&key).await?;
            let holder =
                holder.map_or_else(|| "nobody".to_owned(), |holder| holder.stream.to_string());
            let detail = format!("{key} is held by {holder}, which is not what the events say");
            faults.add(Fault::new(FaultKind::Claim, detail).of(&stream));
        }
    }
    Ok(())
}

/// Idempotency claims may be forgotten; those that are held have to be those of an event.
fn idempotency(claim: &Held) -> Option<Fault> {
    let holder = &claim.holder;
    let fault = |detail: &str| {
        let fault = Fault::new(FaultKind::Claim, format!("{}: {detail}", claim.key));
        fault.of(&holder.stream).at_version(holder.version)
    };
    let Some(metadata) = &claim.metadata else {
        return Some(fault("the log has no such event"));
    };
    let (key, value) = (claim.key.clone(), holder.value.clone());
    let same = of_request(&Envelope::from_json(metadata)) == Some(Claim::Take { key, value });
    (!same).then(|| fault("the event was asked for under another key"))
}

/// Whether `stream` holds `key` exactly if its events say so, once both are read at the same time.
async fn is_settled(
    source: &dyn Source,
    key: &ClaimKey,
    stream: &StreamId,
) -> Result<bool, ReadError> {
    for _ in 0..RECHECKS {
        let holder = source.holder(key).await?;
        let holds = holder.is_some_and(|holder| holder.stream == *stream);
        if fold(source, stream).await?.is_some_and(|life| life.held.contains_key(key) == holds) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The fold of one stream; `None` = it cannot be folded.
async fn fold(source: &dyn Source, stream: &StreamId) -> Result<Option<Life>, ReadError> {
    let mut life = Life::new(stream.clone());
    if stream.category != StreamId::ENTITY {
        return Ok(None);
    }
    loop {
        let page = source.lives((&stream.id, life.version), Some(&stream.id), PAGE).await?;
        for row in &page {
            let Ok(event) = row else { return Ok(None) };
            if life.take(event).is_err() {
                return Ok(None);
            }
        }
        if page.len() < PAGE {
            return Ok(Some(life));
        }
    }
}
