//! The durable queue of entities with work, and the leases on them.
//!
//! Times in rows are log time. Waits and leases are measured by the steady clock, so that setting the wall clock
//! neither delays work nor ends a lease.
//!
//! Invariant: rows are written by the executor alone and are a function of the log; delete them, replay, and the same
//! work is due. Leases are written by workers alone and may be lost; lost drift timers restart, spread out. Neither
//! writes the other's table, so no race can lose work.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::entity::claims::ClaimKey;
use crate::entity::next_work::QueueRow;
use crate::id::{BackendName, EntityId, Position, Version};
use crate::ports::projection::Quarantined;
use crate::ports::store_error::StoreError;
use crate::time::Timestamp;

/// The dependents of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependents {
    /// Their ids, in order.
    pub entities: Vec<EntityId>,
    /// The last event that the list takes into account.
    pub as_of: Position,
}

/// A change of the queue, derived from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// Insert or replace the row.
    Put(QueueRow),
    /// Delete the row: the entity needs nothing any more.
    Remove(EntityId),
    /// Rows that wait for this entity become due at `at`.
    Wake {
        /// The entity that changed.
        waited_for: EntityId,
        /// The new due time.
        at: Timestamp,
        /// The event that wakes them.
        position: Position,
    },
    /// Rows that wait for an entity of this name become due at `at`.
    WakeNamed {
        /// The name of the entity that changed.
        name: ClaimKey,
        /// The new due time.
        at: Timestamp,
        /// The event that wakes them.
        position: Position,
    },
    /// Rows that wait for this backend become due at `at`.
    WakeBackend {
        /// The backend that recovered, or was reconfigured.
        backend: BackendName,
        /// The new due time.
        at: Timestamp,
        /// The event that wakes them.
        position: Position,
    },
}

/// Why an entity was leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseReason {
    /// Its row is due.
    Work,
    /// Its drift timer ended.
    Drift,
}

/// A worker's right to act on one entity, until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The entity.
    pub entity: EntityId,
    /// What it was leased for.
    pub reason: LeaseReason,
    /// Position of the queue row at the lease.
    pub seen: Position,
    /// Version of the backend's stream with the newest confirmation by a person before the entity was last observed;
    /// 0 = none, or the row was lost.
    pub observed_under: Version,
}

/// The concurrency of a backend, which holds for all processes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Leases that all processes together may hold.
    pub leases: usize,
    /// Drift checks among them, at most.
    pub checks: usize,
    /// Leases that the process holds which asks.
    pub running: usize,
    /// The part of `leases` of the process that asks, rounded down and up. While another one has less than its part
    /// and finds work, the process gets no more than its part.
    pub part: (usize, usize),
}

impl Concurrency {
    /// The concurrency of a process that has the backend for itself.
    #[must_use]
    pub const fn alone(leases: usize, checks: usize) -> Self {
        Self { leases, checks, running: 0, part: (leases, leases) }
    }
}

/// A request for leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Unique per process.
    pub worker: String,
    /// One backend per request, so that its limits hold.
    pub backend: BackendName,
    /// Leases, at most.
    pub limit: usize,
    /// Duration of each lease, by the store's steady clock.
    pub duration: Duration,
    /// Drift checks among them, at most, if due work leaves room.
    pub checks: usize,
    /// The limit of all leases that are held within one; `None` = these leases are no rounds, and do not count.
    pub within: Option<Concurrency>,
    /// Whether leases that ended without a release are taken. A process that just began cannot know whether the store's
    /// clock stepped. A store of one process, whose clock is steady, takes them in any case.
    pub takeover: bool,
}

/// The end of one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The entity.
    pub entity: EntityId,
    /// The worker that held it; the lease of another worker is not touched.
    pub worker: String,
    /// Do not lease the row again for this long, unless it moves past `seen`; `None` = no pause.
    pub snooze: Option<Duration>,
    /// The row's position at the lease.
    pub seen: Position,
    /// Time until the next drift check; `None` leaves the timer unchanged.
    pub drift_in: Option<Duration>,
    /// New value of [`Lease::observed_under`]; `None` leaves it unchanged.
    pub observed_under: Option<Version>,
}

/// When the backend will next have something to lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextDue {
    /// Time until then; `None` = nothing is known to become due.
    pub within: Option<Duration>,
}

/// How many hints of one backend a caller has seen, by the count of the handle that gave them; zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeenHints(pub u64);

/// Why a call to the queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The checkpoint is elsewhere: another executor moved it. Read it again.
    #[error("the checkpoint is at {actual}")]
    CheckpointMoved {
        /// The checkpoint.
        actual: Position,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The durable queue with its leases. Unless a method says otherwise, several tasks and nodes may call it at once.
#[async_trait]
pub trait SyncQueue: Send + Sync {
    /// Position of the last event that the executor has applied; [`Position::START`] before the first one.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn checkpoint(&self) -> Result<Position, QueueError>;

    /// Commits `changes` and moves the checkpoint from `from` to `to`, in one transaction or not at all. True when
    /// that woke a waiting row. One executor at a time wins: the checkpoint is compared and swapped.
    ///
    /// # Errors
    /// [`QueueError::CheckpointMoved`] when the checkpoint is not `from`; [`QueueError::Store`].
    async fn advance(
        &self,
        from: Position,
        to: Position,
        changes: &[QueueChange],
    ) -> Result<bool, QueueError>;

    /// Deletes all rows, ends all quarantine and resets the checkpoint, for a replay from the start; leases stay.
    /// Idempotent.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn reset(&self) -> Result<(), QueueError>;

    /// The streams in quarantine: the executor leaves their events out, so that the other streams go on.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn quarantined(&self) -> Result<Vec<Quarantined>, QueueError>;

    /// Puts a stream in quarantine, durably. Idempotent.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn quarantine(&self, entry: &Quarantined) -> Result<(), QueueError>;

    /// Ends the quarantine of a stream (`category/id`), whose row the caller has written. Idempotent.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn end_quarantine(&self, stream: &str) -> Result<(), QueueError>;

    /// Leases what is due: work by priority and age, then drift checks. Not idempotent: a repeated call leases
    /// further entities. No entity is leased twice at once, on any node. Of the leases within a [`Concurrency`], no more
    /// are held at once, on all nodes together, than the greatest one that was given allows. Whatever a process did not
    /// get, it gets once it is released, or its lease ended; nothing reports that to the other processes, so they ask again.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Lease>, QueueError>;

    /// Extends these leases, each an entity and its worker, to `duration` from now; returns the entities whose leases
    /// were extended. The others have expired or belong to another worker. Idempotent. One call renews all leases of a
    /// process.
    ///
    /// # Errors
    /// [`QueueError::Store`]; then each lease ends when it would have.
    async fn renew(
        &self,
        held: &[(EntityId, String)],
        duration: Duration,
    ) -> Result<Vec<EntityId>, QueueError>;

    /// Ends leases. Idempotent: one that belongs to another worker meanwhile is not touched.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn release(&self, releases: &[Release]) -> Result<(), QueueError>;

    /// The version of the backend's stream from which on [`Lease::observed_under`] is kept without a gap. The first
    /// call for a backend, and the first after the record was lost, records and returns `current`. Idempotent.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn observed_since(
        &self,
        backend: &BackendName,
        current: Version,
    ) -> Result<Version, QueueError>;

    /// Ends all snoozes of the backend's rows: what they waited for is over. Idempotent.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn void_snoozes(&self, backend: &BackendName) -> Result<(), QueueError>;

    /// Deletes the backend's drift timers that end later than `longest` from now; returns their number. No timer is
    /// set that far ahead, so an earlier process with a wrong clock set them. They are seeded anew. Idempotent.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn forget_late_drift_timers(
        &self,
        backend: &BackendName,
        longest: Duration,
    ) -> Result<u64, QueueError>;

    /// Sets a drift timer for each idle entity of the backend that has none, spread over `interval`; returns their
    /// number. Idempotent.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn seed_drift_timers(
        &self,
        backend: &BackendName,
        interval: Duration,
    ) -> Result<u64, QueueError>;

    /// When the backend will have something to lease; drift checks count only if `drift`. Read-only.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn next_due(&self, backend: &BackendName, drift: bool) -> Result<NextDue, QueueError>;

    /// Resolves when the backend may have something to lease beyond the hints of `seen`, whichever process wrote it; returns
    /// what to pass next time. A hint: it may come early, and in a store of several processes late, by a second at most.
    /// Never misses a delivery between two calls: lease, then wait. Cancellable.
    async fn due_elsewhere(&self, backend: &BackendName, seen: SeenHints) -> SeenHints;

    /// Resolves once the checkpoint has reached `position`, whichever process moved it; never fails, and waits while the
    /// store does not answer, so the caller bounds it. Resolves without I/O when this process knows that already.
    /// Cancellable.
    async fn advanced_past(&self, position: Position);

    /// The row of an entity; `None` when it has none. Read-only.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn row(&self, entity: EntityId) -> Result<Option<QueueRow>, QueueError>;

    /// A page of the entities that depend on any of these names ([`ClaimKey::name`]): at most `limit` with ids above
    /// `after`, each once, in ascending order; `None` = from the first. Read-only.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn dependents(
        &self,
        of: &[ClaimKey],
        after: Option<EntityId>,
        limit: usize,
    ) -> Result<Dependents, QueueError>;

    /// How long the oldest work of each backend has been due, for metrics; zero when all of it waits. Read-only.
    ///
    /// # Errors
    /// [`QueueError::Store`].
    async fn oldest_due(&self) -> Result<Vec<(BackendName, Duration)>, QueueError>;
}
