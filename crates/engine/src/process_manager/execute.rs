//! Executing one action of the planner: record the intent, call, verify, record the result.

use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Intent, ObservationReport};
use stateward_domain::entity::state::{AttemptStep, OperationKind};
use stateward_domain::envelope::Envelope;
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::{Act, CallContext, Create, ObjectRef, Outcome, Update};

use crate::backends::mass_absence::MassAbsence;
use crate::commands::CommandOutcome;
use crate::error::{CommandError, QueryError};
use crate::process_manager::lease::AttemptControl;
use crate::process_manager::plan::{
    Action, AfterCall, Observation, QUEUE_LAG, Requeue, Resolution, RoundContext, Start,
    after_call, after_cancel, after_owner_check, after_poll, after_verification, claim_refused,
    desired_of_attempt, is_compared, missing_secret, requeue_for_work,
};
use crate::process_manager::round::Round;

impl Round<'_> {
    /// Carries out `action`, which was planned in context `c`. If another entity has the claim on its object, that is
    /// recorded instead.
    pub(super) async fn execute(
        &self,
        c: &RoundContext<'_>,
        action: Action,
    ) -> Result<Requeue, CommandError> {
        let refused = claim_refused(c, &action);
        match (self.carry_out(c, action).await, refused) {
            (Err(CommandError::IdentityTaken { .. }), Some(refused)) => {
                Box::pin(self.carry_out(c, refused)).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn carry_out(
        &self,
        c: &RoundContext<'_>,
        action: Action,
    ) -> Result<Requeue, CommandError> {
        match action {
            Action::Wait(requeue) => Ok(requeue),
            Action::Start(start) => self.start(c, *start).await,
            Action::Complete { completion, requeue } => {
                let done = self.report(c.entity, &Intent::Complete(completion)).await?;
                Ok(requeue.unwrap_or_else(|| requeue_for_work(&done.entity, self.now())))
            }
            Action::Fail(report) => {
                let done = self.report(c.entity, &Intent::Fail(report)).await?;
                Ok(requeue_for_work(&done.entity, self.now()))
            }
            Action::Observe { report, recorded, unchanged } => {
                let done = self.report(c.entity, &Intent::Observe(report)).await?;
                if done.events.is_empty() {
                    Box::pin(self.execute(c, *unchanged)).await
                } else {
                    Ok(recorded)
                }
            }
            Action::Record { report, then } => {
                self.report(c.entity, &Intent::Observe(report)).await?;
                Box::pin(self.execute(c, *then)).await
            }
            Action::RecordLoss(report) => self.record_loss(c, report).await,
        }
    }

    /// The object is gone. Before that is recorded, the backend has to be the one that is known, and not too many of
    /// its objects may be gone at once.
    async fn record_loss(
        &self,
        c: &RoundContext<'_>,
        report: ObservationReport,
    ) -> Result<Requeue, CommandError> {
        let probed = Requeue::After(c.settings.breaker.probe_interval);
        if self.baseline.counts() {
            match self.count_absence().await? {
                MassAbsence::Tolerated => {}
                MassAbsence::Outdated => return Ok(Requeue::After(QUEUE_LAG)),
                MassAbsence::Parks(cause) => {
                    self.shared.park(self.backend, cause, self.baseline.known()).await?;
                    return Ok(probed);
                }
            }
        }
        let _ = self.shared.identify(self.backend).await;
        if self.backend.availability.unavailable(self.moment()).is_some() {
            return Ok(probed);
        }
        self.report(c.entity, &Intent::Observe(report)).await?;
        Ok(Requeue::Now)
    }

    /// Counts the absence that was observed last, and compares what all members counted. One that is not compared does not
    /// count: the next round observes it again.
    async fn count_absence(&self) -> Result<MassAbsence, CommandError> {
        let (at, known) = (self.moment().steady, self.baseline.known());
        self.backend.mass_absence.record(at, true, known);
        let compared = self.shared.membership.mass_absence(self.backend, known).await;
        if compared.is_err() {
            self.backend.mass_absence.retract(at);
        }
        Ok(compared.map_err(QueryError::from)?)
    }

    /// Begins an attempt and carries it as far as it goes. What cannot be sent is not begun: secrets come first.
    async fn start(&self, c: &RoundContext<'_>, start: Start) -> Result<Requeue, CommandError> {
        let namespace = &c.entity.manifest.namespace;
        let spec = match &start.spec {
            Some(spec) => match self.shared.secrets.resolve(self.kind, namespace, spec) {
                Ok(spec) => spec,
                Err(failure) => {
                    return Box::pin(self.execute(c, missing_secret(c, &failure))).await;
                }
            },
            None => Value::Null,
        };
        let envelope = envelope(c.entity);
        // Not `report`: an intent that cannot be recorded now is no result that must not be lost.
        let done =
            self.shared.commands.execute(self.lease.entity, &envelope, &start.intent).await?;
        self.note_position(&done);
        let begun = done.entity;
        let outcome = match self.unrecorded_object(&begun, &start).await? {
            Some(found) => found,
            None => self.act(&begun, &start, spec).await,
        };
        let c = self.context(&begun, None);
        Box::pin(self.conclude(&c, after_call(&c, outcome))).await
    }

    /// The object that a creation made whose intent the log lost, as the outcome of `start`; `None` = it has to be made. The
    /// intent of `start` is recorded, so a search that breaks off is repeated as after a lost reply.
    async fn unrecorded_object(
        &self,
        begun: &Entity,
        start: &Start,
    ) -> Result<Option<Result<Outcome, Failure>>, CommandError> {
        if !start.search_first {
            return Ok(None);
        }
        let found = match self.find_owned(begun, begun.owner_key()).await {
            Ok(found) => found,
            Err(failure) => return Ok(Some(Err(Failure { effect: Effect::Maybe, ..failure }))),
        };
        let mut found = found.into_iter();
        let Some(object) = found.next() else { return Ok(None) };
        let extra: Vec<_> = found.map(|object| object.external_id).collect();
        self.record_strays(begun, &extra).await?;
        let (external_id, attributes) = (Some(object.external_id), object.attributes);
        Ok(Some(Ok(Outcome::Done { external_id, attributes })))
    }

    async fn act(&self, entity: &Entity, start: &Start, spec: Value) -> Result<Outcome, Failure> {
        let context = self.call_context(entity);
        let driver = &*self.backend.settings.driver;
        let kind = entity.manifest.kind.clone();
        let target = object_ref(entity, start.object.as_ref());
        match &start.step {
            AttemptStep::Create => {
                let create = Create { kind, owner_key: entity.owner_key(), spec };
                self.call(driver.create(&context, &create)).await
            }
            AttemptStep::Update { fields } => {
                let (fields, observed) = (fields.clone(), start.observed.clone());
                let update = Update { target, spec, fields, observed };
                self.call(driver.update(&context, &update)).await
            }
            AttemptStep::Delete | AttemptStep::Replace { .. } | AttemptStep::CleanUp { .. } => {
                self.call(driver.delete(&context, &target)).await
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
                self.call(driver.action(&context, &act)).await
            }
            AttemptStep::None => Ok(Outcome::Done { external_id: None, attributes: Value::Null }),
        }
    }

    /// Asks the backend how the running attempt of `c.entity` stands.
    pub(super) async fn poll(
        &self,
        c: &RoundContext<'_>,
        handle: &Value,
    ) -> Result<Requeue, CommandError> {
        let context = self.call_context(c.entity);
        let outcome = self.call(self.backend.settings.driver.resume(&context, handle)).await;
        let age = self.age_of_attempt(c.entity);
        let c = self.context(c.entity, None);
        self.conclude(&c, after_poll(&c, outcome, age)).await
    }

    /// Asks the backend to give up the running attempt of `c.entity`.
    pub(super) async fn cancel(
        &self,
        c: &RoundContext<'_>,
        handle: &Value,
    ) -> Result<Requeue, CommandError> {
        let context = self.call_context(c.entity);
        let result = self.call(self.backend.settings.driver.cancel(&context, handle)).await;
        let age = self.age_of_attempt(c.entity);
        let c = self.context(c.entity, None);
        self.execute(&c, after_cancel(&c, result, age)).await
    }

    /// Ends the running attempt of `c.entity`, or leaves it to a later round.
    async fn conclude(
        &self,
        c: &RoundContext<'_>,
        after: AfterCall,
    ) -> Result<Requeue, CommandError> {
        let after = match after {
            AfterCall::VerifyOwner { object, failure } => {
                let observation = self.observe_object(c.entity, &object).await;
                after_owner_check(c, &observation, &failure)
            }
            other => other,
        };
        match after {
            AfterCall::Act(action) => self.execute(c, action).await,
            AfterCall::Progress { intent, requeue } => {
                self.report(c.entity, &intent).await?;
                Ok(requeue)
            }
            AfterCall::Verify { made, object } => {
                if let Some(intent) = made {
                    self.report(c.entity, &intent).await?;
                }
                self.verify(c.entity, object.as_ref()).await
            }
            // The owner check asks for no second one.
            AfterCall::VerifyOwner { .. } => Ok(Requeue::Now),
        }
    }

    /// Observes whether the backend did what the running attempt of `entity` asked for, and ends the attempt.
    async fn verify(
        &self,
        entity: &Entity,
        object: Option<&ExternalId>,
    ) -> Result<Requeue, CommandError> {
        let confirmation = self.backend.availability.confirmation();
        let known = self.backend.availability.confirmed();
        let observation = match object {
            Some(id) => self.observe_object(entity, id).await,
            None => self.observe_or_find(entity).await,
        };
        if matches!(observation, Observation::Present { .. }) {
            self.baseline.record(confirmation, known);
        }
        let c = self.context(entity, None);
        let action = if is_compared(&c, &observation) {
            let fresh = self.shared.entities.fresh(entity.id).await?;
            let desired = desired_of_attempt(entity, &fresh);
            let resolution = self.resolver().for_comparison(&fresh, desired).await?;
            after_verification(&c, &fresh, &observation, &resolution)
        } else {
            after_verification(&c, entity, &observation, &Resolution::None)
        };
        self.execute(&c, action).await
    }

    /// Appends a result: retried until it is in the log or the aggregate refuses it.
    pub(super) async fn report(
        &self,
        entity: &Entity,
        intent: &Intent,
    ) -> Result<CommandOutcome, CommandError> {
        let envelope = envelope(entity);
        let done = self.shared.commands.report(self.lease.entity, &envelope, intent).await?;
        self.note_position(&done);
        Ok(done)
    }

    /// Makes a call within the backend's limits, and records its success or failure for the circuit breaker.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.backend.wait_for_rate_limit().await;
        let outcome = call.await;
        match &outcome {
            Ok(_) => self.backend.availability.record_success(self.moment()),
            Err(failure) => self.shared.record_failure(self.backend, failure).await,
        }
        outcome
    }

    pub(super) fn call_context(&self, entity: &Entity) -> CallContext {
        let attempt = entity.attempt;
        let control = AttemptControl {
            lease: Arc::clone(&self.lease),
            commands: self.shared.commands.clone(),
            envelope: envelope(entity),
            attempt,
            incarnation: entity.incarnation,
            deadline: self.shared.clock.elapsed() + self.backend.settings.call_timeout,
            secrets: Arc::clone(&self.shared.secrets),
            last_observed: entity.observed.attributes.clone(),
        };
        CallContext { attempt, control: Arc::new(control) }
    }
}

/// The object called `id` as a target of calls; the one to be made when there is none.
pub(super) fn object_ref(entity: &Entity, id: Option<&ExternalId>) -> ObjectRef {
    ObjectRef {
        kind: entity.manifest.kind.clone(),
        external_id: id.cloned().unwrap_or_default(),
        owner_key: entity.object_key(),
    }
}

/// The envelope of what process managers do for `entity`.
fn envelope(entity: &Entity) -> Envelope {
    let namespace = entity.manifest.namespace.clone();
    Envelope {
        operation: entity.operations.first().map(|open| open.id),
        ..Envelope::system("process-manager", namespace)
    }
}
