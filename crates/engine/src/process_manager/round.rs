//! One round for one leased entity: reload, observe, plan, execute one action; again while something was recorded.
//!
//! A round keeps nothing in memory that matters. What it learns is in the log before it acts on it, so it may die on any
//! line: the next round reloads and observes again. [`plan`](crate::process_manager::plan) decides; this does.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stateward_domain::entity::{Entity, Refusal};
use stateward_domain::id::{Attempt, Position, Version};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::sync_queue::LeaseReason;
use stateward_domain::time::{Moment, Timestamp};

use crate::backends::Backend;
use crate::commands::CommandOutcome;
use crate::error::CommandError;
use crate::process_manager::Shared;
use crate::process_manager::lease::HeldLease;
use crate::process_manager::observation_baseline::ObservationBaseline;
use crate::process_manager::plan::{
    Before, CHANGES_PAUSED, QUEUE_LAG, Requeue, RoundContext, abandoned, before_observation,
    clean_up, next_action,
};

/// How a round ends: when the entity is worked on again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoundOutcome {
    /// Ignore the row for so long, unless it changes.
    pub(crate) snooze: Option<Duration>,
    /// Next drift check.
    pub(crate) drift_in: Option<Duration>,
    /// Newest event of the entity that was taken into account.
    pub(crate) seen: Position,
    /// The confirmation after which it was observed; `None` = as was known.
    pub(crate) observed_under: Option<Version>,
}

impl RoundOutcome {
    /// Due at once, with everything up to `seen` taken into account.
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
    pub(crate) seen: Mutex<Position>,
    pub(crate) baseline: ObservationBaseline,
}

impl Round<'_> {
    /// Steps of one lease at most; an entity that needs more is leased again after others had their turn.
    const STEPS: usize = 12;

    /// Works until there is nothing to do now.
    pub(crate) async fn run(&self) -> RoundOutcome {
        for _ in 0..Self::STEPS {
            let requeue = match self.step().await {
                Ok(requeue) => requeue,
                Err(CommandError::Refused(Refusal::Unfit(why))) => {
                    tracing::error!(entity.id = %self.lease.entity, why, "a step did not fit");
                    Requeue::After(CHANGES_PAUSED)
                }
                // The entity was changed in the meantime.
                Err(CommandError::Refused(_)) => Requeue::Now,
                Err(error) => {
                    tracing::warn!(entity.id = %self.lease.entity, %error, "round broke off");
                    Requeue::After(QUEUE_LAG)
                }
            };
            match requeue {
                Requeue::Now if self.lease.may_send() && !self.shared.is_stopping(self.backend) => {
                }
                Requeue::Now => return self.requeued_after(Duration::ZERO),
                Requeue::After(pause) => return self.requeued_after(pause),
                Requeue::OnChange => {
                    let interval = self.backend.settings.drift_interval;
                    let drift = self.shared.clock.jittered(interval);
                    return self.outcome(Some(QUEUE_LAG), Some(drift));
                }
            }
        }
        self.requeued_after(Duration::from_millis(100))
    }

    /// Reload, observe, plan, execute one action.
    async fn step(&self) -> Result<Requeue, CommandError> {
        let entity = &*self.shared.entities.fresh(self.lease.entity).await?;
        let c = self.context(entity, abandoned(entity));
        let throttled =
            self.backend.availability.kind_throttled_for(&entity.manifest.kind, self.moment());
        let fault = || self.resolver().desired_fault(entity, self.kind.schema_version);
        match before_observation(&c, throttled, fault) {
            Before::Act(action) => self.execute(&c, *action).await,
            Before::Poll { handle } => self.poll(&c, &handle).await,
            Before::Cancel { handle } => self.cancel(&c, &handle).await,
            Before::ObserveStray(stray) => {
                let observation = self.observe_object(entity, &stray).await;
                let c = self.context(entity, c.takes_over);
                self.execute(&c, clean_up(&c, &stray, &observation)).await
            }
            Before::Observe => {
                let observation = self.observe(entity).await?;
                // Times are those after the observation.
                let c = self.context(entity, c.takes_over);
                let resolution = self.resolve(&c, &observation).await?;
                self.execute(&c, next_action(&c, &observation, &resolution)).await
            }
        }
    }

    /// What the planner may depend on, as of now.
    pub(super) fn context<'e>(
        &'e self,
        entity: &'e Entity,
        takes_over: Option<Attempt>,
    ) -> RoundContext<'e> {
        let restored = self.shared.observe_only.load(Ordering::Acquire);
        RoundContext {
            entity,
            kind: self.kind,
            settings: &self.backend.settings,
            now: self.now(),
            jitter: self.shared.clock.jitter(),
            reason: self.lease.reason,
            writable: !self.backend.availability.paused(self.moment()) && !restored,
            may_send: self.lease.may_send(),
            takes_over,
            lost_creation: self.lost_creation(entity),
        }
    }

    /// Due again after `pause`; also the check that this was, whose timer would be due at once otherwise.
    fn requeued_after(&self, pause: Duration) -> RoundOutcome {
        let check = self.lease.reason == LeaseReason::Drift;
        self.outcome(Some(pause), check.then_some(pause))
    }

    fn outcome(&self, snooze: Option<Duration>, drift_in: Option<Duration>) -> RoundOutcome {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let observed_under = self.baseline.unsaved();
        let seen = seen.furthest(self.lease.seen);
        RoundOutcome { snooze, drift_in, observed_under, ..RoundOutcome::at_once(seen) }
    }

    pub(super) fn note_position(&self, done: &CommandOutcome) {
        if !done.events.is_empty() {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = (*seen).furthest(done.position);
        }
    }

    /// Time since the running attempt of `entity` began, by the steady clock; zero when none runs.
    pub(super) fn age_of_attempt(&self, entity: &Entity) -> Duration {
        let running = entity.running.as_ref();
        running.map_or(Duration::ZERO, |running| self.shared.clock.log_clock.since(running.since))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(super) fn moment(&self) -> Moment {
        self.shared.clock.moment()
    }
}
