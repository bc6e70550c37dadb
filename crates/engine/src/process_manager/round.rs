//! One round for one leased entity: reload, look, compare, and do the one next thing.
//!
//! A round keeps nothing in memory that matters. Whatever it learns is in the log before it acts on it, so it
//! may die on any line: the next round reloads and looks again.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use stateward_domain::entity::command::{Completion, Intent, ObservationReport};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{
    AttemptStep, Difference, ManagementPolicy, Observed, OperationKind, Presence,
};
use stateward_domain::entity::{Entity, Refusal};
use stateward_domain::envelope::Envelope;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, Generation, KindName, OperationId, Position};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{CallContext, Driver, Object};
use stateward_domain::ports::sync_queue::LeaseReason;
use stateward_domain::time::{Moment, Timestamp};

use crate::backends::Backend;
use crate::backends::gate::Closed;
use crate::commands::Done;
use crate::error::Error;
use crate::process_manager::lease::{Control, Held};
use crate::process_manager::look::Seen;
use crate::process_manager::rest::Rest;
use crate::process_manager::{Shared, observed};

/// What follows a step.
pub(crate) enum Flow {
    /// Something was recorded: look at the entity again.
    Again,
    /// Nothing more now; come back after the time if nothing changes before.
    Rest(Duration),
    /// Nothing waits: only the next look is due.
    Idle,
}

/// Everything that a round works with.
pub(crate) struct Round<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) backend: &'a Arc<Backend>,
    pub(crate) held: Arc<Held>,
    pub(crate) kind: &'a KindSpec,
    /// Position of the newest event that this round appended.
    pub(crate) seen: std::sync::Mutex<Position>,
    pub(crate) observed: observed::Observed,
}

impl Round<'_> {
    /// Steps of one lease at most; an entity that wants more comes back after others had their turn.
    const STEPS: usize = 12;
    /// A pause that only guards against a queue row that is a moment behind the log.
    const BEHIND: Duration = Duration::from_secs(1);
    /// As [`BEHIND`](Self::BEHIND), where looking once too often is better than waiting too long.
    const JUST_BEHIND: Duration = Duration::from_millis(50);
    /// How long something that must not be changed now is left alone.
    const NOT_NOW: Duration = Duration::from_secs(30);

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
                    let drift = self.shared.sources.jittered(interval);
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
        if let Some(left) = self.backend.gate.rests(&entity.manifest.kind, self.moment()) {
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

    /// Ends what was asked for without a change: everything is as desired, or policy says to leave it.
    pub(crate) async fn complete(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        observed: Observed,
        diff: Vec<Difference>,
    ) -> Result<Flow, Error> {
        let completion = Completion {
            attempt: None,
            takes_over,
            generation: entity.generation,
            step: AttemptStep::None,
            observed,
            diff,
            operations: waiting(entity),
        };
        let done = self.report(entity, &Intent::Complete(completion)).await?;
        Ok(self.after(&done.entity))
    }

    /// Records what a look saw that nobody asked for; true when that changed something.
    pub(crate) async fn sight(
        &self,
        entity: &Entity,
        observed: Observed,
        diff: Vec<Difference>,
    ) -> Result<bool, Error> {
        let on_lost = self.backend.settings.on_lost.unwrap_or(self.kind.on_lost);
        let sighting = ObservationReport {
            generation: entity.generation,
            attempt: entity.attempt,
            observed,
            diff,
            on_lost,
        };
        let done = self.report(entity, &Intent::Observe(sighting)).await?;
        Ok(!done.events.is_empty())
    }

    /// What follows once something was recorded.
    pub(crate) fn after(&self, entity: &Entity) -> Flow {
        match entity.work() {
            Some(work) if work.due <= self.now() => Flow::Again,
            // What is waited for may have come about already. Only the queue knows: its row is soon looked at again.
            Some(work) if work.waits_for.is_some() => Flow::Rest(Self::JUST_BEHIND),
            Some(work) => Flow::Rest(work.due.since(self.now())),
            None => Flow::Idle,
        }
    }

    /// Appends a result, whatever it takes, and remembers how far the entity's stream is known.
    pub(crate) async fn report(&self, entity: &Entity, intent: &Intent) -> Result<Done, Error> {
        let envelope = envelope(entity);
        let done = self.shared.commands.report(self.held.entity, &envelope, intent).await?;
        self.note_position(&done);
        Ok(done)
    }

    pub(crate) fn note_position(&self, done: &Done) {
        if !done.events.is_empty() {
            let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *seen = (*seen).max(done.position);
        }
    }

    /// Whether the object may be changed now at all.
    pub(crate) fn may_change(&self, entity: &Entity) -> bool {
        entity.manifest.settings.management_policy == ManagementPolicy::Full
            && entity.paused.is_none()
            && !self.backend.gate.paused(self.moment())
            && !self.shared.frozen.load(Ordering::Acquire)
    }

    /// A change is wanted and must not be made now. An attempt that runs in name only still ends.
    pub(crate) async fn not_now(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
    ) -> Result<Flow, Error> {
        if takes_over.is_some() {
            let message = "the attempt was abandoned, and changes are paused";
            let failure = Failure::doubtful(ErrorClass::Cancelled, "paused", message);
            let next = Next::Retry { at: self.now() };
            return self.fail_with(entity, takes_over, &failure, next).await;
        }
        // A refresh asked for a look, which it had.
        let looks = open_of(entity, &[OperationKind::Refresh]);
        if looks.is_empty() {
            return Ok(Flow::Rest(Self::NOT_NOW));
        }
        let completion = Completion {
            attempt: None,
            takes_over: None,
            generation: entity.generation,
            step: AttemptStep::None,
            observed: Observed { observed_at: Some(self.now()), ..entity.observed.clone() },
            diff: Vec::new(),
            operations: looks,
        };
        self.report(entity, &Intent::Complete(completion)).await?;
        Ok(Flow::Rest(Self::NOT_NOW))
    }

    /// `object`, as it matches `generation` with these values of its references.
    pub(crate) fn observed(
        &self,
        object: &Object,
        generation: Generation,
        references: BTreeMap<String, Value>,
    ) -> Observed {
        Observed {
            presence: Presence::Present,
            external_id: Some(object.external_id.clone()),
            attributes: Some(self.kind.without_write_only(&object.attributes)),
            generation,
            references,
            observed_at: Some(self.now()),
        }
    }

    pub(crate) fn observed_absent(&self) -> Observed {
        Observed { observed_at: Some(self.now()), ..Observed::default() }
    }

    /// Makes a call within the backend's limits, and lets its gate know how it went.
    pub(crate) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.backend.within_rate().await;
        let outcome = call.await;
        match &outcome {
            Ok(_) => self.backend.gate.succeeded(),
            Err(failure) => self.shared.note_failure(self.backend, failure).await,
        }
        outcome
    }

    pub(crate) fn context(&self, attempt: Attempt, entity: &Entity) -> CallContext {
        let steady = self.shared.sources.elapsed();
        let control = Control {
            held: Arc::clone(&self.held),
            commands: self.shared.commands.clone(),
            envelope: envelope(entity),
            attempt,
            incarnation: entity.incarnation,
            deadline: steady + self.backend.settings.call_timeout,
            secrets: Arc::clone(&self.shared.secrets),
        };
        CallContext { attempt, control: Arc::new(control) }
    }

    pub(crate) fn driver(&self) -> &dyn Driver {
        &*self.backend.settings.driver
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.sources.now()
    }

    pub(crate) fn moment(&self) -> Moment {
        self.shared.sources.moment()
    }

    /// Whether the backend is closed in the middle of the round.
    pub(crate) fn closed(&self) -> Option<Closed> {
        self.backend.gate.closed(self.moment())
    }
}

/// Open operations that end once the object is as desired: all but actions.
pub(crate) fn waiting(entity: &Entity) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| !matches!(open.kind, OperationKind::Action(_))).map(|open| open.id).collect()
}

/// Open operations of these kinds.
pub(crate) fn open_of(entity: &Entity, kinds: &[OperationKind]) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| kinds.contains(&open.kind)).map(|open| open.id).collect()
}

/// Names of the kinds of a driver.
pub(crate) fn kind_names(driver: &dyn Driver) -> Vec<KindName> {
    driver.kinds().iter().map(|kind| kind.name.clone()).collect()
}

/// The envelope of what process managers do for `entity`.
pub(crate) fn envelope(entity: &Entity) -> Envelope {
    let namespace = entity.manifest.namespace.clone();
    Envelope {
        operation: entity.operations.first().map(|open| open.id),
        ..Envelope::system("process-manager", namespace)
    }
}
