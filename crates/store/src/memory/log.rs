//! A log in memory, for tests and simulation. It can delay visibility, fail, and report an unknown outcome on request.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EventId, LogId, Position, Version};
use stateward_domain::ports::event_store::{
    Append, AppendError, Appended, EventStore, Holder, LogPage, ReadError, page_length,
};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::{LogClock, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

use crate::audit::{ClaimEvent, HeldClaim};
use crate::shared::chain::{self, Admission, ClaimChanges, Outcome, StreamHead};

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
    log_id: LogId,
    clock: LogClock,
    state: Mutex<MemoryState>,
    /// Number of events that readers of the whole log see.
    visible: watch::Sender<usize>,
}

#[derive(Default)]
struct MemoryState {
    events: Vec<Recorded>,
    streams: BTreeMap<StreamId, Vec<usize>>,
    ids: HashMap<EventId, usize>,
    claims: BTreeMap<ClaimKey, (Holder, Timestamp)>,
    faults: VecDeque<InjectedFault>,
    held: bool,
}

impl MemoryLog {
    /// An empty log that takes its times from `clock`.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "names a log; nothing is decided by it")]
    pub fn new(clock: impl Into<LogClock>) -> Self {
        Self {
            log_id: LogId(Uuid::new_v4()),
            clock: clock.into(),
            state: Mutex::default(),
            visible: watch::Sender::new(0),
        }
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

/// What an audit reads.
impl MemoryLog {
    /// Epoch of all positions.
    pub(super) const EPOCH: u32 = 1;

    pub(super) const fn log_id(&self) -> LogId {
        self.log_id
    }

    /// Position of the event with this number; [`Position::START`] for 0.
    pub(super) const fn position(number: u64) -> Position {
        if number == 0 {
            return Position::START;
        }
        Position { epoch: Self::EPOCH, major: 0, minor: number }
    }

    /// Events with numbers behind `after`, up to and including `until`.
    pub(super) fn events(&self, after: u64, until: u64, limit: usize) -> Vec<Recorded> {
        let state = self.state();
        let place = |number| usize::try_from(number).unwrap_or(usize::MAX).min(state.events.len());
        let (from, end) = (place(after), place(until));
        let events = state.events[from.min(end)..end].iter();
        events.take(limit).cloned().collect()
    }

    /// The event before `event` in its stream.
    pub(super) fn event_before(&self, event: &Recorded) -> Option<Recorded> {
        self.state().event(&event.stream, Version(event.version.0.checked_sub(1)?)).cloned()
    }

    /// Events of entities behind `after`, up to and including the stream `until`, by id and version.
    pub(super) fn entity_events(
        &self,
        after: (&str, Version),
        until: Option<&str>,
        limit: usize,
    ) -> Vec<Recorded> {
        let state = self.state();
        let first = StreamId { category: StreamId::ENTITY.to_owned(), id: after.0.to_owned() };
        let last = |id: &str| until.is_none_or(|until| id <= until);
        let streams = state
            .streams
            .range(first..)
            .take_while(|(stream, _)| stream.category == StreamId::ENTITY && last(&stream.id));
        let events = streams.flat_map(|(_, places)| places.iter().map(|at| &state.events[*at]));
        let behind = |event: &&Recorded| (event.stream.id.as_str(), event.version) > after;
        events.filter(behind).take(limit).cloned().collect()
    }

    /// Claims whose keys follow `after`, by key.
    pub(super) fn claims_after(&self, after: &str, limit: usize) -> Vec<HeldClaim> {
        let state = self.state();
        let behind = (Bound::Excluded(ClaimKey(after.to_owned())), Bound::Unbounded);
        let claims = state.claims.range(behind).take(limit);
        claims.map(|(key, held)| state.held_claim(key, held)).collect()
    }

    /// The claim of `key`; `None` = it is not held.
    pub(super) fn claim(&self, key: &ClaimKey) -> Option<HeldClaim> {
        let state = self.state();
        state.claims.get(key).map(|held| state.held_claim(key, held))
    }
}

impl MemoryState {
    fn event(&self, stream: &StreamId, version: Version) -> Option<&Recorded> {
        let place = usize::try_from(version.0).ok()?.checked_sub(1)?;
        self.streams.get(stream)?.get(place).map(|at| &self.events[*at])
    }

    fn held_claim(&self, key: &ClaimKey, (holder, taken_at): &(Holder, Timestamp)) -> HeldClaim {
        let event = self.event(&holder.stream, holder.version).map(|event| ClaimEvent {
            metadata: event.metadata.to_string(),
            recorded_at: event.recorded_at,
            position: event.position,
            next: self
                .event(&holder.stream, holder.version.next())
                .map(|next| next.metadata.to_string()),
        });
        HeldClaim { key: key.clone(), holder: holder.clone(), taken_at: *taken_at, event }
    }

    fn append(&mut self, append: &Append, now: Timestamp) -> Outcome {
        let stream = self.streams.get(&append.stream);
        let last = stream.and_then(|indices| indices.last()).map(|index| &self.events[*index]);
        let before = last.map_or(StreamHead::NONE, StreamHead::of);
        let holder_of = |key: &ClaimKey| self.claims.get(key).map(|(holder, _)| holder);
        match chain::admit(append, before, holder_of) {
            Admission::Moved(conflict) => return self.repeated(append).ok_or(conflict),
            Admission::Refused(refusal) => return Err(refusal),
            Admission::Fits => {}
        }
        if append.events.iter().any(|event| self.ids.contains_key(&event.id)) {
            return Err(StoreError::unavailable("the log has an event of this id").into());
        }
        let mut sealed = Vec::with_capacity(append.events.len());
        let after = chain::seal(append, before, now, &mut sealed);
        for event in &sealed {
            let index = self.events.len();
            self.events.push(event.recorded(position(index + 1)));
            self.ids.insert(event.event.id, index);
            self.streams.entry(append.stream.clone()).or_default().push(index);
        }
        self.change_claims(&ClaimChanges::of([append]), now);
        Ok(Appended { version: after.version, position: position(self.events.len()) })
    }

    /// Result of an append that was written before.
    fn repeated(&self, append: &Append) -> Option<Appended> {
        let index = *self.ids.get(&append.events.last()?.id)?;
        let stored = Some(&self.events[index]).filter(|event| event.stream == append.stream)?;
        Some(Appended { version: stored.version, position: stored.position })
    }

    fn change_claims(&mut self, changes: &ClaimChanges<'_>, now: Timestamp) {
        for (key, stream) in &changes.freed {
            if self.claims.get(*key).is_some_and(|(holder, _)| holder.stream == **stream) {
                self.claims.remove(*key);
            }
        }
        for claim in &changes.taken {
            let stream = claim.stream.clone();
            let holder = Holder { stream, version: claim.version, value: claim.value.to_owned() };
            self.claims.insert(claim.key.clone(), (holder, now));
        }
    }
}

/// Position of the event with this number, from 1.
fn position(number: usize) -> Position {
    Position { epoch: 1, major: 0, minor: number as u64 }
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
                return Err(StoreError::unavailable("on purpose").into());
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
