//! A log in memory, for tests and simulation. It keeps every promise of the port but durability; it can delay
//! visibility, fail, and report an unknown outcome on request.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EventId, Position, Version};
use stateward_domain::ports::event_store::{
    Append, AppendError, Appended, EventStore, Holder, LogPage, ReadError, page_length,
};
use stateward_domain::time::{LogClock, Timestamp};
use tokio::sync::watch;

use crate::hash;

/// A failure of the next append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedFault {
    /// Write nothing; report that.
    Unavailable,
    /// Write everything; report an unknown outcome.
    UnknownWritten,
    /// Write nothing; report an unknown outcome.
    UnknownLost,
}

/// An event log in memory. See the module.
pub struct MemoryLog {
    clock: LogClock,
    state: Mutex<MemoryState>,
    /// Number of events that readers of the whole log see.
    visible: watch::Sender<usize>,
}

#[derive(Default)]
struct MemoryState {
    events: Vec<Recorded>,
    streams: HashMap<StreamId, Vec<usize>>,
    ids: HashMap<EventId, usize>,
    claims: BTreeMap<ClaimKey, (Holder, Timestamp)>,
    faults: VecDeque<InjectedFault>,
    held: bool,
}

impl MemoryLog {
    /// An empty log that takes its times from `clock`.
    #[must_use]
    pub fn new(clock: impl Into<LogClock>) -> Self {
        Self { clock: clock.into(), state: Mutex::default(), visible: watch::Sender::new(0) }
    }

    /// Injects `faults` into the next appends, one each, in order.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = InjectedFault>) {
        self.state().faults.extend(faults);
    }

    /// While `held`, `read_log` and `head` do not show events appended since.
    pub fn hold_visibility(&self, held: bool) {
        let mut state = self.state();
        state.held = held;
        if !held {
            let count = state.events.len();
            self.visible.send_replace(count);
        }
    }

    fn state(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryState {
    fn append(&mut self, append: &Append, now: Timestamp) -> Result<Appended, AppendError> {
        if let Some(index) = append.events.last().and_then(|event| self.ids.get(&event.id)) {
            let recorded = &self.events[*index];
            return Ok(Appended { version: recorded.version, position: recorded.position });
        }
        let stream = self.streams.get(&append.stream);
        let actual = Version(stream.map_or(0, Vec::len) as u64);
        if actual != append.expected {
            return Err(AppendError::Conflict { actual });
        }
        for claim in &append.claims {
            if let Claim::Take { key, .. } | Claim::Share { key } = claim
                && let Some((holder, _)) = self.claims.get(key)
                && holder.stream != append.stream
            {
                return Err(AppendError::ClaimTaken { key: key.clone(), holder: holder.clone() });
            }
        }
        let last = stream.and_then(|indices| indices.last()).map(|index| &self.events[*index]);
        let mut previous = last.map_or(hash::GENESIS, |event| event.hash);
        let mut version = actual;
        let mut recorded_at = now.max(last.map_or(now, |event| Timestamp(event.recorded_at.0 + 1)));
        for event in &append.events {
            version = version.next();
            previous = hash::of_new(&previous, &append.stream, version, recorded_at, event);
            let index = self.events.len();
            self.events.push(Recorded {
                position: Position { epoch: 1, major: 0, minor: index as u64 + 1 },
                stream: append.stream.clone(),
                version,
                id: event.id,
                event_type: event.event_type.clone(),
                schema_version: event.schema_version,
                recorded_at,
                payload: event.payload.clone(),
                metadata: event.metadata.clone(),
                hash: previous,
            });
            self.ids.insert(event.id, index);
            self.streams.entry(append.stream.clone()).or_default().push(index);
            recorded_at = Timestamp(recorded_at.0 + 1);
        }
        self.claim(append, actual, now);
        let position = Position { epoch: 1, major: 0, minor: self.events.len() as u64 };
        Ok(Appended { version, position })
    }

    fn claim(&mut self, append: &Append, before: Version, now: Timestamp) {
        for claim in &append.claims {
            match claim {
                Claim::Take { key, value, event } => {
                    let version = Version(before.0 + *event as u64 + 1);
                    let (stream, value) = (append.stream.clone(), value.clone());
                    self.claims.insert(key.clone(), (Holder { stream, version, value }, now));
                }
                Claim::Share { .. } => {}
                Claim::Free { key } => {
                    if self.claims.get(key).is_some_and(|(h, _)| h.stream == append.stream) {
                        self.claims.remove(key);
                    }
                }
            }
        }
    }
}

fn page<'a>(events: impl Iterator<Item = &'a Recorded> + Clone) -> Vec<Recorded> {
    let length = page_length(events.clone().map(Recorded::size));
    events.take(length).cloned().collect()
}

#[async_trait]
impl EventStore for MemoryLog {
    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let now = self.clock.moment().log;
        let mut state = self.state();
        let fault = state.faults.pop_front();
        match fault {
            Some(InjectedFault::Unavailable) => {
                return Err(AppendError::Unavailable("on purpose".to_owned()));
            }
            Some(InjectedFault::UnknownLost) => return Err(AppendError::OutcomeUnknown),
            Some(InjectedFault::UnknownWritten) | None => {}
        }
        let outcome = state.append(&append, now);
        if !state.held {
            self.visible.send_replace(state.events.len());
        }
        if fault.is_some() { Err(AppendError::OutcomeUnknown) } else { outcome }
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError> {
        let state = self.state();
        let indices = state.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let from = usize::try_from(after.0).unwrap_or(usize::MAX).min(indices.len());
        let events = indices[from..].iter().map(|index| &state.events[*index]).take(limit);
        Ok(page(events))
    }

    async fn head_of(&self, stream: &StreamId) -> Result<Version, ReadError> {
        Ok(Version(self.state().streams.get(stream).map_or(0, Vec::len) as u64))
    }

    async fn read_log(&self, after: Position, limit: usize) -> Result<LogPage, ReadError> {
        let head = self.head().await?;
        if after != Position::START && (after.epoch != 1 || after > head) {
            return Err(ReadError::PositionGone { head });
        }
        let state = self.state();
        let end = usize::try_from(head.minor).unwrap_or(usize::MAX);
        let from = usize::try_from(after.minor).unwrap_or(usize::MAX).min(end);
        Ok(LogPage::of(after, page(state.events[from..end].iter().take(limit))))
    }

    async fn head(&self) -> Result<Position, ReadError> {
        let visible = *self.visible.borrow() as u64;
        let head = Position { epoch: 1, major: 0, minor: visible };
        Ok(if visible == 0 { Position::START } else { head })
    }

    async fn changed_after(&self, position: Position) {
        let mut visible = self.visible.subscribe();
        // The sender lives as long as the log does; an error cannot happen.
        let _ = visible.wait_for(|count| *count as u64 > position.minor).await;
    }

    async fn holder(&self, key: &ClaimKey) -> Result<Option<Holder>, ReadError> {
        Ok(self.state().claims.get(key).map(|(holder, _)| holder.clone()))
    }

    async fn held_under(
        &self,
        prefix: &str,
        after: &ClaimKey,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, StreamId)>, ReadError> {
        let state = self.state();
        let held = state.claims.range(ClaimKey(prefix.to_owned())..);
        let held = held.take_while(|(key, _)| key.0.starts_with(prefix));
        let behind = held.filter(|(key, _)| *key > after).take(limit);
        Ok(behind.map(|(key, (holder, _))| (key.clone(), holder.stream.clone())).collect())
    }

    async fn forget_claims_older_than(&self, age: Duration) -> Result<u64, ReadError> {
        let now = self.clock.moment().steady;
        let mut state = self.state();
        let before = state.claims.len();
        state.claims.retain(|key, (_, taken_at)| {
            !key.0.starts_with(ClaimKey::IDEMPOTENCY) || now.since(*taken_at) <= age
        });
        Ok((before - state.claims.len()) as u64)
    }
}
