//! One round for one leased entity: reload, look, compare, and do the one next thing.
//!
//! A round keeps nothing in memory that matters. Whatever it learns is in the log before it acts on it, so it
//! may die on any line: the next round reloads and looks again.

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
use crate::process_manager::lease::Held;
use crate::process_manager::observe::Seen;
use crate::process_manager::{Shared, observation_baseline};

/// What follows a step.
pub(crate) enum Flow {
    /// Something was recorded: look at the entity again.
    Again,
    /// Nothing more now; come back after the time if nothing changes before.
    Rest(Duration),
    /// Nothing waits: only the next look is due.
    Idle,
}

/// How a round ends: when to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Leave the row alone for so long, unless it changes.
    pub(crate) snooze: Option<Duration>,
    /// Next look.
    pub(crate) drift_in: Option<Duration>,
    /// Newest event of the entity that was taken into account.
    pub(crate) seen: Position,
    /// The confirmation after which it was observed; `None` = as was known.
    pub(crate) observed_under: Option<Version>,
}

impl Rest {
    /// Comes back at once, having seen everything up to `seen`.
    pub(crate) const fn of(seen: Position) -> Self {
        Self { snooze: None, drift_in: None, seen, observed_under: None }
    }
}

/// Everything that a round works with.
pub(crate) struct Round<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) backend: &'a Arc<Backend>,
    pub(crate) held: Arc<Held>,
    pub(crate) kind: &'a KindSpec,
    /// Position of the newest event that this round appended.
    pub(crate) seen: std::sync::Mutex<Position>,
    pub(crate) observed: observation_baseline::Observed,
}

impl Round<'_> {
    /// Steps of one lease at most; an entity that wants more comes back after others had their turn.
    const STEPS: usize = 12;
    /// A pause that only guards against a queue row that is a moment behind the log.
    pub(super) const BEHIND: Duration = Duration::from_secs(1);
    /// As [`BEHIND`](Self::BEHIND), where looking once too often is better than waiting too long.
    pub(super) const JUST_BEHIND: Duration = Duration::from_millis(50);
    /// How long something that must not be changed now is left alone.
    pub(super) const NOT_NOW: Duration = Duration::from_secs(30);

    /// Works until there is nothing to do now.
    pub(crate) async fn run(&self) -> Rest {
        for _ in 0..Self::STEPS {
            let flow = match self.step().await {
                Ok(flow) => flow,
                Err(Error::Refused(Refusal::Unfit(why))) => {
                    tracing::error!(entity.id = %self.held.entity, why, "a step did not fit");
                    Flow::Rest(Self::NOT_NOW)
                }
                // Somebody changed the entity in the meantime.
                Err(Error::Refused(_)) => Flow::Again,
                Err(error) => {
                    tracing::warn!(entity.id = %self.held.entity, %error, "round broke off");
                    Flow::Rest(Self::BEHIND)
                }
            };
            match flow {
                Flow::Again if self.held.may_send() && !self.shared.ends(self.backend) => {}
                Flow::Again => return self.pause(Duration::ZERO),
                Flow::Rest(pause) => return self.pause(pause),
                Flow::Idle => {
                    let interval = self.backend.settings.drift_interval;
                    let drift = self.shared.clock.jittered(interval);
                    return self.rest(Some(Self::BEHIND), Some(drift));
                }
            }
        }
        self.pause(Duration::from_millis(100))
    }

    async fn step(&self) -> Result<Flow, Error> {
        let entity = self.shared.entities.fresh(self.held.entity).await?;
        if !entity.is_tracked() {
            return Ok(Flow::Rest(Self::BEHIND));
        }
        if let Some(left) =
            self.backend.availability.kind_throttled_for(&entity.manifest.kind, self.moment())
        {
            return Ok(Flow::Rest(left));
        }
        if let Some(running) = &entity.running {
            return match &running.pending {
                Some((handle, poll_at)) => self.carry_on(&entity, running, handle, *poll_at).await,
                None => self.take_over(&entity, running).await,
            };
        }
        match entity.work() {
            // What waits for something else was woken by it, which only the queue knows.
            Some(work) if work.due > self.now() && work.waits_for.is_none() => {
                Ok(Flow::Rest(work.due.since(self.now())))
            }
            // The queue may know that what it was made from changed.
            None if self.held.reason == LeaseReason::Work && entity.dependencies().is_empty() => {
                Ok(Flow::Idle)
            }
            _ => self.serve(&entity, None).await,
        }
    }

    /// Does the next thing for an entity of which no attempt runs, or runs in name only (`takes_over`).
    pub(crate) async fn serve(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
    ) -> Result<Flow, Error> {
        if let Some((external_id, _)) = entity.strays.first_key_value() {
            return self.clean_up(entity, takes_over, external_id).await;
        }
        if entity.is_deleted() {
            return Ok(Flow::Idle);
        }
        if entity.schema_version != self.kind.schema_version
            && let Some(flow) = self.outgrown(entity, takes_over).await?
        {
            return Ok(flow);
        }
        if let Some(flow) = self.incomplete(entity, takes_over).await? {
            return Ok(flow);
        }
        match self.look(entity).await {
            Ok(Seen::Present { object, .. })
                if self.belongs_to_another(entity, &object).await? =>
            {
                self.wait_for_object(entity, takes_over, object.external_id).await
            }
            Ok(Seen::Present { object, extra }) => {
                self.end_contest(entity).await?;
                self.note_strays(entity, &extra).await?;
                self.present(entity, takes_over, object).await
            }
            Ok(Seen::Absent) => self.absent(entity, takes_over).await,
            Ok(Seen::Unknown { reason }) => {
                let failure = Failure::harmless(ErrorClass::Transient, "look_unclear", reason);
                self.look_failed(entity, takes_over, failure).await
            }
            Ok(Seen::Settling { left }) => self.settling(entity, takes_over, left).await,
            Ok(Seen::Taken { external_id }) => {
                let message = format!("{external_id} is there already: adopt it or give up");
                let class = ErrorClass::AlreadyExists { external_id };
                let failure = Failure::harmless(class, "identity_in_use", message);
                self.fail(entity, None, takes_over, &failure, None).await
            }
            Err(failure) => self.look_failed(entity, takes_over, failure).await,
        }
    }

    /// A look that failed is recorded when somebody asked for something; a mere check that learned nothing
    /// appends nothing.
    pub(crate) async fn look_failed(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        failure: Failure,
    ) -> Result<Flow, Error> {
        let follows = self.held.reason == LeaseReason::Work && !entity.dependencies().is_empty();
        let asked = takes_over.is_some() || entity.work().is_some() || follows;
        if asked || failure.class == ErrorClass::Bug {
            return self.fail(entity, None, takes_over, &failure, None).await;
        }
        tracing::debug!(entity.id = %entity.id, %failure, "check learned nothing");
        Ok(Flow::Idle)
    }

    /// None was found, which proves nothing before the kind's settle time is over.
    async fn settling(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        left: Duration,
    ) -> Result<Flow, Error> {
        if takes_over.is_none() {
            return Ok(Flow::Rest(left));
        }
        let message = "an earlier creation may still show: waiting before another look";
        let failure = Failure::doubtful(ErrorClass::Ambiguous, "creation_settling", message);
        let next = Next::Retry { at: self.now().after(left) };
        self.fail_with(entity, takes_over, &failure, next).await
    }

    /// Comes back after `pause`; also to the check that this was, whose timer would be due at once otherwise.
    fn pause(&self, pause: Duration) -> Rest {
        let check = self.held.reason == LeaseReason::Drift;
        self.rest(Some(pause), check.then_some(pause))
    }

    fn rest(&self, snooze: Option<Duration>, drift_in: Option<Duration>) -> Rest {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let observed_under = self.observed.news();
        Rest { snooze, drift_in, observed_under, ..Rest::of(seen.max(self.held.seen)) }
    }
}
