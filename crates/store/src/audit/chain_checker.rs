//! Verifies the hash chains of all streams in one pass over the log, in commit order.

use std::collections::HashMap;

use stateward_domain::access::AccessEvent;
use stateward_domain::audit::{Checkpoint, Fault, FaultKind};
use stateward_domain::backend::BackendEvent;
use stateward_domain::entity::claims::{Claim, ClaimKey, of_request};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::system::SystemEvent;
use stateward_domain::time::Timestamp;

use super::entity_replay::ClaimRecord;
use super::faults::Faults;
use super::running_digest::RunningDigest;
use super::{Identity, RawRow, Unreadable};
use crate::hash::{self, Hash};

/// Searches for the original stream of an event, at most; each costs as much as hashing the event for thousands of
/// streams.
const ORIGIN_SEARCHES_MAX: u32 = 100;
/// Candidate streams that are tried in one search.
const ORIGIN_CANDIDATES_MAX: usize = 50_000;

/// The newest event of a stream so far, the predecessor of the next one. An event with a fault becomes the head too,
/// so that one fault is not reported once per later event.
#[derive(Clone, Copy)]
struct ChainHead {
    version: Version,
    /// `None` = it could not be read, so the next hash cannot be verified.
    hash: Option<Hash>,
    recorded_at: Timestamp,
}

impl ChainHead {
    /// Of a stream without events.
    const NONE: Self =
        Self { version: Version(0), hash: Some(hash::GENESIS), recorded_at: Timestamp(i64::MIN) };
}

/// Consumes every row in the order of positions. Memory grows with the number of streams, not of events.
pub struct ChainChecker {
    identity: Identity,
    against: Option<Checkpoint>,
    heads: HashMap<StreamId, ChainHead>,
    last: Position,
    digest: RunningDigest,
    faults: Faults,
    origin_searches: u32,
    newest: Timestamp,
    requests: HashMap<ClaimKey, (StreamId, ClaimRecord)>,
}

/// Result of the pass.
pub struct Chains {
    /// Faults that were found.
    pub faults: Faults,
    /// Number of streams.
    pub streams: u64,
    /// The log's checkpoint.
    pub checkpoint: Checkpoint,
    /// When the newest event was recorded.
    pub(super) newest: Timestamp,
    /// Idempotency claims of control streams: the last of each key.
    pub(super) requests: HashMap<ClaimKey, (StreamId, ClaimRecord)>,
}

impl ChainChecker {
    /// A checker before the first row. `against` = the checkpoint that the log has to continue.
    #[must_use]
    pub fn new(identity: Identity, against: Option<Checkpoint>) -> Self {
        let mut faults = Faults::default();
        let ours = |checkpoint: &Checkpoint| checkpoint.log_id == identity.log_id;
        if let Some(other) = against.as_ref().filter(|checkpoint| !ours(checkpoint)) {
            let detail =
                format!("the checkpoint is of log {}, this is {}", other.log_id, identity.log_id);
            faults.general(FaultKind::Checkpoint, detail);
        }
        Self {
            against: against.filter(ours),
            heads: HashMap::new(),
            last: Position::START,
            digest: RunningDigest::new(identity.log_id),
            faults,
            origin_searches: 0,
            newest: Timestamp::default(),
            requests: HashMap::new(),
            identity,
        }
    }

    /// Verifies the next row by position.
    pub fn take(&mut self, row: &RawRow) {
        match row {
            Ok(event) => self.readable(event),
            Err(row) => self.unreadable(row),
        }
        let reached =
            self.against.as_ref().filter(|checkpoint| checkpoint.count == self.digest.count());
        if reached.is_some_and(|checkpoint| checkpoint.digest != self.digest.digest()) {
            let detail = format!(
                "the first {} events are not those of the checkpoint: some were rewritten, removed or moved",
                self.digest.count()
            );
            self.faults.general(FaultKind::Checkpoint, detail);
        }
    }

    /// The hash that the next event of `stream` has to chain to; `None` when the predecessor cannot be read.
    #[must_use]
    pub fn follows(&self, stream: &StreamId) -> Option<Hash> {
        self.head(stream).hash
    }

    /// Faults so far.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Adds a fault that was found elsewhere.
    pub fn add(&mut self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Ends the pass: compares the number of events with the checkpoint.
    #[must_use]
    pub fn finish(mut self, now: Timestamp) -> Chains {
        let count = self.digest.count();
        if let Some(checkpoint) =
            self.against.as_ref().filter(|checkpoint| checkpoint.count > count)
        {
            let detail = format!(
                "the log has {count} events, the checkpoint {}: it was cut",
                checkpoint.count
            );
            self.faults.general(FaultKind::Checkpoint, detail);
        }
        let checkpoint = Checkpoint {
            log_id: self.identity.log_id,
            position: self.last,
            count,
            digest: self.digest.digest(),
            taken_at: now,
        };
        Chains {
            faults: self.faults,
            streams: self.heads.len() as u64,
            checkpoint,
            newest: self.newest,
            requests: self.requests,
        }
    }

    fn position(&self, minor: u64) -> Position {
        Position { epoch: self.identity.epoch, major: 0, minor }
    }

    fn head(&self, stream: &StreamId) -> ChainHead {
        self.heads.get(stream).copied().unwrap_or(ChainHead::NONE)
    }

    fn readable(&mut self, event: &Recorded) {
        self.check_position(event.position);
        self.digest.take(&event.hash);
        let head = self.head(&event.stream);
        let next = event.version == head.version.next();
        let fits =
            head.hash.is_none_or(|previous| hash::of_recorded(&previous, event) == event.hash);
        if !(next && fits)
            && let Some(origin) = self.find_origin(event)
        {
            self.record_moved(event, origin);
            return;
        }
        let fault = |kind, detail: String| {
            Fault::new(kind, detail).of(&event.stream).at_version(event.version).at(event.position)
        };
        if !next {
            let detail = format!("it follows version {}", head.version);
            self.faults.add(fault(FaultKind::Version, detail));
        } else if !fits {
            let detail = "the hash is not that of this event after its predecessor";
            self.faults.add(fault(FaultKind::Hash, detail.to_owned()));
        }
        if event.recorded_at <= head.recorded_at {
            let detail = "it was recorded no later than its predecessor".to_owned();
            self.faults.add(fault(FaultKind::Time, detail));
        }
        if let Err(detail) = decodable(event) {
            self.faults.add(fault(FaultKind::Payload, detail));
        }
        self.newest = self.newest.max(event.recorded_at);
        if event.stream.category != StreamId::ENTITY {
            self.request(event);
        }
        self.advance(&event.stream, event);
    }

    /// Collects the claim of a control stream's request. Claims of entities follow from their folds; control streams
    /// take no other claims.
    fn request(&mut self, event: &Recorded) {
        let Some(Claim::Take { key, value, .. }) = of_request(&event.envelope(), 0) else { return };
        self.requests.insert(key, (event.stream.clone(), ClaimRecord::by(event, value)));
    }

    /// The stream that an event was chained to; `None` when that is the one that it is stored in, or cannot be found.
    fn find_origin(&mut self, event: &Recorded) -> Option<StreamId> {
        if self.origin_searches == ORIGIN_SEARCHES_MAX {
            return None;
        }
        self.origin_searches += 1;
        let mut moved = event.clone();
        let mut fits = |stream: &StreamId, head: ChainHead| {
            let Some(previous) = head.hash.filter(|_| head.version.next() == event.version) else {
                return false;
            };
            moved.stream.clone_from(stream);
            hash::of_recorded(&previous, &moved) == event.hash
        };
        let renamed = one_bit_off(&event.stream).find(|stream| fits(stream, self.head(stream)));
        renamed.or_else(|| {
            let known = self.heads.iter().filter(|(_, head)| head.version.next() == event.version);
            let mut known = known.take(ORIGIN_CANDIDATES_MAX);
            known.find(|(stream, head)| fits(stream, **head)).map(|(stream, _)| stream.clone())
        })
    }

    fn record_moved(&mut self, event: &Recorded, origin: StreamId) {
        let detail = format!("the event is stored as one of {}", event.stream);
        let fault = Fault::new(FaultKind::Stream, detail).of(&origin);
        self.faults.add(fault.at_version(event.version).at(event.position));
        self.faults.mark_untrusted(&event.stream);
        self.advance(&origin, event);
    }

    fn unreadable(&mut self, row: &Unreadable) {
        self.check_position(row.position);
        self.digest.take(row.hash.as_ref().map_or(&[], |hash| hash.as_slice()));
        if let Some(event) = &row.nearly
            && let Some(origin) = self.find_origin(event)
        {
            return self.record_moved(event, origin);
        }
        let mut fault = Fault::new(FaultKind::Unreadable, &row.why).at(row.position);
        fault.version = row.version;
        let Some(stream) = &row.stream else { return self.faults.add(fault) };
        self.faults.add(fault.of(stream));
        let head = self.head(stream);
        let version = row.version.unwrap_or_else(|| head.version.next());
        let after = ChainHead { version, hash: row.hash, recorded_at: head.recorded_at };
        self.heads.insert(stream.clone(), after);
    }

    fn check_position(&mut self, position: Position) {
        let last = std::mem::replace(&mut self.last, position);
        if !self.identity.dense {
            if position.partial_cmp(&last) != Some(std::cmp::Ordering::Greater) {
                let detail = "positions do not rise here".to_owned();
                self.faults.add(Fault::new(FaultKind::Position, detail).at(position));
            }
            return;
        }
        let expected = last.minor + 1;
        if position.minor != expected {
            let before = position.minor.saturating_sub(1);
            let detail = match before.cmp(&expected) {
                std::cmp::Ordering::Equal => "the event at this position is missing".to_owned(),
                std::cmp::Ordering::Greater => {
                    format!("the events from here to {} are missing", self.position(before))
                }
                std::cmp::Ordering::Less => "positions do not rise here".to_owned(),
            };
            let fault = Fault::new(FaultKind::Position, detail).at(self.position(expected));
            self.faults.add(fault);
        }
    }

    fn advance(&mut self, stream: &StreamId, event: &Recorded) {
        let head = ChainHead {
            version: event.version,
            hash: Some(event.hash),
            recorded_at: event.recorded_at,
        };
        match self.heads.get_mut(stream) {
            Some(known) => *known = head,
            None => {
                self.heads.insert(stream.clone(), head);
            }
        }
    }
}

/// Every stream name that differs from `stream` in a single bit and is valid UTF-8; where a character could not be
/// read, every ASCII character in its place.
fn one_bit_off(stream: &StreamId) -> impl Iterator<Item = StreamId> {
    let flips = |text: &str| {
        let (bytes, text) = (text.as_bytes().to_vec(), text.to_owned());
        let flipped = (0..bytes.len() * 8).filter_map(move |bit| {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            String::from_utf8(bytes).ok()
        });
        let lost = text.contains(char::REPLACEMENT_CHARACTER);
        let filled = (0..=127).filter(move |_| lost).map(move |byte: u8| {
            text.replacen(char::REPLACEMENT_CHARACTER, &char::from(byte).to_string(), 1)
        });
        flipped.chain(filled)
    };
    let (category, id) = (stream.category.clone(), stream.id.clone());
    let ids = flips(&stream.id).map(move |id| StreamId { category: category.clone(), id });
    ids.chain(flips(&stream.category).map(move |category| StreamId { category, id: id.clone() }))
}

/// Whether this version can decode the event. Payloads of entities are decoded where they are folded.
fn decodable(event: &Recorded) -> Result<(), String> {
    let outcome = match event.stream.category.as_str() {
        StreamId::ENTITY => {
            let id = event.stream.entity_id().map(|id| id.to_string());
            let canonical = id.is_some_and(|id| id == event.stream.id);
            return if canonical { Ok(()) } else { Err("no entity has such an id".to_owned()) };
        }
        StreamId::BACKEND => event.decode::<BackendEvent>(BackendEvent::known).map(drop),
        StreamId::ACCESS => event.decode::<AccessEvent>(AccessEvent::known).map(drop),
        StreamId::SYSTEM => event.decode::<SystemEvent>(SystemEvent::known).map(drop),
        other => return Err(format!("streams of {other} are unknown here")),
    };
    outcome.map_err(|error| error.to_string())
}
