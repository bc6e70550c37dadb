//! What follows a driver call, and an attempt that began in an earlier round.

use std::time::Duration;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, FailureReport, Intent};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{
    AttemptStep, Difference, Observed, OperationKind, RunningAttempt,
};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::{ExternalId, OperationId};
use stateward_domain::ports::driver::{Object, Outcome, Plan};

use super::action_builders::{self, fail_with};
use super::present::{compare, known_difference};
use super::{Action, Observation, Requeue, Resolution, Resolved, RoundContext};
use crate::process_manager::retry::backoff;

/// What a round does once a driver call of the running attempt has returned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AfterCall {
    /// Nothing is recorded, or the attempt's failure.
    Act(Action),
    /// Record the handle of work that goes on, then come back.
    Progress { intent: Intent, requeue: Requeue },
    /// Record `made`, the object of a creation, and observe `object`; `None` = find the entity's object.
    Verify { made: Option<Intent>, object: Option<ExternalId> },
    /// The identity is taken by `object`: it is the attempt's own if it carries the entity's owner key. Else `failure`
    /// ends the attempt.
    VerifyOwner { object: ExternalId, failure: Failure },
}

/// What follows the `outcome` of a call that the running attempt of `c.entity` made.
pub(crate) fn after_call(c: &RoundContext<'_>, outcome: Result<Outcome, Failure>) -> AfterCall {
    let Some(running) = &c.entity.running else {
        return AfterCall::Act(Action::Wait(Requeue::Now));
    };
    match outcome {
        Ok(Outcome::Pending { handle, poll_after_ms }) => {
            let pause = Duration::from_millis(poll_after_ms);
            let requeue = Requeue::After(pause);
            if running.pending.as_ref().is_some_and(|(known, _)| *known == handle) {
                return AfterCall::Act(Action::Wait(requeue));
            }
            let (attempt, poll_at) = (c.entity.attempt, c.now.after(pause));
            AfterCall::Progress { intent: Intent::Progress { attempt, handle, poll_at }, requeue }
        }
        Ok(Outcome::Done { external_id, .. }) => {
            verify(c.entity, running, external_id.filter(|_| running.step == AttemptStep::Create))
        }
        Err(failure) => match &failure.class {
            ErrorClass::AlreadyExists { external_id } if running.step == AttemptStep::Create => {
                AfterCall::VerifyOwner { object: external_id.clone(), failure }
            }
            ErrorClass::NotFound if deletes(&running.step) => verify(c.entity, running, None),
            _ => AfterCall::Act(fail_attempt(c, &failure)),
        },
    }
}

/// What follows [`AfterCall::VerifyOwner`].
pub(crate) fn after_owner_check(
    c: &RoundContext<'_>,
    observation: &Observation,
    failure: &Failure,
) -> AfterCall {
    match (observation, &c.entity.running) {
        (Observation::Present { object, .. }, Some(running))
            if object.owner_key.as_ref() == Some(&c.entity.owner_key()) =>
        {
            verify(c.entity, running, Some(object.external_id.clone()))
        }
        _ => AfterCall::Act(fail_attempt(c, failure)),
    }
}

fn verify(entity: &Entity, running: &RunningAttempt, made: Option<ExternalId>) -> AfterCall {
    let object = match &running.step {
        AttemptStep::CleanUp { external_id } => Some(external_id.clone()),
        _ => made.clone().or_else(|| entity.observed.external_id.clone()),
    };
    let made = made.map(|external_id| Intent::RecordExternalId {
        attempt: entity.attempt,
        incarnation: entity.incarnation,
        external_id,
    });
    AfterCall::Verify { made, object }
}

/// The desired state that the running attempt of `begun` works towards, given the entity as it is now.
pub(crate) fn desired_of_attempt<'e>(begun: &Entity, fresh: &'e Entity) -> &'e Value {
    let running = fresh.running.as_ref().filter(|_| fresh.attempt == begun.attempt);
    let desired = running.and_then(|running| running.desired.as_ref());
    desired.unwrap_or(&fresh.manifest.desired)
}

/// Whether the running attempt's result shows in a comparison, which takes its resolved desired state.
pub(crate) fn is_compared(c: &RoundContext<'_>, observation: &Observation) -> bool {
    let running = c.entity.running.as_ref();
    matches!(observation, Observation::Present { .. })
        && running.is_some_and(|running| !deletes(&running.step))
}

/// Ends the running attempt of `c.entity` on an observation after its call. `fresh`: the entity as it is now, to which
/// `resolution` belongs.
pub(crate) fn after_verification(
    c: &RoundContext<'_>,
    fresh: &Entity,
    observation: &Observation,
    resolution: &Resolution<'_>,
) -> Action {
    let Some(running) = &c.entity.running else { return Action::Wait(Requeue::Now) };
    let failure = match (observation, resolution) {
        (Observation::Absent, _) if deletes(&running.step) => {
            return succeed(c, running, action_builders::absent(c), Vec::new());
        }
        (Observation::Present { object, .. }, Resolution::Ready(resolved))
            if !deletes(&running.step) =>
        {
            return compared(c, running, fresh, object, resolved);
        }
        (Observation::Present { object, .. }, Resolution::Waiting(reference))
            if !deletes(&running.step) =>
        {
            // An action leaves alone what only the values could show.
            if matches!(running.step, AttemptStep::Action { .. }) {
                let observed = action_builders::unchanged(c, fresh, object);
                return succeed(c, running, observed, known_difference(fresh));
            }
            // The target changed in the meantime, so what was reached is unknown.
            Failure { effect: Effect::Maybe, ..reference.failure.clone() }
        }
        (Observation::Failed(failure), _) => Failure { effect: Effect::Maybe, ..failure.clone() },
        _ => {
            let message = "the backend accepted the change, but it does not show yet";
            Failure::doubtful(ErrorClass::Transient, "not_visible_yet", message)
        }
    };
    fail_attempt(c, &failure)
}

fn compared(
    c: &RoundContext<'_>,
    running: &RunningAttempt,
    fresh: &Entity,
    object: &Object,
    resolved: &Resolved<'_>,
) -> Action {
    let driver = &*c.settings.driver;
    let comparison = compare(driver, c.kind, fresh, resolved, &object.attributes);
    if matches!(running.step, AttemptStep::Action { .. }) {
        return succeed(c, running, action_builders::unchanged(c, fresh, object), comparison.diff);
    }
    let remaining = match comparison.plan {
        Plan::Noop => {
            let references = resolved.references.clone();
            let observed = action_builders::present(c, object, running.generation, references);
            return succeed(c, running, observed, comparison.diff);
        }
        Plan::Update { fields } | Plan::Replace { fields } => fields,
    };
    let message = format!("accepted, but still different: {}", remaining.join(", "));
    let error = Failure {
        effect: Effect::Partial,
        ..Failure::harmless(ErrorClass::Transient, "not_converged", message)
    };
    let context = RoundContext { entity: fresh, ..*c };
    let next = context.retry().after_unconverged(&error, &remaining);
    Action::Fail(FailureReport { remaining, ..of_attempt(c, error, next, None) })
}

fn succeed(
    c: &RoundContext<'_>,
    running: &RunningAttempt,
    observed: Observed,
    diff: Vec<Difference>,
) -> Action {
    let completion = Completion {
        attempt: Some(c.entity.attempt),
        takes_over: None,
        generation: running.generation,
        step: running.step.clone(),
        observed,
        diff,
        operations: running.operations.clone(),
    };
    Action::Complete { completion, requeue: None }
}

/// Ends the running attempt as failed; the table of error classes says what is next.
pub(super) fn fail_attempt(c: &RoundContext<'_>, failure: &Failure) -> Action {
    let retry = c.retry();
    let step = c.entity.running.as_ref().map(|running| &running.step);
    let (next, action) = match step {
        Some(AttemptStep::Action { operation_id }) => {
            let (next, ends) = retry.after_action(failure, is_repeatable(c, *operation_id));
            (next, Some(*operation_id).filter(|_| ends))
        }
        Some(AttemptStep::CleanUp { .. }) => (retry.after_clean_up(failure), None),
        _ => (retry.next(failure), None),
    };
    Action::Fail(of_attempt(c, failure.clone(), next, action))
}

fn of_attempt(
    c: &RoundContext<'_>,
    error: Failure,
    next: Next,
    action: Option<OperationId>,
) -> FailureReport {
    let attempt = Some(c.entity.attempt);
    FailureReport { attempt, takes_over: None, error, next, remaining: Vec::new(), action }
}

/// Whether an action of unknown outcome may be repeated.
fn is_repeatable(c: &RoundContext<'_>, operation: OperationId) -> bool {
    match c.entity.operation(operation).map(|open| &open.kind) {
        Some(OperationKind::Action(name)) => {
            c.kind.action(name).is_some_and(|action| action.idempotent)
        }
        _ => false,
    }
}

/// Ends an attempt whose worker is gone, where it must not be repeated. `None` = a further attempt takes over.
pub(super) fn abandon(c: &RoundContext<'_>, running: &RunningAttempt) -> Option<Action> {
    let action = action_of(running);
    let (failure, next, action) = if c.entity.trouble.abandoned + 1 >= Entity::MAX_ABANDONED {
        let message = format!("{} attempts in a row ended without a result", Entity::MAX_ABANDONED);
        let failure = Failure::doubtful(ErrorClass::Bug, "attempts_abandoned", message);
        (failure, Next::Erred, action)
    } else {
        let operation = action.filter(|id| !is_repeatable(c, *id))?;
        let message = "the worker vanished: the action may have been done";
        let class = ErrorClass::Ambiguous;
        let failure = Failure::doubtful(class, "action_outcome_unknown", message);
        (failure, Next::Retry { at: c.now }, Some(operation))
    };
    match fail_with(c, &failure, next) {
        Action::Fail(report) => Some(Action::Fail(FailureReport { action, ..report })),
        other => Some(other),
    }
}

/// What follows a poll. A failed one does not end the attempt when it may simply be repeated: the handle is the only trace
/// of the work. A partial effect is one of the work itself, which has ended. `age`: of the attempt.
pub(crate) fn after_poll(
    c: &RoundContext<'_>,
    outcome: Result<Outcome, Failure>,
    age: Duration,
) -> AfterCall {
    match outcome {
        Err(failure) if is_passing(&failure) && failure.effect != Effect::Partial => {
            AfterCall::Act(Action::Wait(Requeue::After(poll_pause(c, &failure, age))))
        }
        // The poll changed nothing, the work that it asks about may have.
        Err(failure) if failure.effect == Effect::None => {
            after_call(c, Err(Failure { effect: Effect::Maybe, ..failure }))
        }
        outcome => after_call(c, outcome),
    }
}

/// What follows the request to give up pending work. Only an observation shows whether that was possible.
pub(crate) fn after_cancel(
    c: &RoundContext<'_>,
    result: Result<(), Failure>,
    age: Duration,
) -> Action {
    if let Err(failure) = &result
        && is_passing(failure)
    {
        return Action::Wait(Requeue::After(poll_pause(c, failure, age)));
    }
    let message = "stopped on request";
    let error = Failure::doubtful(ErrorClass::Cancelled, "cancelled", message);
    let action = c.entity.running.as_ref().and_then(action_of);
    Action::Fail(of_attempt(c, error, Next::Retry { at: c.now }, action))
}

/// Grows with the attempt's age, so that a backend that is away is not polled all the time.
fn poll_pause(c: &RoundContext<'_>, failure: &Failure, age: Duration) -> Duration {
    let policy = &c.settings.retry;
    let grown = (age / 4).clamp(backoff(policy, 0), policy.max);
    failure.retry_after().unwrap_or(grown)
}

const fn action_of(running: &RunningAttempt) -> Option<OperationId> {
    match &running.step {
        AttemptStep::Action { operation_id } => Some(*operation_id),
        _ => None,
    }
}

const fn deletes(step: &AttemptStep) -> bool {
    matches!(step, AttemptStep::Delete | AttemptStep::Replace { .. } | AttemptStep::CleanUp { .. })
}

/// Whether a poll that failed so may simply be repeated.
const fn is_passing(failure: &Failure) -> bool {
    matches!(
        failure.class,
        ErrorClass::Transient
            | ErrorClass::Ambiguous
            | ErrorClass::Conflict
            | ErrorClass::RateLimited { .. }
            | ErrorClass::Unauthorized
            | ErrorClass::Misconfigured
            | ErrorClass::QuotaExceeded
            | ErrorClass::Refused
            | ErrorClass::Exhausted
            | ErrorClass::Cancelled
    )
}
