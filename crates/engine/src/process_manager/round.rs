//! One round for one leased entity: reload, observe, compare, and take the one next step.
//!
//! A round keeps no state that matters in memory. It records what it learns before it acts on it, so it may crash at
//! any line: the next round reloads and observes again.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use stateward_domain::entity::event::Next;
use stateward_domain::entity::{Entity, Refusal};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, Position, Version};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::sync_queue::LeaseReason;

use crate::backends::Backend;
use crate::error::Error;
use crate::process_manager::lease::HeldLease;
use crate::process_manager::observe::ObserveOutcome;
use crate::process_manager::{Shared, observation_baseline};

/// What follows a step.
pub(crate) enum StepResult {
    /// Something was recorded: reload the entity and take the next step.
    Continue,
    /// Nothing to do now; run again after this time, or earlier if the entity changes.
    RequeueAfter(Duration),
    /// No work is left; only the next drift check is due.
    AwaitChange,
}

/// How a round ends, for the release of its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoundOutcome {
    /// Do not lease the entity for this time, unless its row changes.
    pub(crate) snooze: Option<Duration>,
    /// Time until the next drift check.
    pub(crate) drift_in: Option<Duration>,
    /// Position of the newest event of the entity that the round took into account.
    pub(crate) seen: Position,
    /// The confirmation after which the entity was observed; `None` = as stored.
    pub(crate) observed_under: Option<Version>,
}

impl RoundOutcome {
    /// Due again at once, with everything up to `seen` taken into account.
    pub(crate) const fn at_once(seen: Position) -> Self {
        Self { snooze: None, drift_in: None, seen, observed_under: None }
    }
}

/// Everything that a round works with.
pub(crate) struct Round<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) backend: &'a Arc<Backend>,
    pub(crate) lease: Arc<HeldLease>,
    pub(crate) kind: &'a KindSpec,
    /// Position of the newest event that this round appended.
    pub(crate) seen: std::sync::Mutex<Position>,
    pub(crate) baseline: observation_baseline::ObservationBaseline,
}

impl Round<'_> {
    /// Maximum steps per lease; an entity with more work is queued behind others.
    const STEPS: usize = 12;
    /// A pause that only covers the time until the queue has caught up with the log.
    pub(super) const QUEUE_LAG: Duration = Duration::from_secs(1);
    /// As [`QUEUE_LAG`](Self::QUEUE_LAG), where an unnecessary round is better than a long wait.
    pub(super) const SHORT_QUEUE_LAG: Duration = Duration::from_millis(50);
    /// How long a change that is not allowed now is deferred.
    pub(super) const DEFERRED: Duration = Duration::from_secs(30);

    /// Takes steps until nothing is left to do now.
    pub(crate) async fn run(&self) -> RoundOutcome {
        for _ in 0..Self::STEPS {
            let result = match self.step().await {
                Ok(result) => result,
                Err(Error::Refused(Refusal::Unfit(why))) => {
                    tracing::error!(entity.id = %self.lease.entity, why, "a step did not fit");
                    StepResult::RequeueAfter(Self::DEFERRED)
                }
                // A concurrent command changed the entity.
                Err(Error::Refused(_)) => StepResult::Continue,
                Err(error) => {
                    tracing::warn!(entity.id = %self.lease.entity, %error, "round broke off");
                    StepResult::RequeueAfter(Self::QUEUE_LAG)
                }
            };
            match result {
                StepResult::Continue
                    if self.lease.may_send() && !self.shared.is_stopping(self.backend) => {}
                StepResult::Continue => return self.requeue_after(Duration::ZERO),
                StepResult::RequeueAfter(pause) => return self.requeue_after(pause),
                StepResult::AwaitChange => {
                    let interval = self.backend.settings.drift_interval;
                    let drift = self.shared.clock.jittered(interval);
                    return self.outcome(Some(Self::QUEUE_LAG), Some(drift));
                }
            }
        }
        self.requeue_after(Duration::from_millis(100))
    }

    async fn step(&self) -> Result<StepResult, Error> {
        let entity = self.shared.entities.fresh(self.lease.entity).await?;
        if !entity.is_tracked() {
            return Ok(StepResult::RequeueAfter(Self::QUEUE_LAG));
        }
        if let Some(left) =
            self.backend.availability.kind_throttled_for(&entity.manifest.kind, self.moment())
        {
            return Ok(StepResult::RequeueAfter(left));
        }
        if let Some(running) = &entity.running {
            return match &running.pending {
                Some((handle, poll_at)) => {
                    self.poll_pending(&entity, running, handle, *poll_at).await
                }
                None => self.take_over(&entity, running).await,
            };
        }
        match entity.work() {
            // Work that waits for something else was woken by it, which only the queue knows.
            Some(work) if work.due > self.now() && work.waits_for.is_none() => {
                Ok(StepResult::RequeueAfter(work.due.since(self.now())))
            }
            // The queue may know that a reference value changed.
            None if self.lease.reason == LeaseReason::Work && entity.dependencies().is_empty() => {
                Ok(StepResult::AwaitChange)
            }
            _ => self.reconcile(&entity, None).await,
        }
    }

    /// Takes the next step of an entity without a running attempt, or with one whose worker is gone (`takes_over`).
    pub(crate) async fn reconcile(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
    ) -> Result<StepResult, Error> {
        if let Some((external_id, _)) = entity.strays.first_key_value() {
            return self.clean_up(entity, takes_over, external_id).await;
        }
        if entity.is_deleted() {
            return Ok(StepResult::AwaitChange);
        }
        if entity.schema_version != self.kind.schema_version
            && let Some(result) = self.schema_changed(entity, takes_over).await?
        {
            return Ok(result);
        }
        if let Some(result) = self.desired_too_deep(entity, takes_over).await? {
            return Ok(result);
        }
        match self.observe(entity).await {
            Ok(ObserveOutcome::Present { object, .. })
                if self.belongs_to_another(entity, &object).await? =>
            {
                self.await_object(entity, takes_over, object.external_id).await
            }
            Ok(ObserveOutcome::Present { object, extra }) => {
                self.close_contest(entity).await?;
                self.record_strays(entity, &extra).await?;
                self.on_present(entity, takes_over, object).await
            }
            Ok(ObserveOutcome::Absent) => self.on_absent(entity, takes_over).await,
            Ok(ObserveOutcome::Unknown { reason }) => {
                let failure = Failure::harmless(ErrorClass::Transient, "look_unclear", reason);
                self.observation_failed(entity, takes_over, failure).await
            }
            Ok(ObserveOutcome::Settling { left }) => self.settling(entity, takes_over, left).await,
            Ok(ObserveOutcome::Taken { external_id }) => {
                let message = format!("{external_id} is there already: adopt it or give up");
                let class = ErrorClass::AlreadyExists { external_id };
                let failure = Failure::harmless(class, "identity_in_use", message);
                self.fail(entity, None, takes_over, &failure, None).await
            }
            Err(failure) => self.observation_failed(entity, takes_over, failure).await,
        }
    }

    /// A failed observation is recorded if something was requested; a drift check that learned nothing appends nothing.
    pub(crate) async fn observation_failed(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        failure: Failure,
    ) -> Result<StepResult, Error> {
        let follows = self.lease.reason == LeaseReason::Work && !entity.dependencies().is_empty();
        let asked = takes_over.is_some() || entity.work().is_some() || follows;
        if asked || failure.class == ErrorClass::Bug {
            return self.fail(entity, None, takes_over, &failure, None).await;
        }
        tracing::debug!(entity.id = %entity.id, %failure, "check learned nothing");
        Ok(StepResult::AwaitChange)
    }

    /// Nothing was found, which proves nothing before the kind's settle time has passed.
    async fn settling(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        left: Duration,
    ) -> Result<StepResult, Error> {
        if takes_over.is_none() {
            return Ok(StepResult::RequeueAfter(left));
        }
        let message = "an earlier creation may still show: waiting before another look";
        let failure = Failure::doubtful(ErrorClass::Ambiguous, "creation_settling", message);
        let next = Next::Retry { at: self.now().after(left) };
        self.fail_with(entity, takes_over, &failure, next).await
    }

    /// Ends the round for `pause`; if it was a drift check, its timer is moved too, or it would be due at once.
    fn requeue_after(&self, pause: Duration) -> RoundOutcome {
        let check = self.lease.reason == LeaseReason::Drift;
        self.outcome(Some(pause), check.then_some(pause))
    }

    fn outcome(&self, snooze: Option<Duration>, drift_in: Option<Duration>) -> RoundOutcome {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let observed_under = self.baseline.unsaved();
        RoundOutcome {
            snooze,
            drift_in,
            observed_under,
            ..RoundOutcome::at_once(seen.max(self.lease.seen))
        }
    }
}
