//! The lease on one entity: on the worker's side it ends a margin earlier than in the table, so that two workers never
//! act at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use stateward_domain::entity::EntityEvent;
use stateward_domain::entity::command::Intent;
use stateward_domain::envelope::Envelope;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, EntityId, ExternalId, Incarnation, Position, Version};
use stateward_domain::ports::driver::CallControl;
use stateward_domain::ports::sync_queue::{Lease, LeaseReason};
use tokio_util::sync::CancellationToken;

use crate::backends::answer_limits;
use crate::clock::ClockAndIds;
use crate::commands::Commands;
use crate::secrets::Secrets;

/// How long leases last.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTimes {
    /// Duration in the table.
    pub duration: Duration,
    /// How much earlier a lease ends on the worker's side.
    pub margin: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { duration: Duration::from_secs(30), margin: Duration::from_secs(5) }
    }
}

/// A lease that this worker holds.
pub(crate) struct HeldLease {
    pub(crate) entity: EntityId,
    pub(crate) reason: LeaseReason,
    pub(crate) seen: Position,
    pub(crate) observed_under: Version,
    worker: String,
    times: LeaseTimes,
    clock: ClockAndIds,
    /// End on the worker's side, on the steady clock, in microseconds.
    ends: AtomicU64,
    /// On the steady clock, in microseconds.
    renewal_due: AtomicU64,
    stop: CancellationToken,
}

impl HeldLease {
    /// `requested_at` is the steady time before the lease was requested: the table's lease ends no earlier than that
    /// plus the duration.
    pub(crate) fn new(
        lease: &Lease,
        worker: &str,
        times: LeaseTimes,
        clock: &ClockAndIds,
        requested_at: Duration,
        shutdown: &CancellationToken,
    ) -> Self {
        let held = Self {
            entity: lease.entity,
            reason: lease.reason,
            seen: lease.seen,
            observed_under: lease.observed_under,
            worker: worker.to_owned(),
            times,
            clock: clock.clone(),
            ends: AtomicU64::new(0),
            renewal_due: AtomicU64::new(0),
            stop: shutdown.child_token(),
        };
        held.extend(requested_at);
        held
    }

    /// Whether a call that changes the backend may still be sent.
    pub(crate) fn may_send(&self) -> bool {
        !self.stop.is_cancelled() && !self.remaining().is_zero()
    }

    /// Time until the lease ends on the worker's side.
    pub(crate) fn remaining(&self) -> Duration {
        let ends = Duration::from_micros(self.ends.load(Ordering::Acquire));
        ends.saturating_sub(self.clock.elapsed())
    }

    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// The steady time at which it is to be renewed.
    pub(crate) fn renewal_due(&self) -> Duration {
        Duration::from_micros(self.renewal_due.load(Ordering::Acquire))
    }

    /// The lease was extended by a renewal, or taken, that was requested at this steady time.
    pub(crate) fn extend(&self, requested_at: Duration) {
        let ends = (requested_at + self.times.duration).saturating_sub(self.times.margin);
        self.ends.store(micros(ends), Ordering::Release);
        self.renew_again_at(requested_at + self.times.duration / 3);
    }

    /// The renewal failed: it is tried again soon while there is time left, else the lease is lost.
    pub(crate) fn renewal_failed(&self) {
        if self.remaining().is_zero() {
            return self.lose();
        }
        self.renew_again_at(self.clock.elapsed() + self.times.duration / 20);
    }

    /// The lease is to be renewed at this steady time.
    pub(crate) fn renew_again_at(&self, at: Duration) {
        self.renewal_due.store(micros(at), Ordering::Release);
    }

    /// Cancels all calls under the lease. The round ends by itself, so that a late result is still reported.
    pub(crate) fn lose(&self) {
        if !self.stop.is_cancelled() {
            tracing::warn!(entity.id = %self.entity, "lease lost");
            self.stop.cancel();
        }
    }

    /// Whether it is to be renewed no more: it is lost, or the process stops.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// The entity and worker that the table has.
    pub(crate) fn key(&self) -> (EntityId, String) {
        (self.entity, self.worker.clone())
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Control of a driver call that belongs to an attempt.
pub(crate) struct AttemptControl {
    pub(crate) lease: Arc<HeldLease>,
    pub(crate) commands: Commands,
    pub(crate) envelope: Envelope,
    pub(crate) attempt: Attempt,
    pub(crate) incarnation: Incarnation,
    pub(crate) deadline: Duration,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) last_observed: Option<Value>,
}

#[async_trait]
impl CallControl for AttemptControl {
    fn may_send(&self) -> bool {
        self.lease.may_send()
    }

    fn remaining(&self) -> Duration {
        let left = self.deadline.saturating_sub(self.lease.clock.elapsed());
        left.min(self.lease.remaining())
    }

    async fn cancelled(&self) {
        self.lease.stopped().await;
    }

    async fn record_id(&self, id: &ExternalId) -> Result<(), Failure> {
        answer_limits::external_id(id)?;
        if self.secrets.holds(id.as_str()) {
            let message = "the driver put a secret into an object's name";
            return Err(Failure::doubtful(ErrorClass::Bug, "secret_in_id", message));
        }
        let intent = Intent::RecordExternalId {
            attempt: self.attempt,
            incarnation: self.incarnation,
            external_id: id.clone(),
        };
        let gone = |message: String| {
            Failure::doubtful(ErrorClass::Cancelled, "attempt_taken_over", message)
        };
        let done = self
            .commands
            .report(self.lease.entity, &self.envelope, &intent)
            .await
            .map_err(|error| gone(error.to_string()))?;
        let stray = done.events.iter().any(|e| matches!(e, EntityEvent::StrayFound { .. }));
        if stray { Err(gone("another attempt took over".to_owned())) } else { Ok(()) }
    }

    fn last_observed(&self) -> Option<&Value> {
        self.last_observed.as_ref()
    }
}

/// Control of a call without an attempt: identity, health, lists.
pub(crate) struct BackendCallControl {
    pub(crate) clock: ClockAndIds,
    pub(crate) deadline: Duration,
    pub(crate) shutdown: CancellationToken,
}

#[async_trait]
impl CallControl for BackendCallControl {
    fn may_send(&self) -> bool {
        true
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.elapsed())
    }

    async fn cancelled(&self) {
        self.shutdown.cancelled().await;
    }

    async fn record_id(&self, _id: &ExternalId) -> Result<(), Failure> {
        Err(Failure::harmless(
            ErrorClass::Bug,
            "no_attempt",
            "a call without an attempt creates nothing",
        ))
    }
}
