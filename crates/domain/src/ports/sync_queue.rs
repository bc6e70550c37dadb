//! The durable queue of entities with work, and the leases on them.
//!
//! Instants in rows are the log's. How long work still waits, and how long leases last, is measured by the steady clock: a
//! wall clock that is set makes nothing late and ends no lease.
//!
//! Rows are written by the executor alone and are a function of the log: delete them, replay, and the same
//! work is due. Leases are written by workers alone and may be lost: lost drift timers restart spread out.
//! Neither ever writes the other's table, so no race can forget work.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::entity::claims::ClaimKey;
use crate::entity::work::QueueRow;
use crate::id::{BackendName, EntityId, Position, Version};
use crate::time::Timestamp;

/// Who uses an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependents {
    /// Ids, in their order.
    pub entities: Vec<EntityId>,
    /// They are all who are, up to this event.
    pub as_of: Position,
}

/// One change of the queue, derived from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// Insert or replace the row.
    Put(QueueRow),
    /// The entity needs nothing any more.
    Remove(EntityId),
    /// Rows that wait for this entity are due at `at`.
    Wake {
        /// The one that changed.
        waited_for: EntityId,
        /// When.
        at: Timestamp,
        /// The event that woke them.
        position: Position,
    },
    /// Rows that wait for whoever has this name are due at `at`.
    WakeNamed {
        /// The name of the one that changed.
        name: ClaimKey,
        /// When.
        at: Timestamp,
        /// The event that woke them.
        position: Position,
    },
    /// Rows that wait for this backend are due at `at`.
    WakeBackend {
        /// The one that is there again, or configured otherwise.
        backend: BackendName,
        /// When.
        at: Timestamp,
        /// The event that woke them.
        position: Position,
    },
}

/// Why an entity was leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseReason {
    /// Its row is due.
    Work,
    /// Its drift timer ran out.
    Drift,
}

/// A worker's right to act on one entity, until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The entity.
    pub entity: EntityId,
    /// Why.
    pub reason: LeaseReason,
    /// Position of the queue row that was seen.
    pub seen: Position,
    /// The backend's newest confirmation (version of its stream) before the entity was last observed; 0 = none, or the
    /// row was lost.
    pub observed_under: Version,
}

/// What to lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Unique per process life.
    pub worker: String,
    /// One backend at a time, so that its limits hold.
    pub backend: BackendName,
    /// At most so many.
    pub limit: usize,
    /// How long, by the store's steady clock.
    pub duration: Duration,
    /// So many of them at most may be drift checks, for which work that is due leaves a place.
    pub checks: usize,
}

/// How a lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The entity.
    pub entity: EntityId,
    /// The worker that held it; another's lease is left alone.
    pub worker: String,
    /// Ignore the row for so long, unless it moved past `seen`; `None` = not at all.
    pub snooze: Option<Duration>,
    /// The row's position when it was leased.
    pub seen: Position,
    /// Next drift check; `None` leaves the timer as it is.
    pub drift_in: Option<Duration>,
    /// What is to be kept as [`Lease::observed_under`]; `None` leaves it as it is.
    pub observed_under: Option<Version>,
}

/// When there will be something to lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextDue {
    /// How long until something may be leased; `None` = nothing known.
    pub within: Option<Duration>,
}

/// Why the queue did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The checkpoint is elsewhere: another runner was here. Read it again.
    #[error("the checkpoint is at {actual}")]
    CheckpointMoved {
        /// Where it stands.
        actual: Position,
    },
    /// Try later.
    #[error("the queue is not available: {0}")]
    Unavailable(String),
}

/// Durable queue and leases.
#[async_trait]
pub trait SyncQueue: Send + Sync {
    /// Where the executor stands; [`Position::START`] before the first event.
    async fn checkpoint(&self) -> Result<Position, QueueError>;

    /// Commits `changes` and moves the checkpoint from `from` to `to` in one transaction, or does nothing. True
    /// when that woke a row that waits.
    async fn advance(
        &self,
        from: Position,
        to: Position,
        changes: &[QueueChange],
    ) -> Result<bool, QueueError>;

    /// Forgets rows and checkpoint (not the leases), for a replay from the start.
    async fn reset(&self) -> Result<(), QueueError>;

    /// Leases what is due, most urgent first: due work by priority and age, then drift checks.
    async fn lease(&self, request: &LeaseRequest) -> Result<Vec<Lease>, QueueError>;

    /// Prolongs the lease by `duration` from now; false when it is no longer this worker's.
    async fn renew(
        &self,
        entity: EntityId,
        worker: &str,
        duration: Duration,
    ) -> Result<bool, QueueError>;

    /// Ends leases. One that meanwhile belongs to another worker is left alone.
    async fn release(&self, releases: &[Release]) -> Result<(), QueueError>;

    /// The version of the backend's stream from which on [`Lease::observed_under`] is kept without a gap: `current` when
    /// nothing is known of the backend, or was lost.
    async fn observed_since(
        &self,
        backend: &BackendName,
        current: Version,
    ) -> Result<Version, QueueError>;

    /// Takes up again at once whatever workers put aside on the backend: what they waited for is over.
    async fn void_snoozes(&self, backend: &BackendName) -> Result<(), QueueError>;

    /// Ends every lease at once. Only for a start that proved by other means that no worker lives.
    async fn release_all(&self) -> Result<(), QueueError>;

    /// Forgets the drift timers of the backend that end later than `longest` from now; how many. None is set that far
    /// ahead: a clock that was ahead in an earlier process set them. They are seeded anew.
    async fn forget_late_drift_timers(
        &self,
        backend: &BackendName,
        longest: Duration,
    ) -> Result<u64, QueueError>;

    /// Gives each idle entity of the backend without a drift timer one, spread over `interval`; how many.
    async fn seed_drift_timers(
        &self,
        backend: &BackendName,
        interval: Duration,
    ) -> Result<u64, QueueError>;

    /// When the backend will have something to lease (drift checks count when `drift`).
    async fn next_due(&self, backend: &BackendName, drift: bool) -> Result<NextDue, QueueError>;

    /// The row of an entity; `None` when it has none.
    async fn row(&self, entity: EntityId) -> Result<Option<QueueRow>, QueueError>;

    /// At most `limit` of the entities that use one with any of these names ([`ClaimKey::name`]), each once.
    async fn dependents(&self, of: &[ClaimKey], limit: usize) -> Result<Dependents, QueueError>;

    /// How long the oldest work of each backend has been due, for metrics; zero when all of it waits.
    async fn oldest_due(&self) -> Result<Vec<(BackendName, Duration)>, QueueError>;
}
