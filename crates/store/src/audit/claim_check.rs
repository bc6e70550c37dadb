//! What is held against what the events make of it.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::entity::claims::{Claim, ClaimKey, of_request};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::time::Timestamp;

use super::entity_replay::{Life, Taken};
use super::faults::Faults;
use super::{Held, Source};

/// The table, as faults name it.
const TABLE: &str = "claims";
/// Claims read at a time.
const PAGE: usize = 1_000;
/// Claims that are looked at once more, because the log may have moved on between two reads.
const RECHECKED: usize = 1_000;
/// How often each of them is.
const RECHECKS: u32 = 3;
/// Idempotency claims are kept that long at least; older ones may have been forgotten.
const KEPT_MICROS: i64 = 7 * 24 * 3_600 * 1_000_000;

/// A claim that is not as it should be, as far as one look tells.
struct Doubt {
    key: ClaimKey,
    stream: StreamId,
    column: Option<&'static str>,
}

/// What is known of claims so far.
pub(super) struct Claims {
    /// Those that were found to be held as the events say. A digest each: there may be millions.
    right: HashSet<u64>,
    digests: RandomState,
    doubts: Vec<Doubt>,
    /// Those beyond the ones that are looked at again.
    unsettled: Vec<Fault>,
    /// Idempotency claims taken before this may have been forgotten.
    forgotten_before: Timestamp,
    /// Whether there are claims on objects.
    objects: bool,
}

impl Claims {
    /// Nothing is known; `newest` is when the log's newest event was recorded, `objects` whether there are claims on
    /// objects.
    pub(super) fn new(newest: Timestamp, objects: bool) -> Self {
        Self {
            right: HashSet::new(),
            digests: RandomState::new(),
            doubts: Vec::new(),
            unsettled: Vec::new(),
            forgotten_before: Timestamp(newest.0.saturating_sub(KEPT_MICROS)),
            objects,
        }
    }

    /// Whether it has to be held.
    pub(super) fn is_due(&self, key: &ClaimKey, taken: &Taken) -> bool {
        if key.is_on_object() {
            return self.objects;
        }
        !is_idempotency(key) || taken.at >= self.forgotten_before
    }

    /// Looks whether these are held, each by its stream.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(super) async fn look(
        &mut self,
        source: &dyn Source,
        expected: &[(StreamId, ClaimKey, Taken)],
    ) -> Result<(), ReadError> {
        for some in expected.chunks(PAGE) {
            let keys: Vec<&ClaimKey> = some.iter().map(|(_, key, _)| key).collect();
            let held = source.held(&keys).await?;
            let mut lost = Vec::new();
            for (stream, key, taken) in some {
                let found = held.iter().find(|held| held.key == *key);
                match agrees(stream, taken, found) {
                    Ok(()) => self.is_right(key, stream),
                    Err(None) if is_older(found, taken) && key.contenders().is_some() => {
                        lost.push((stream, key, taken));
                    }
                    Err(column) => self.doubt(key, stream, column),
                }
            }
            self.contend(source, &lost).await?;
        }
        Ok(())
    }

    fn is_right(&mut self, key: &ClaimKey, stream: &StreamId) {
        self.right.insert(self.digests.hash_one((key, stream)));
    }

    /// Objects that two entities held before there were claims on them are the older one's; the other one contends for
    /// its object, although no event says so yet.
    async fn contend(
        &mut self,
        source: &dyn Source,
        lost: &[(&StreamId, &ClaimKey, &Taken)],
    ) -> Result<(), ReadError> {
        if lost.is_empty() {
            return Ok(());
        }
        let contender = |(stream, key, _): &(&StreamId, &ClaimKey, &Taken)| {
            ClaimKey(format!("{}{}", key.contenders().unwrap_or_default(), stream.id))
        };
        let contenders: Vec<ClaimKey> = lost.iter().map(contender).collect();
        let held = source.held(&contenders.iter().collect::<Vec<_>>()).await?;
        for ((stream, key, taken), contender) in lost.iter().zip(&contenders) {
            let found = held.iter().find(|held| held.key == *contender);
            match agrees(stream, taken, found) {
                Ok(()) => self.is_right(contender, stream),
                Err(_) => self.doubt(key, stream, None),
            }
        }
        Ok(())
    }

    fn doubt(&mut self, key: &ClaimKey, stream: &StreamId, column: Option<&'static str>) {
        let (key, stream) = (key.clone(), stream.clone());
        let doubt = Doubt { key, stream, column };
        if self.doubts.len() < RECHECKED {
            self.doubts.push(doubt);
        } else if self.unsettled.len() < RECHECKED {
            self.unsettled.push(fault(&doubt, "it is not held as the events say"));
        }
    }

    /// Looks at everything that is held, and once more at what is in doubt.
    ///
    /// # Errors
    /// When the source does not answer.
    pub(super) async fn end(
        mut self,
        source: &dyn Source,
        faults: &mut Faults,
    ) -> Result<(), ReadError> {
        let mut after = String::new();
        // Told at the end: one claim's fault must not hide another's of the same stream.
        let mut wrong = Vec::new();
        loop {
            let page = source.claims(&after, PAGE).await?;
            // A key that is no text any more is read as another one, and must not be read for ever.
            let last = page.last().map(|claim| claim.key.0.clone()).unwrap_or_default();
            let ends = page.len() < PAGE || last <= after;
            after = last;
            for claim in page {
                let stream = &claim.holder.stream;
                let right = self.right.contains(&self.digests.hash_one((&claim.key, stream)));
                if right || faults.concern(&stream.to_string()) {
                } else if is_idempotency(&claim.key) {
                    wrong.extend(idempotency(&claim));
                } else {
                    self.doubt(&claim.key, stream, None);
                }
            }
            if ends {
                break;
            }
        }
        wrong.append(&mut self.unsettled);
        for doubt in self.doubts {
            if !faults.concern(&doubt.stream.to_string()) {
                wrong.extend(settled(source, doubt).await?);
            }
        }
        for fault in wrong {
            faults.add(fault);
        }
        Ok(())
    }
}

/// Of the claims that control streams took, those that have to be held.
pub(super) fn of_requests(
    claims: &Claims,
    requests: HashMap<ClaimKey, (StreamId, Taken)>,
    faults: &Faults,
) -> Vec<(StreamId, ClaimKey, Taken)> {
    let held = requests.into_iter().map(|(key, (stream, taken))| (stream, key, taken));
    let sound = held.filter(|(stream, ..)| !faults.concern(&stream.to_string()));
    sound.filter(|(_, key, taken)| claims.is_due(key, taken)).collect()
}

fn is_idempotency(key: &ClaimKey) -> bool {
    key.0.starts_with(ClaimKey::IDEMPOTENCY)
}

/// Whether a claim that `stream` took is held so.
///
/// # Errors
/// The column that says otherwise; `None` = it is not held by that stream.
fn agrees(
    stream: &StreamId,
    taken: &Taken,
    held: Option<&Held>,
) -> Result<(), Option<&'static str>> {
    let Some(held) = held.filter(|held| held.holder.stream == *stream) else { return Err(None) };
    let version = held.holder.version;
    if held.holder.value != taken.value {
        Err(Some("value"))
    } else if version < taken.version || version > taken.until {
        Err(Some("sequence"))
    } else if held.taken_at < taken.since || held.taken_at > taken.at {
        Err(Some("taken_at"))
    } else {
        Ok(())
    }
}

/// Whether somebody took the claim before it was `taken`.
fn is_older(held: Option<&Held>, taken: &Taken) -> bool {
    let event = held.and_then(|held| held.event.as_ref());
    event.is_some_and(|event| event.position < taken.position)
}

fn fault(doubt: &Doubt, what: &str) -> Fault {
    let Doubt { key, stream, column } = doubt;
    let place = column.map_or_else(|| TABLE.to_owned(), |column| format!("{TABLE}.{column}"));
    let detail = format!("{place} of {key}: {what}");
    Fault::new(FaultKind::Claim, detail).of(stream).in_table(TABLE, &key.0, *column)
}

/// Idempotency claims may be forgotten; those that are held have to be those of an event.
fn idempotency(claim: &Held) -> Option<Fault> {
    let (key, holder) = (claim.key.clone(), &claim.holder);
    let wrong = |column, what: &str| {
        let doubt = Doubt { key: claim.key.clone(), stream: holder.stream.clone(), column };
        Some(fault(&doubt, what).at_version(holder.version))
    };
    let Some(event) = &claim.event else { return wrong(None, "the log has no such event") };
    let request = |metadata: &str| of_request(&Envelope::from_json(metadata), 0);
    let taken = Claim::Take { key, value: holder.value.clone(), event: 0 };
    if request(&event.metadata).as_ref() != Some(&taken) {
        return wrong(None, "the event was asked for under another key");
    }
    if event.next.as_deref().and_then(request).as_ref() == Some(&taken) {
        return wrong(Some("sequence"), "it is not of the last event that was asked for under it");
    }
    if claim.taken_at > event.recorded_at {
        return wrong(Some("taken_at"), "it was taken after its event was recorded");
    }
    None
}

/// What is wrong with a claim once the log and the claim are read at the same time; `None` = nothing.
async fn settled(source: &dyn Source, doubt: Doubt) -> Result<Option<Fault>, ReadError> {
    let mut said = (doubt.column, "nobody".to_owned());
    for _ in 0..RECHECKS {
        let held = source.held(&[&doubt.key]).await?.pop();
        let holder = |held: &Held| held.holder.stream.to_string();
        said.1 = held.as_ref().map_or_else(|| "nobody".to_owned(), holder);
        // A control stream is not folded: what it took was read a moment ago.
        let Some(life) = fold(source, &doubt.stream).await? else { break };
        let held = held.filter(|held| held.holder.stream == doubt.stream);
        match (life.held.get(&doubt.key), held) {
            (None, None) => return Ok(None),
            (None, Some(_)) => said.0 = None,
            (Some(taken), held) => match agrees(&doubt.stream, taken, held.as_ref()) {
                Ok(()) => return Ok(None),
                Err(column) => said.0 = column,
            },
        }
    }
    let doubt = Doubt { column: said.0, ..doubt };
    Ok(Some(match doubt.column {
        Some(_) => fault(&doubt, "it is not what the events say"),
        None => {
            fault(&doubt, &format!("it is held by {}, which is not what the events say", said.1))
        }
    }))
}

/// The fold of one stream; `None` = it cannot be folded.
async fn fold(source: &dyn Source, stream: &StreamId) -> Result<Option<Life>, ReadError> {
    let mut life = Life::new(stream.clone());
    if stream.category != StreamId::ENTITY {
        return Ok(None);
    }
    loop {
        let page = source.lives((&stream.id, life.version()), Some(&stream.id), PAGE).await?;
        for row in &page {
            let Ok(event) = row else { return Ok(None) };
            if life.take(event).is_err() {
                return Ok(None);
            }
        }
        if page.is_empty() {
            return Ok(Some(life));
        }
    }
}
