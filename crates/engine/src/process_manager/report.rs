//! Recording results of a round, and the step result that follows from the entity's state after it.

use std::collections::BTreeMap;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, FailureReport, Intent, ObservationReport};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{
    AttemptStep, BlockedOn, Difference, Observed, OperationKind, Presence,
};
use stateward_domain::envelope::Envelope;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, Generation, OperationId};
use stateward_domain::ports::driver::Object;

use crate::commands::CommandOutcome;
use crate::error::Error;
use crate::process_manager::round::{Round, StepResult};

impl Round<'_> {
    /// Completes open changes without changing the object: it is as desired, or its policy leaves it as it is.
    pub(crate) async fn complete(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        observed: Observed,
        diff: Vec<Difference>,
    ) -> Result<StepResult, Error> {
        let completion = Completion {
            attempt: None,
            takes_over,
            generation: entity.generation,
            step: AttemptStep::None,
            observed,
            diff,
            operations: open_changes(entity),
        };
        let done = self.report(entity, &Intent::Complete(completion)).await?;
        Ok(self.result_after(&done.entity))
    }

    /// Records an observation that was not requested; true when it changed the entity.
    pub(crate) async fn report_observation(
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

    /// The step result that follows from the entity's remaining work.
    pub(crate) fn result_after(&self, entity: &Entity) -> StepResult {
        match entity.work() {
            Some(work) if work.due <= self.now() => StepResult::Continue,
            // What the entity waits for may have happened already. Only the queue knows, so its row is read again soon.
            Some(work) if work.waits_for.is_some() => {
                StepResult::RequeueAfter(Self::SHORT_QUEUE_LAG)
            }
            Some(work) => StepResult::RequeueAfter(work.due.since(self.now())),
            None => StepResult::AwaitChange,
        }
    }

    /// Appends a result, retrying until the log has it, and keeps its position.
    pub(crate) async fn report(
        &self,
        entity: &Entity,
        intent: &Intent,
    ) -> Result<CommandOutcome, Error> {
        let envelope = envelope(entity);
        let done = self.shared.commands.report(self.lease.entity, &envelope, intent).await?;
        self.record_position(&done);
        Ok(done)
    }

    pub(crate) fn record_position(&self, done: &CommandOutcome) {
        if !done.events.is_empty() {
            let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            *seen = (*seen).max(done.position);
        }
    }

    /// Defers a change that is needed but not allowed now. An attempt whose worker is gone still ends.
    pub(crate) async fn defer_change(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
    ) -> Result<StepResult, Error> {
        if takes_over.is_some() {
            let message = "the attempt was abandoned, and changes are paused";
            let failure = Failure::doubtful(ErrorClass::Cancelled, "paused", message);
            let next = Next::Retry { at: self.now() };
            return self.fail_with(entity, takes_over, &failure, next).await;
        }
        // A refresh only asks for an observation, which was made.
        let refreshes = open_of(entity, &[OperationKind::Refresh]);
        if refreshes.is_empty() {
            return Ok(StepResult::RequeueAfter(Self::DEFERRED));
        }
        let completion = Completion {
            attempt: None,
            takes_over: None,
            generation: entity.generation,
            step: AttemptStep::None,
            observed: Observed { observed_at: Some(self.now()), ..entity.observed.clone() },
            diff: Vec::new(),
            operations: refreshes,
        };
        self.report(entity, &Intent::Complete(completion)).await?;
        Ok(StepResult::RequeueAfter(Self::DEFERRED))
    }

    /// Records an attempt or an observation as failed; the table of error classes decides what follows. `action` is the
    /// action that ends with it in any case.
    pub(crate) async fn fail(
        &self,
        entity: &Entity,
        attempt: Option<Attempt>,
        takes_over: Option<Attempt>,
        failure: &Failure,
        action: Option<OperationId>,
    ) -> Result<StepResult, Error> {
        let running = entity.running.as_ref().filter(|_| attempt.is_some());
        if attempt.is_none()
            && takes_over.is_none()
            && action.is_none()
            && already_awaits_decision(entity, failure)
        {
            return Ok(StepResult::AwaitChange);
        }
        let retry_context = self.retry_context(entity);
        let (next, action) = match (running.map(|running| &running.step), action) {
            (_, Some(action)) => (Next::Retry { at: self.now() }, Some(action)),
            (Some(AttemptStep::Action { operation_id }), None) => {
                let repeatable = self.is_repeatable(entity, *operation_id);
                let (next, ends) = retry_context.after_action(failure, repeatable);
                (next, Some(*operation_id).filter(|_| ends))
            }
            (Some(AttemptStep::CleanUp { .. }), None) => {
                (retry_context.after_clean_up(failure), None)
            }
            _ => (retry_context.next(failure), None),
        };
        let failing = FailureReport {
            attempt,
            takes_over,
            error: failure.clone(),
            next,
            remaining: Vec::new(),
            action,
        };
        let done = self.report(entity, &Intent::Fail(failing)).await?;
        Ok(self.result_after(&done.entity))
    }

    /// Records an observation, or an abandoned attempt, as failed, followed by `next`.
    pub(crate) async fn fail_with(
        &self,
        entity: &Entity,
        takes_over: Option<Attempt>,
        failure: &Failure,
        next: Next,
    ) -> Result<StepResult, Error> {
        let failing = FailureReport {
            attempt: None,
            takes_over,
            error: failure.clone(),
            next,
            remaining: Vec::new(),
            action: None,
        };
        let done = self.report(entity, &Intent::Fail(failing)).await?;
        Ok(self.result_after(&done.entity))
    }

    /// `object`, matching `generation` with these reference values.
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
}

/// Open operations that end once the object is as desired: all except actions.
pub(crate) fn open_changes(entity: &Entity) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| !matches!(open.kind, OperationKind::Action(_))).map(|open| open.id).collect()
}

/// Open operations of these kinds.
pub(crate) fn open_of(entity: &Entity, kinds: &[OperationKind]) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| kinds.contains(&open.kind)).map(|open| open.id).collect()
}

/// Whether the entity already waits for a decision on the same failure: a check that finds it again appends nothing.
pub(crate) fn already_awaits_decision(entity: &Entity, failure: &Failure) -> bool {
    let asked = entity.blocked.as_ref().is_some_and(|blocked| blocked.on == BlockedOn::Decision);
    asked && entity.error.as_ref() == Some(failure) && entity.work().is_none()
}

/// The envelope of events that process managers append for `entity`.
pub(crate) fn envelope(entity: &Entity) -> Envelope {
    let namespace = entity.manifest.namespace.clone();
    Envelope {
        operation: entity.operations.first().map(|open| open.id),
        ..Envelope::system("process-manager", namespace)
    }
}
