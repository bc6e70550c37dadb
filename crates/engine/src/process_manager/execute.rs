//! Executing a change: record the intent, call the driver, observe, record the result.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, FailureReport, Intent};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{
    AttemptStep, BlockedOn, Difference, Observed, OperationKind, RunningAttempt,
};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::{Attempt, ExternalId, OperationId};
use stateward_domain::ports::driver::{Act, Create, Object, Outcome, Plan, Update};

use crate::error::Error;
use crate::process_manager::converge::last_known_diff;
use crate::process_manager::observe::{ObserveOutcome, compare, object_ref};
use crate::process_manager::report::{envelope, open_changes};
use crate::process_manager::retry::RetryContext;
use crate::process_manager::round::{Round, StepResult};

/// What a driver call is given. Not `Debug`: it may contain secrets.
struct CallSpec {
    spec: Value,
    /// The attributes that the update was planned against.
    observed: Value,
}

impl Round<'_> {
    /// Starts an attempt for `step` and carries it as far as it goes now. `seen` is the spec and the object that an
    /// update was planned with.
    pub(crate) async fn execute_step(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        step: AttemptStep,
        id: Option<&ExternalId>,
        seen: Option<(&Value, &Object)>,
    ) -> Result<StepResult, Error> {
        if !self.may_change(entity) {
            return self.defer_change(entity, takes_over).await;
        }
        if !self.lease.may_send() {
            return Ok(StepResult::RequeueAfter(Duration::ZERO));
        }
        let (spec, observed) = match (seen, &step) {
            (Some((spec, object)), _) => (Cow::Borrowed(spec), object.attributes.clone()),
            (None, AttemptStep::Create | AttemptStep::Action { .. }) => {
                match self.resolve(entity).await? {
                    Ok(resolved) => (resolved.desired, Value::Null),
                    Err(unresolved) => {
                        return self.await_reference(entity, takes_over, unresolved).await;
                    }
                }
            }
            // A deletion needs only the object's id.
            (None, _) => (Cow::Borrowed(&entity.manifest.desired), Value::Null),
        };
        // Resolve secrets before the intent is recorded: a call that cannot be sent must not be started.
        let given = match self.call_spec(entity, &step, &spec) {
            Ok(spec) => CallSpec { spec, observed },
            Err(failure) => return self.await_secret(entity, takes_over, &failure).await,
        };
        let operations = match &step {
            AttemptStep::Action { operation_id } => vec![*operation_id],
            AttemptStep::CleanUp { .. } => Vec::new(),
            _ => open_changes(entity),
        };
        let named = !matches!(step, AttemptStep::Create | AttemptStep::CleanUp { .. });
        let start = Intent::Start {
            takes_over,
            generation: entity.generation,
            was_present: named,
            found: id.filter(|_| named).cloned(),
            step: step.clone(),
            operations,
        };
        let envelope = envelope(entity);
        // `execute`, not `report`: the start of an attempt may be dropped, its result may not.
        let done = self.shared.commands.execute(self.lease.entity, &envelope, &start).await?;
        self.record_position(&done);
        let begun = done.entity;
        let outcome = self.call_driver(&begun, &step, id, &given).await;
        self.record_outcome(&begun, outcome).await
    }

    async fn call_driver(
        &self,
        entity: &Entity,
        step: &AttemptStep,
        id: Option<&ExternalId>,
        given: &CallSpec,
    ) -> Result<Outcome, Failure> {
        let context = self.call_context(entity.attempt, entity);
        let spec = given.spec.clone();
        let kind = &entity.manifest.kind;
        let target = object_ref(entity, &id.cloned().unwrap_or_default());
        match step {
            AttemptStep::Create => {
                let create = Create { kind: kind.clone(), owner_key: entity.owner_key(), spec };
                self.call(self.driver().create(&context, &create)).await
            }
            AttemptStep::Update { fields } => {
                let (fields, observed) = (fields.clone(), given.observed.clone());
                let update = Update { target, spec, fields, observed };
                self.call(self.driver().update(&context, &update)).await
            }
            AttemptStep::Delete | AttemptStep::Replace { .. } | AttemptStep::CleanUp { .. } => {
                self.call(self.driver().delete(&context, &target)).await
            }
            AttemptStep::Action { operation_id } => {
                let Some(open) = entity.operation(*operation_id) else {
                    let message = "the action was taken back";
                    return Err(Failure::harmless(ErrorClass::Cancelled, "cancelled", message));
                };
                let OperationKind::Action(action) = &open.kind else {
                    let message = "an action's attempt serves no action";
                    return Err(Failure::harmless(ErrorClass::Bug, "no_action", message));
                };
                let (action, input) = (action.clone(), open.input.clone());
                let act = Act { target, action, input, spec };
                self.call(self.driver().action(&context, &act)).await
            }
            AttemptStep::None => Ok(Outcome::Done { external_id: None, attributes: Value::Null }),
        }
    }

    /// Records the outcome of the running attempt's call.
    pub(crate) async fn record_outcome(
        &self,
        entity: &Arc<Entity>,
        outcome: Result<Outcome, Failure>,
    ) -> Result<StepResult, Error> {
        let Some(running) = &entity.running else { return Ok(StepResult::Continue) };
        match outcome {
            Ok(Outcome::Pending { handle, poll_after_ms }) => {
                let pause = Duration::from_millis(poll_after_ms);
                let known = running.pending.as_ref().is_some_and(|(known, _)| *known == handle);
                if !known {
                    let poll_at = self.now().after(pause);
                    let attempt = entity.attempt;
                    self.report(entity, &Intent::Progress { attempt, handle, poll_at }).await?;
                }
                Ok(StepResult::RequeueAfter(pause))
            }
            Ok(Outcome::Done { external_id, .. }) => {
                let made = external_id.filter(|_| matches!(running.step, AttemptStep::Create));
                self.verify(entity, running, made).await
            }
            Err(failure) => match (&failure.class, &running.step) {
                (ErrorClass::AlreadyExists { external_id }, AttemptStep::Create) => {
                    let id = external_id.clone();
                    self.verify_if_ours(entity, running, &id, &failure).await
                }
                (
                    ErrorClass::NotFound,
                    AttemptStep::Delete | AttemptStep::Replace { .. } | AttemptStep::CleanUp { .. },
                ) => self.verify(entity, running, None).await,
                _ => self.fail(entity, Some(entity.attempt), None, &failure, None).await,
            },
        }
    }

    /// Observes whether the backend did what it answered, and ends the attempt accordingly.
    async fn verify(
        &self,
        entity: &Arc<Entity>,
        running: &RunningAttempt,
        made: Option<ExternalId>,
    ) -> Result<StepResult, Error> {
        if let Some(external_id) = &made {
            let intent = Intent::RecordExternalId {
                attempt: entity.attempt,
                incarnation: entity.incarnation,
                external_id: external_id.clone(),
            };
            self.report(entity, &intent).await?;
        }
        let id = match &running.step {
            AttemptStep::CleanUp { external_id } => Some(external_id),
            _ => made.as_ref().or(entity.observed.external_id.as_ref()),
        };
        let confirmation = self.backend.availability.confirmation();
        let seen = match id {
            Some(id) => self.observe_known(entity, id).await,
            None => self.observe(entity).await,
        };
        if matches!(seen, Ok(ObserveOutcome::Present { .. })) {
            self.baseline.record(confirmation);
        }
        let goes = matches!(
            running.step,
            AttemptStep::Delete | AttemptStep::Replace { .. } | AttemptStep::CleanUp { .. }
        );
        let failure = match seen {
            Ok(ObserveOutcome::Absent) if goes => {
                let observed = self.observed_absent();
                return self.complete_attempt(entity, running, observed, Vec::new()).await;
            }
            Ok(ObserveOutcome::Present { object, .. }) if !goes => {
                return self.compare_result(entity, running, &object).await;
            }
            Ok(_) => {
                let message = "the backend accepted the change, but it does not show yet";
                Failure::doubtful(ErrorClass::Transient, "not_visible_yet", message)
            }
            Err(failure) => Failure { effect: Effect::Maybe, ..failure },
        };
        self.fail(entity, Some(entity.attempt), None, &failure, None).await
    }

    /// Compares the object with what the attempt wanted, and ends the attempt as completed or as not converged.
    async fn compare_result(
        &self,
        entity: &Arc<Entity>,
        running: &RunningAttempt,
        object: &Object,
    ) -> Result<StepResult, Error> {
        let fresh = self.shared.entities.fresh(entity.id).await?;
        let still = fresh.running.as_ref().filter(|_| fresh.attempt == entity.attempt);
        let desired = still.and_then(|running| running.desired.as_ref());
        let desired = desired.unwrap_or(&fresh.manifest.desired);
        let resolved = match self.resolve_for_comparison(&fresh, desired).await? {
            Ok(resolved) => resolved,
            // An action does not change desired fields, so the last known difference stands.
            Err(_) if matches!(running.step, AttemptStep::Action { .. }) => {
                let observed = self.unchanged_observation(&fresh, object);
                return self
                    .complete_attempt(entity, running, observed, last_known_diff(&fresh))
                    .await;
            }
            // A reference's target changed in the meantime, so the result cannot be compared.
            Err(unresolved) => {
                let failure = Failure { effect: Effect::Maybe, ..unresolved.into() };
                return self.fail(entity, Some(entity.attempt), None, &failure, None).await;
            }
        };
        let seen = &object.attributes;
        let comparison = compare(self.driver(), self.kind, &fresh, &resolved.desired, seen);
        if matches!(running.step, AttemptStep::Action { .. }) {
            let observed = self.unchanged_observation(&fresh, object);
            return self.complete_attempt(entity, running, observed, comparison.diff).await;
        }
        let remaining = match comparison.plan {
            Plan::Noop => {
                let observed = self.observed(object, running.generation, resolved.references);
                return self.complete_attempt(entity, running, observed, Vec::new()).await;
            }
            Plan::Update { fields } | Plan::Replace { fields } => fields,
        };
        let message = format!("accepted, but still different: {}", remaining.join(", "));
        let failure = Failure {
            effect: Effect::Partial,
            ..Failure::harmless(ErrorClass::Transient, "not_converged", message)
        };
        let next = self.retry_context(&fresh).after_unconverged(&failure, &remaining);
        let failing = FailureReport {
            attempt: Some(entity.attempt),
            takes_over: None,
            error: failure,
            next,
            remaining,
            action: None,
        };
        let done = self.report(entity, &Intent::Fail(failing)).await?;
        Ok(self.result_after(&done.entity))
    }

    async fn complete_attempt(
        &self,
        entity: &Arc<Entity>,
        running: &RunningAttempt,
        observed: Observed,
        diff: Vec<Difference>,
    ) -> Result<StepResult, Error> {
        let completion = Completion {
            attempt: Some(entity.attempt),
            takes_over: None,
            generation: running.generation,
            step: running.step.clone(),
            observed,
            diff,
            operations: running.operations.clone(),
        };
        let done = self.report(entity, &Intent::Complete(completion)).await?;
        Ok(self.result_after(&done.entity))
    }

    /// The backend answered that the identity is taken. The object is ours if it carries our owner key, which an
    /// earlier creation of ours wrote; otherwise the attempt fails.
    async fn verify_if_ours(
        &self,
        entity: &Arc<Entity>,
        running: &RunningAttempt,
        id: &ExternalId,
        failure: &Failure,
    ) -> Result<StepResult, Error> {
        if let Ok(ObserveOutcome::Present { object, .. }) = self.observe_known(entity, id).await
            && object.owner_key.as_ref() == Some(&entity.owner_key())
        {
            return self.verify(entity, running, Some(object.external_id)).await;
        }
        self.fail(entity, Some(entity.attempt), None, failure, None).await
    }

    /// Whether an action may be repeated when its outcome is unknown.
    pub(crate) fn is_repeatable(&self, entity: &Entity, operation: OperationId) -> bool {
        match entity.operation(operation).map(|open| &open.kind) {
            Some(OperationKind::Action(name)) => {
                self.kind.action(name).is_some_and(|action| action.idempotent)
            }
            _ => false,
        }
    }

    pub(crate) fn retry_context<'a>(&'a self, entity: &'a Entity) -> RetryContext<'a> {
        RetryContext {
            entity,
            kind: self.kind,
            settings: &self.backend.settings,
            now: self.now(),
            jitter: self.shared.clock.jitter(),
        }
    }

    /// The spec for a call of `step`, with the values of secrets where the step writes fields.
    pub(crate) fn call_spec(
        &self,
        entity: &Entity,
        step: &AttemptStep,
        spec: &Value,
    ) -> Result<Value, Failure> {
        match step {
            AttemptStep::Create | AttemptStep::Update { .. } | AttemptStep::Action { .. } => {
                self.shared.secrets.resolve(self.kind, &entity.manifest.namespace, spec)
            }
            AttemptStep::None
            | AttemptStep::Delete
            | AttemptStep::Replace { .. }
            | AttemptStep::CleanUp { .. } => Ok(spec.clone()),
        }
    }

    /// Blocks the entity on a secret that is not configured, or not any more. It is tried again after a reload, and at
    /// intervals.
    pub(crate) async fn await_secret(
        &self,
        entity: &Arc<Entity>,
        takes_over: Option<Attempt>,
        failure: &Failure,
    ) -> Result<StepResult, Error> {
        let pause = self.backend.settings.breaker.probe_interval;
        let blocked = entity.blocked.as_ref();
        let reported = blocked.is_some_and(|blocked| {
            blocked.on == BlockedOn::Secret && blocked.message == failure.message
        });
        if reported && takes_over.is_none() {
            return self.defer_change(entity, None).await;
        }
        let next = Next::Blocked { on: BlockedOn::Secret, check_at: self.now().after(pause) };
        self.fail_with(entity, takes_over, failure, next).await
    }
}
