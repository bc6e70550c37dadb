//! Pure rules of an append: versions, times and hashes of its events, the claims that it changes, and what refuses it.

use std::collections::HashMap;

use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::{NewEvent, Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Append, AppendError, Appended, Holder};
use stateward_domain::time::Timestamp;

use crate::hash::{self, Hash};

/// Result of one append.
pub(crate) type Outcome = Result<Appended, AppendError>;

/// The last event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamHead {
    pub(crate) version: Version,
    pub(crate) hash: Hash,
    pub(crate) recorded_at: Timestamp,
}

impl StreamHead {
    /// Of a stream without events.
    pub(crate) const NONE: Self =
        Self { version: Version(0), hash: hash::GENESIS, recorded_at: Timestamp(i64::MIN) };

    /// Of the stream whose last event is `event`.
    pub(crate) const fn of(event: &Recorded) -> Self {
        Self { version: event.version, hash: event.hash, recorded_at: event.recorded_at }
    }
}

/// Heads of streams that were written recently, in memory. Only for an adapter that is the one writer of its log, or
/// that detects a stale head when it writes.
#[derive(Default)]
pub(crate) struct StreamHeads {
    known: HashMap<StreamId, StreamHead>,
}

impl StreamHeads {
    const MAX: usize = 50_000;

    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }

    /// Forgets all heads when there are too many.
    pub(crate) fn bound(&mut self) {
        if self.known.len() > Self::MAX {
            self.known.clear();
        }
    }

    /// Whether `appends` need no read: each continues from a cached head, or begins a stream.
    pub(crate) fn cover(&self, appends: &[Append]) -> bool {
        appends.iter().all(|append| match self.known.get(&append.stream) {
            Some(head) => head.version == append.expected,
            None => append.expected == Version(0),
        })
    }

    /// Streams of `appends` without a cached head.
    pub(crate) fn unknown<'a>(&self, appends: &'a [Append]) -> Vec<&'a StreamId> {
        let streams = appends.iter().map(|append| &append.stream);
        streams.filter(|stream| !self.known.contains_key(*stream)).collect()
    }

    pub(crate) fn of(&self, stream: &StreamId) -> StreamHead {
        self.known.get(stream).copied().unwrap_or(StreamHead::NONE)
    }

    pub(crate) fn record(&mut self, stream: StreamId, head: StreamHead) {
        self.known.insert(stream, head);
    }
}

/// An event with everything that the log adds but its position, which the adapter assigns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SealedEvent<'a> {
    pub(crate) stream: &'a StreamId,
    pub(crate) version: Version,
    pub(crate) recorded_at: Timestamp,
    pub(crate) hash: Hash,
    pub(crate) event: &'a NewEvent,
}

impl SealedEvent<'_> {
    /// The event as readers get it.
    pub(crate) fn recorded(&self, position: Position) -> Recorded {
        Recorded {
            position,
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

/// Chains the append's events to the stream's head, and adds them to `sealed`; returns the new head. An event's time
/// is `now`, or 1 µs after its predecessor's if that is later.
pub(crate) fn seal<'a>(
    append: &'a Append,
    mut head: StreamHead,
    now: Timestamp,
    sealed: &mut Vec<SealedEvent<'a>>,
) -> StreamHead {
    let stream = &append.stream;
    for event in &append.events {
        let version = head.version.next();
        let recorded_at = now.max(Timestamp(head.recorded_at.0.saturating_add(1)));
        let hash = hash::of_new(&head.hash, stream, version, recorded_at, event);
        sealed.push(SealedEvent { stream, version, recorded_at, hash, event });
        head = StreamHead { version, hash, recorded_at };
    }
    head
}

/// The refusal of a claim that another stream holds; `None` = all claims of the append are free or its own.
pub(crate) fn claim_conflict<'h>(
    append: &Append,
    holder_of: impl Fn(&ClaimKey) -> Option<&'h Holder>,
) -> Option<AppendError> {
    append.claims.iter().find_map(|claim| {
        let (Claim::Take { key, .. } | Claim::Share { key }) = claim else { return None };
        let holder = holder_of(key).filter(|holder| holder.stream != append.stream)?;
        Some(AppendError::ClaimTaken { key: key.clone(), holder: holder.clone() })
    })
}

/// Whether an append is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It fits: write it.
    Fits,
    /// The stream is at another version. The append was written before if its last event is in the stream: then it is
    /// answered as it was the first time. Only here it can be one, because every append moves its stream on.
    Moved(AppendError),
    /// Another stream holds one of its claims.
    Refused(AppendError),
}

/// Compares the append with the head of its stream and the holders of its claims.
pub(crate) fn admit<'h>(
    append: &Append,
    head: StreamHead,
    holder_of: impl Fn(&ClaimKey) -> Option<&'h Holder>,
) -> Admission {
    if head.version != append.expected {
        return Admission::Moved(AppendError::Conflict { actual: head.version });
    }
    claim_conflict(append, holder_of).map_or(Admission::Fits, Admission::Refused)
}

/// A claim that is taken: its key, and the event and value that are stored with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakenClaim<'a> {
    pub(crate) key: &'a ClaimKey,
    pub(crate) stream: &'a StreamId,
    pub(crate) version: Version,
    pub(crate) value: &'a str,
}

/// Changes of claims by accepted appends, whose keys are disjoint: so their order does not matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimChanges<'a> {
    pub(crate) taken: Vec<TakenClaim<'a>>,
    /// Keys that no other stream may hold.
    pub(crate) shared: Vec<(&'a ClaimKey, &'a StreamId)>,
    /// Keys that are freed if the stream holds them.
    pub(crate) freed: Vec<(&'a ClaimKey, &'a StreamId)>,
}

impl<'a> ClaimChanges<'a> {
    pub(crate) fn of(appends: impl IntoIterator<Item = &'a Append>) -> Self {
        let mut changes = Self::default();
        for append in appends {
            let stream = &append.stream;
            for claim in &append.claims {
                match claim {
                    Claim::Take { key, value, event } => {
                        let version = Version(append.expected.0 + *event as u64 + 1);
                        changes.taken.push(TakenClaim { key, stream, version, value });
                    }
                    Claim::Share { key } => changes.shared.push((key, stream)),
                    Claim::Free { key } => changes.freed.push((key, stream)),
                }
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests;
