//! Compares the stored claims with those that follow from the events.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::entity::claims::{Claim, ClaimKey, of_request};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::time::Timestamp;

use super::entity_replay::{ClaimRecord, EntityReplay};
use super::faults::Faults;
use super::{AuditSource, HeldClaim};

/// Name of the table in faults.
const TABLE: &str = "claims";
/// Claims read at a time.
const PAGE: usize = 1_000;
/// Suspect claims that are read again, at most: the log may have moved on between two reads.
const RECHECKED: usize = 1_000;
/// Reads of each suspect claim.
const RECHECKS: u32 = 3;
/// Idempotency claims are kept at least this long; older ones may have been deleted.
const KEPT_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;

/// A claim that differed from the expected one when it was read first.
struct SuspectClaim {
    key: ClaimKey,
    stream: StreamId,
    column: Option<&'static str>,
}

/// State of the comparison.
pub(super) struct ClaimCheck {
    /// Claims that are held as expected, a digest each: there may be millions.
    confirmed: HashSet<u64>,
    digests: RandomState,
    suspects: Vec<SuspectClaim>,
    /// Faults of suspects beyond [`RECHECKED`].
    overflow: Vec<Fault>,
    /// Idempotency claims taken before this time may have been deleted.
    forgotten_before: Timestamp,
    /// Whether the log has claims on objects.
    objects: bool,
}

impl ClaimCheck {
    /// A comparison before the first claim. `newest` = when the log's newest event was recorded; `objects` = whether
    /// the log has claims on objects.
    pub(super) fn new(newest: Timestamp, objects: bool) -> Self {
        Self {
            confirmed: HashSet::new(),
            digests: RandomState::new(),
            suspects: Vec::new(),
            overflow: Vec::new(),
            forgotten_before: Timestamp(newest.0.saturating_sub(KEPT_MICROS)),
            objects,
        }
    }

    /// Whether the claim has to be in the table.
    pub(super) fn is_due(&self, key: &ClaimKey, record: &ClaimRecord) -> bool {
        if key.is_on_object() {
            return self.objects;
        }
        !is_idempotency(key) || record.at >= self.forgotten_before
    }

    /// Compares the `expected` claims, each with its stream, with those that are held.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(super) async fn check(
        &mut self,
        source: &dyn AuditSource,
        expected: &[(StreamId, ClaimKey, ClaimRecord)],
    ) -> Result<(), ReadError> {
        for some in expected.chunks(PAGE) {
            let keys: Vec<&ClaimKey> = some.iter().map(|(_, key, _)| key).collect();
            let held = source.claims_of(&keys).await?;
            let mut lost = Vec::new();
            for (stream, key, record) in some {
                let found = held.iter().find(|held| held.key == *key);
                match compare(stream, record, found) {
                    Ok(()) => self.confirm(key, stream),
                    Err(None) if is_older(found, record) && key.contenders().is_some() => {
                        lost.push((stream, key, record));
                    }
                    Err(column) => self.suspect(key, stream, column),
                }
            }
            self.check_contenders(source, &lost).await?;
        }
        Ok(())
    }

    fn confirm(&mut self, key: &ClaimKey, stream: &StreamId) {
        self.confirmed.insert(self.digests.hash_one((key, stream)));
    }

    /// Two entities could hold one object before there were claims on objects. The older entity keeps the claim; the
    /// other one is a contender, although no event says so yet.
    async fn check_contenders(
        &mut self,
        source: &dyn AuditSource,
        lost: &[(&StreamId, &ClaimKey, &ClaimRecord)],
    ) -> Result<(), ReadError> {
        if lost.is_empty() {
            return Ok(());
        }
        let contender = |(stream, key, _): &(&StreamId, &ClaimKey, &ClaimRecord)| {
            ClaimKey(format!("{}{}", key.contenders().unwrap_or_default(), stream.id))
        };
        let contenders: Vec<ClaimKey> = lost.iter().map(contender).collect();
        let held = source.claims_of(&contenders.iter().collect::<Vec<_>>()).await?;
        for ((stream, key, record), contender) in lost.iter().zip(&contenders) {
            let found = held.iter().find(|held| held.key == *contender);
            match compare(stream, record, found) {
                Ok(()) => self.confirm(contender, stream),
                Err(_) => self.suspect(key, stream, None),
            }
        }
        Ok(())
    }

    fn suspect(&mut self, key: &ClaimKey, stream: &StreamId, column: Option<&'static str>) {
        let (key, stream) = (key.clone(), stream.clone());
        let suspect = SuspectClaim { key, stream, column };
        if self.suspects.len() < RECHECKED {
            self.suspects.push(suspect);
        } else if self.overflow.len() < RECHECKED {
            self.overflow.push(fault(&suspect, "it is not held as the events say"));
        }
    }

    /// Reads all stored claims for ones that were not expected, then re-reads the suspects.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(super) async fn finish(
        mut self,
        source: &dyn AuditSource,
        faults: &mut Faults,
    ) -> Result<(), ReadError> {
        let mut after = String::new();
        // Added at the end: the fault of one claim must not suppress another one of the same stream.
        let mut wrong = Vec::new();
        loop {
            let page = source.claims(&after, PAGE).await?;
            // A key that is invalid UTF-8 is read as another key; the order check keeps it from being read for ever.
            let last = page.last().map(|claim| claim.key.0.clone()).unwrap_or_default();
            let ends = page.len() < PAGE || last <= after;
            after = last;
            for claim in page {
                let stream = &claim.holder.stream;
                let right = self.confirmed.contains(&self.digests.hash_one((&claim.key, stream)));
                if right || faults.affects(&stream.to_string()) {
                } else if is_idempotency(&claim.key) {
                    wrong.extend(idempotency(&claim));
                } else {
                    self.suspect(&claim.key, stream, None);
                }
            }
            if ends {
                break;
            }
        }
        wrong.append(&mut self.overflow);
        for suspect in self.suspects {
            if !faults.affects(&suspect.stream.to_string()) {
                wrong.extend(recheck(source, suspect).await?);
            }
        }
        for fault in wrong {
            faults.add(fault);
        }
        Ok(())
    }
}

/// Claims of control streams that have to be held.
pub(super) fn of_requests(
    claims: &ClaimCheck,
    requests: HashMap<ClaimKey, (StreamId, ClaimRecord)>,
    faults: &Faults,
) -> Vec<(StreamId, ClaimKey, ClaimRecord)> {
    let held = requests.into_iter().map(|(key, (stream, record))| (stream, key, record));
    let sound = held.filter(|(stream, ..)| !faults.affects(&stream.to_string()));
    sound.filter(|(_, key, record)| claims.is_due(key, record)).collect()
}

fn is_idempotency(key: &ClaimKey) -> bool {
    key.0.starts_with(ClaimKey::IDEMPOTENCY)
}

/// Compares a held claim with the expected one of `stream`.
///
/// # Errors
/// The column that differs; `None` = the stream does not hold the claim.
fn compare(
    stream: &StreamId,
    record: &ClaimRecord,
    held: Option<&HeldClaim>,
) -> Result<(), Option<&'static str>> {
    let Some(held) = held.filter(|held| held.holder.stream == *stream) else { return Err(None) };
    let version = held.holder.version;
    if held.holder.value != record.value {
        Err(Some("value"))
    } else if version < record.version || version > record.until {
        Err(Some("sequence"))
    } else if held.taken_at < record.since || held.taken_at > record.at {
        Err(Some("taken_at"))
    } else {
        Ok(())
    }
}

/// Whether the claim is held by an event older than `record`.
fn is_older(held: Option<&HeldClaim>, record: &ClaimRecord) -> bool {
    let event = held.and_then(|held| held.event.as_ref());
    event.is_some_and(|event| event.position < record.position)
}

fn fault(suspect: &SuspectClaim, what: &str) -> Fault {
    let SuspectClaim { key, stream, column } = suspect;
    let place = column.map_or_else(|| TABLE.to_owned(), |column| format!("{TABLE}.{column}"));
    let detail = format!("{place} of {key}: {what}");
    Fault::new(FaultKind::Claim, detail).of(stream).in_table(TABLE, &key.0, *column)
}

/// Verifies a held idempotency claim against its event. An expected one that is missing is no fault: it may have been
/// deleted.
fn idempotency(claim: &HeldClaim) -> Option<Fault> {
    let (key, holder) = (claim.key.clone(), &claim.holder);
    let wrong = |column, what: &str| {
        let suspect =
            SuspectClaim { key: claim.key.clone(), stream: holder.stream.clone(), column };
        Some(fault(&suspect, what).at_version(holder.version))
    };
    let Some(event) = &claim.event else { return wrong(None, "the log has no such event") };
    let request = |metadata: &str| of_request(&Envelope::from_json(metadata), 0);
    let record = Claim::Take { key, value: holder.value.clone(), event: 0 };
    if request(&event.metadata).as_ref() != Some(&record) {
        return wrong(None, "the event was asked for under another key");
    }
    if event.next.as_deref().and_then(request).as_ref() == Some(&record) {
        return wrong(Some("sequence"), "it is not of the last event that was asked for under it");
    }
    if claim.taken_at > event.recorded_at {
        return wrong(Some("taken_at"), "it was taken after its event was recorded");
    }
    None
}

/// The fault of a suspect, read once more together with its stream; `None` = it is sound.
async fn recheck(
    source: &dyn AuditSource,
    suspect: SuspectClaim,
) -> Result<Option<Fault>, ReadError> {
    let mut found = (suspect.column, "nobody".to_owned());
    for _ in 0..RECHECKS {
        let held = source.claims_of(&[&suspect.key]).await?.pop();
        let holder = |held: &HeldClaim| held.holder.stream.to_string();
        found.1 = held.as_ref().map_or_else(|| "nobody".to_owned(), holder);
        // A control stream is not folded: its claims were read a moment ago.
        let Some(replay) = fold(source, &suspect.stream).await? else { break };
        let held = held.filter(|held| held.holder.stream == suspect.stream);
        match (replay.held.get(&suspect.key), held) {
            (None, None) => return Ok(None),
            (None, Some(_)) => found.0 = None,
            (Some(record), held) => match compare(&suspect.stream, record, held.as_ref()) {
                Ok(()) => return Ok(None),
                Err(column) => found.0 = column,
            },
        }
    }
    let suspect = SuspectClaim { column: found.0, ..suspect };
    Ok(Some(match suspect.column {
        Some(_) => fault(&suspect, "it is not what the events say"),
        None => {
            fault(&suspect, &format!("it is held by {}, which is not what the events say", found.1))
        }
    }))
}

/// Folds one stream; `None` = it is not an entity's, or cannot be folded.
async fn fold(
    source: &dyn AuditSource,
    stream: &StreamId,
) -> Result<Option<EntityReplay>, ReadError> {
    let mut replay = EntityReplay::new(stream.clone());
    if stream.category != StreamId::ENTITY {
        return Ok(None);
    }
    loop {
        let page =
            source.entity_events((&stream.id, replay.version()), Some(&stream.id), PAGE).await?;
        for row in &page {
            let Ok(event) = row else { return Ok(None) };
            if replay.take(event).is_err() {
                return Ok(None);
            }
        }
        if page.is_empty() {
            return Ok(Some(replay));
        }
    }
}
