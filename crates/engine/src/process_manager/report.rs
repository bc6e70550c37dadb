//! Reporting: what a round records, and what follows once it is recorded.

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
    /// Ends what was asked for without a change: everything is as desired, or policy says to leave it.
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

    /// Records what a look saw that nobody asked for; true when that changed something.
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

    /// What follows once something was recorded.
    pub(crate) fn result_after(&self, entity: &Entity) -> StepResult {
        match entity.work() {
            Some(work) if work.due <= self.now() => StepResult::Continue,
            // What is waited for may have come about already. Only the queue knows: its row is soon looked at again.
            Some(work) if work.waits_for.is_some() => {
                StepResult::RequeueAfter(Self::SHORT_QUEUE_LAG)
            }
            Some(work) => StepResult::RequeueAfter(work.due.since(self.now())),
            None => StepResult::AwaitChange,
        }
    }

    /// Appends a result, whatever it takes, and remembers how far the entity's stream is known.
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

    /// A change is wanted and must not be made now. An attempt that runs in name only still ends.
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
        // A refresh asked for a look, which it had.
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

    /// Ends an attempt, or a look, as failed; the table of classes says what happens next. `action` is the
    /// one that certainly ends with it.
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

    /// Ends a look, or an abandoned attempt, as failed with `next`.
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
}

/// Open operations that end once the object is as desired: all but actions.
pub(crate) fn open_changes(entity: &Entity) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| !matches!(open.kind, OperationKind::Action(_))).map(|open| open.id).collect()
}

/// Open operations of these kinds.
pub(crate) fn open_of(entity: &Entity, kinds: &[OperationKind]) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| kinds.contains(&open.kind)).map(|open| open.id).collect()
}

/// Whether a person is asked already what `failure` would ask: a check that finds nothing else appends nothing.
pub(crate) fn already_awaits_decision(entity: &Entity, failure: &Failure) -> bool {
    let asked = entity.blocked.as_ref().is_some_and(|blocked| blocked.on == BlockedOn::Decision);
    asked && entity.error.as_ref() == Some(failure) && entity.work().is_none()
}

/// The envelope of what process managers do for `entity`.
pub(crate) fn envelope(entity: &Entity) -> Envelope {
    let namespace = entity.manifest.namespace.clone();
    Envelope {
        operation: entity.operations.first().map(|open| open.id),
        ..Envelope::system("process-manager", namespace)
    }
}
