//! The sync queue in memory: rows, leases and timers under one lock, each found by an ordered index, so that no call
//! costs more than what it changes or answers.
//!
//! - `index`: rows by what they are found by; `stored`: rows as an audit reads them

mod index;
mod stored;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::{Priority, QueueRow};
use stateward_domain::id::{BackendName, EntityId, Position, Version};
use stateward_domain::ports::projection::Quarantined;
use stateward_domain::ports::sync_queue::{
    Dependents, Lease, LeaseReason, LeaseRequest, NextDue, QueueChange, QueueError, Release,
    SeenHints, SyncQueue,
};
use stateward_domain::time::{LogClock, Moment, Timestamp};

use crate::shared::grants::Grants;
use crate::shared::hints::{KnownCheckpoint, WorkHints};
use crate::shared::queue_plan::{GroupedChanges, Wakeup, WokenBy, lease_after};
use index::{Entries, FREE, Key, LeaseRow, StoredRow};

/// Before every steady time.
const START: Timestamp = Timestamp(i64::MIN);
/// Behind every steady time.
const END: Timestamp = Timestamp(i64::MAX);
const PRIORITIES: [Priority; 3] = [Priority::User, Priority::Retry, Priority::Drift];

/// A sync queue with its leases, in memory. It is lost with the process, and is a function of the log, as any queue.
pub struct MemoryQueue {
    clock: LogClock,
    state: Mutex<QueueState>,
    known: KnownCheckpoint,
    hints: WorkHints,
}

#[derive(Default)]
struct QueueState {
    checkpoint: Position,
    entries: Entries,
    /// By stream.
    quarantined: BTreeMap<String, Quarantined>,
    observed_since: HashMap<BackendName, Version>,
    grants: Grants,
}

impl MemoryQueue {
    /// An empty queue. Waits and leases are measured by the steady time of `clock`.
    #[must_use]
    pub fn new(clock: impl Into<LogClock>) -> Self {
        Self {
            clock: clock.into(),
            state: Mutex::default(),
            known: KnownCheckpoint::default(),
            hints: WorkHints::default(),
        }
    }

    /// Ends every lease and snooze at once, as a new process does that proved that no worker runs.
    pub fn release_all(&self) {
        let mut state = self.state();
        for entity in state.entries.ids() {
            state.entries.change(entity, |entry| {
                if let Some(lease) = &mut entry.lease {
                    (lease.worker, lease.until, lease.snooze) = (None, FREE, FREE);
                }
            });
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.moment().steady
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    fn put(&mut self, row: &QueueRow, now: Moment) {
        let stored = StoredRow { row: row.clone(), lease_after: lease_after(row, now) };
        self.entries.change(row.entity, |entry| entry.stored = Some(stored));
    }

    /// Makes the rows that wait due; false when none waits.
    fn wake(&mut self, wakeup: &Wakeup<'_>, now: Timestamp) -> bool {
        let key = match wakeup.by {
            WokenBy::Entity(entity) => Key::WaitsForEntity(entity),
            WokenBy::Name(name) => Key::WaitsForName(name.clone()),
            WokenBy::Backend(backend) => Key::WaitsForBackend(backend.clone()),
        };
        let waiting: Vec<_> = self.entries.at(&key).collect();
        for entity in &waiting {
            self.entries.change(*entity, |entry| {
                let Some(stored) = &mut entry.stored else { return };
                let row = &mut stored.row;
                row.due = row.due.map(|due| due.min(wakeup.at));
                row.position = row.position.furthest(wakeup.position);
                stored.lease_after = stored.lease_after.map(|at| at.min(now));
            });
        }
        !waiting.is_empty()
    }

    /// Ends the leases and snoozes of the backend that are over.
    fn expire(&mut self, backend: &BackendName, now: Timestamp) {
        let held = |start: Key, end: Key| self.entries.range(start, end).map(|(_, entity)| entity);
        let work = held(Key::HeldWork(backend.clone(), START), Key::HeldWork(backend.clone(), now));
        let checks =
            held(Key::HeldCheck(backend.clone(), START), Key::HeldCheck(backend.clone(), now));
        let over: Vec<_> = work.chain(checks).collect();
        for entity in over {
            self.entries.change(entity, |entry| {
                if let Some(lease) = &mut entry.lease {
                    lease.expire(now);
                }
            });
        }
    }

    /// Entities that may be leased: work by priority and age, then checks.
    fn leasable(&self, request: &LeaseRequest, now: Timestamp) -> Vec<EntityId> {
        let backend = || request.backend.clone();
        let mut found = Vec::new();
        for priority in PRIORITIES {
            let priority = priority as u8;
            let (from, to) =
                (Key::Work(backend(), priority, START), Key::Work(backend(), priority, now));
            let left = request.limit - found.len();
            found.extend(self.entries.range(from, to).map(|(_, entity)| entity).take(left));
        }
        let left = (request.limit - found.len()).min(request.checks);
        let (from, to) = (Key::Check(backend(), START), Key::Check(backend(), now));
        found.extend(self.entries.range(from, to).map(|(_, entity)| entity).take(left));
        found
    }

    fn lease(&mut self, entity: EntityId, request: &LeaseRequest, now: Timestamp) -> Option<Lease> {
        self.entries.change(entity, |entry| {
            let stored = entry.stored.as_ref()?;
            let backend = request.backend.clone();
            let lease = entry.lease.get_or_insert_with(|| LeaseRow::new(backend.clone()));
            (lease.backend, lease.worker) = (backend, Some(request.worker.clone()));
            (lease.until, lease.snooze) = (now.after(request.duration), FREE);
            let idle = stored.row.due.is_none();
            let reason = if idle { LeaseReason::Drift } else { LeaseReason::Work };
            let (seen, observed_under) = (stored.row.position, lease.observed_under);
            Some(Lease { entity, reason, seen, observed_under })
        })
    }

    fn release(&mut self, release: &Release, now: Timestamp) {
        self.entries.change(release.entity, |entry| {
            let Some(lease) = &mut entry.lease else { return };
            // Also of a lease that another worker has by now: the observation was made.
            let observed = release.observed_under.unwrap_or_default();
            lease.observed_under = lease.observed_under.max(observed);
            if lease.worker.as_ref() != Some(&release.worker) {
                return;
            }
            (lease.worker, lease.until, lease.seen) = (None, FREE, release.seen);
            lease.snooze = release.snooze.map_or(FREE, |pause| now.after(pause));
            lease.drift_due = release.drift_in.map(|pause| now.after(pause)).or(lease.drift_due);
        });
    }

    /// The earliest time in a range of keys that end in one.
    fn first(&self, from: Key, to: Key) -> Option<Timestamp> {
        let (key, _) = self.entries.range(from, to).next()?;
        key.time()
    }
}

#[async_trait]
impl SyncQueue for MemoryQueue {
    async fn checkpoint(&self) -> Result<Position, QueueError> {
        Ok(self.state().checkpoint)
    }

    async fn advance(
        &self,
        from: Position,
        to: Position,
        changes: &[QueueChange],
    ) -> Result<bool, QueueError> {
        let now = self.clock.moment();
        let mut state = self.state();
        if state.checkpoint != from {
            return Err(QueueError::CheckpointMoved { actual: state.checkpoint });
        }
        state.checkpoint = to;
        let grouped = GroupedChanges::of(changes);
        for row in grouped.puts {
            state.put(row, now);
        }
        for entity in grouped.removed {
            state.entries.change(entity, |entry| entry.stored = None);
        }
        let mut woken = false;
        for wakeup in &grouped.wakeups {
            woken |= state.wake(wakeup, now.steady);
        }
        self.known.set(to);
        self.hints.delivered(changes, woken);
        Ok(woken)
    }

    async fn reset(&self) -> Result<(), QueueError> {
        let mut state = self.state();
        state.entries.delete_rows();
        state.quarantined.clear();
        state.checkpoint = Position::START;
        self.known.set(Position::START);
        Ok(())
    }

    async fn quarantined(&self) -> Result<Vec<Quarantined>, QueueError> {
        Ok(self.state().quarantined.values().cloned().collect())
    }

    async fn quarantine(&self, entry: &Quarantined) -> Result<(), QueueError> {
        self.state().quarantined.insert(entry.stream.clone(), entry.clone());
        Ok(())
    }

    async fn end_quarantine(&self, stream: &str) -> Result<(), QueueError> {
        self.state().quarantined.remove(stream);
        Ok(())
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Lease>, QueueError> {
        let (now, mut state) = (self.now(), self.state());
        state.expire(&request.backend, now);
        let QueueState { grants, entries, .. } = &mut *state;
        let held = |entity: &EntityId| entries.is_leased(*entity, &request.backend, now);
        let request = &grants.allowed(request, held);
        let leasable = state.leasable(request, now);
        let lease = |entity| state.lease(entity, request, now);
        let leases: Vec<_> = leasable.into_iter().filter_map(lease).collect();
        state.grants.add(request, &leases);
        Ok(leases)
    }

    async fn renew(
        &self,
        held: &[(EntityId, String)],
        duration: Duration,
    ) -> Result<Vec<EntityId>, QueueError> {
        let now = self.now();
        let mut state = self.state();
        let mut renew = |(entity, worker): &(EntityId, String)| {
            let renewed = state.entries.change(*entity, |entry| {
                let lease = entry.lease.as_mut()?;
                // An expired lease is not renewed, even if no other worker took it since.
                let theirs = lease.worker.as_ref() == Some(worker) && lease.until > now;
                theirs.then(|| lease.until = now.after(duration))
            });
            renewed.map(|()| *entity)
        };
        Ok(held.iter().filter_map(&mut renew).collect())
    }

    async fn release(&self, releases: &[Release]) -> Result<(), QueueError> {
        let now = self.now();
        let mut state = self.state();
        for release in releases {
            state.release(release, now);
        }
        Ok(())
    }

    async fn observed_since(
        &self,
        backend: &BackendName,
        current: Version,
    ) -> Result<Version, QueueError> {
        Ok(*self.state().observed_since.entry(backend.clone()).or_insert(current))
    }

    async fn void_snoozes(&self, backend: &BackendName) -> Result<(), QueueError> {
        let mut state = self.state();
        let snoozed: Vec<_> = state.entries.at(&Key::Snoozed(backend.clone())).collect();
        for entity in snoozed {
            state.entries.change(entity, |entry| {
                if let Some(lease) = &mut entry.lease {
                    lease.snooze = FREE;
                }
            });
        }
        Ok(())
    }

    async fn forget_late_drift_timers(
        &self,
        backend: &BackendName,
        longest: Duration,
    ) -> Result<u64, QueueError> {
        let latest = self.now().after(longest);
        let mut state = self.state();
        let (from, to) = (Key::Timer(backend.clone(), latest), Key::Timer(backend.clone(), END));
        let late = state.entries.range(from, to).filter(|(key, _)| key.time() > Some(latest));
        let late: Vec<_> = late.map(|(_, entity)| entity).collect();
        for entity in &late {
            state.entries.change(*entity, |entry| {
                if let Some(lease) = &mut entry.lease {
                    lease.drift_due = None;
                }
            });
        }
        Ok(late.len() as u64)
    }

    async fn seed_drift_timers(
        &self,
        backend: &BackendName,
        interval: Duration,
    ) -> Result<u64, QueueError> {
        let now = self.now();
        let mut state = self.state();
        let untimed: Vec<_> = state.entries.at(&Key::Untimed(backend.clone())).collect();
        for entity in &untimed {
            // Spread by the last digits of the ids, which are random already.
            let [.., high, low] = *entity.0.as_bytes();
            let pause = interval * u32::from(u16::from_be_bytes([high, low])) / 0xffff;
            state.entries.change(*entity, |entry| {
                let lease = entry.lease.get_or_insert_with(|| LeaseRow::new(backend.clone()));
                lease.drift_due = Some(now.after(pause));
            });
        }
        let orphans: Vec<_> = state.entries.at(&Key::Orphan(backend.clone())).collect();
        for entity in orphans {
            let ended = |lease: &mut LeaseRow| lease.until <= now;
            state.entries.change(entity, |entry| {
                entry.lease.take_if(ended);
            });
        }
        Ok(untimed.len() as u64)
    }

    async fn next_due(&self, backend: &BackendName, drift: bool) -> Result<NextDue, QueueError> {
        let now = self.now();
        let state = self.state();
        let name = || backend.clone();
        let work = PRIORITIES.map(|priority| {
            let priority = priority as u8;
            state.first(Key::Work(name(), priority, START), Key::Work(name(), priority, END))
        });
        let held = state.first(Key::HeldWork(name(), START), Key::HeldWork(name(), END));
        let checks = [
            state.first(Key::Check(name(), START), Key::Check(name(), END)),
            state.first(Key::HeldCheck(name(), START), Key::HeldCheck(name(), END)),
        ];
        let checks = checks.into_iter().filter(|_| drift);
        let first = work.into_iter().chain([held]).chain(checks).flatten().min();
        Ok(NextDue { within: first.map(|at| at.since(now)) })
    }

    async fn due_elsewhere(&self, backend: &BackendName, seen: SeenHints) -> SeenHints {
        self.hints.beyond(backend, seen).await
    }

    async fn advanced_past(&self, position: Position) {
        self.known.reached(position, async { self.checkpoint().await.ok() }).await;
    }

    async fn row(&self, entity: EntityId) -> Result<Option<QueueRow>, QueueError> {
        let state = self.state();
        let stored = state.entries.get(entity).and_then(|entry| entry.stored.as_ref());
        Ok(stored.map(|stored| stored.row.clone()))
    }

    async fn dependents(
        &self,
        of: &[ClaimKey],
        after: Option<EntityId>,
        limit: usize,
    ) -> Result<Dependents, QueueError> {
        let state = self.state();
        let mut found = BTreeSet::new();
        for name in of {
            found.extend(state.entries.at_after(&Key::DependsOn(name.clone()), after).take(limit));
        }
        let entities = found.into_iter().take(limit).collect();
        Ok(Dependents { entities, as_of: state.checkpoint })
    }

    async fn oldest_due(&self) -> Result<Vec<(BackendName, Duration)>, QueueError> {
        let now = self.now();
        let oldest = self.state().entries.oldest_unblocked();
        Ok(oldest.into_iter().map(|(backend, at)| (backend, now.since(at))).collect())
    }
}
