//! The reports and intents that actions consist of.

use std::collections::BTreeMap;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, FailureReport, Intent, ObservationReport};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{
    AttemptStep, BlockedOn, Difference, Observed, OperationKind, Presence,
};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{ExternalId, Generation, OperationId};
use stateward_domain::ports::driver::Object;
use stateward_domain::ports::sync_queue::LeaseReason;

use super::{Action, CHANGES_PAUSED, Requeue, RoundContext, Start};

/// Open operations that end once the object is as desired: all but actions.
pub(super) fn open_changes(entity: &Entity) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| !matches!(open.kind, OperationKind::Action(_))).map(|open| open.id).collect()
}

/// Open operations of these kinds.
pub(crate) fn open_of(entity: &Entity, kinds: &[OperationKind]) -> Vec<OperationId> {
    let open = entity.operations.iter();
    open.filter(|open| kinds.contains(&open.kind)).map(|open| open.id).collect()
}

/// Whether an abandoned attempt or an open operation waits for the result of this round.
pub(super) fn asked(c: &RoundContext<'_>) -> bool {
    c.takes_over.is_some() || !open_changes(c.entity).is_empty()
}

/// `object`, as it matches `generation` with these values of its references.
pub(super) fn present(
    c: &RoundContext<'_>,
    object: &Object,
    generation: Generation,
    references: BTreeMap<String, Value>,
) -> Observed {
    Observed {
        presence: Presence::Present,
        external_id: Some(object.external_id.clone()),
        attributes: Some(c.kind.without_write_only(&object.attributes)),
        generation,
        references,
        unready: c.settings.driver.unready(&c.kind.name, &object.attributes),
        observed_at: Some(c.now),
    }
}

/// `object`, as it matches what the entity's was last found to match: nothing was compared.
pub(super) fn unchanged(c: &RoundContext<'_>, entity: &Entity, object: &Object) -> Observed {
    let before = &entity.observed;
    present(c, object, before.generation, before.references.clone())
}

pub(super) fn absent(c: &RoundContext<'_>) -> Observed {
    Observed { observed_at: Some(c.now), ..Observed::default() }
}

/// The end of all open changes, without an attempt of its own.
pub(super) fn completion(
    c: &RoundContext<'_>,
    observed: Observed,
    diff: Vec<Difference>,
) -> Completion {
    Completion {
        attempt: None,
        takes_over: c.takes_over,
        generation: c.entity.generation,
        step: AttemptStep::None,
        observed,
        diff,
        operations: open_changes(c.entity),
    }
}

pub(super) fn complete(c: &RoundContext<'_>, observed: Observed, diff: Vec<Difference>) -> Action {
    Action::Complete { completion: completion(c, observed, diff), requeue: None }
}

/// What was observed, as a fact of its own. It proves nothing about the desired state.
pub(super) fn observation(
    c: &RoundContext<'_>,
    observed: Observed,
    diff: Vec<Difference>,
) -> ObservationReport {
    ObservationReport {
        generation: c.entity.generation,
        attempt: c.entity.attempt,
        observed,
        diff,
        in_sync: false,
        on_lost: c.settings.on_lost.unwrap_or(c.kind.on_lost),
    }
}

/// Records what was observed, if that is news, before `action`. An attempt that has to be taken over ends first.
pub(super) fn observed_before(
    c: &RoundContext<'_>,
    observed: Observed,
    diff: Vec<Difference>,
    action: Action,
) -> Action {
    if c.takes_over.is_some() {
        return action;
    }
    Action::Record { report: observation(c, observed, diff), then: Box::new(action) }
}

/// Begins an attempt for `step`, unless changes are paused. `spec`: what the call writes, and the attributes that an
/// update was planned on.
pub(super) fn start(
    c: &RoundContext<'_>,
    step: AttemptStep,
    object: Option<ExternalId>,
    spec: Option<(Value, Value)>,
) -> Action {
    if !c.may_change() {
        return not_now(c);
    }
    if !c.may_send {
        return Action::Wait(Requeue::After(std::time::Duration::ZERO));
    }
    let operations = match &step {
        AttemptStep::Action { operation_id } => vec![*operation_id],
        AttemptStep::CleanUp { .. } => Vec::new(),
        _ => open_changes(c.entity),
    };
    let named = !matches!(step, AttemptStep::Create | AttemptStep::CleanUp { .. });
    let intent = Intent::Start {
        takes_over: c.takes_over,
        generation: c.entity.generation,
        was_present: named,
        found: object.clone().filter(|_| named),
        step: step.clone(),
        operations,
    };
    let (spec, observed) = match spec {
        Some((spec, observed)) => (Some(spec), observed),
        None => (None, Value::Null),
    };
    let search_first = step == AttemptStep::Create && c.lost_creation.is_some() && c.kind.owner_key;
    Action::Start(Box::new(Start { step, intent, object, spec, observed, search_first }))
}

/// A change is wanted and must not be made now. An abandoned attempt ends nevertheless, and so do refreshes: they asked
/// for an observation, which there was.
pub(super) fn not_now(c: &RoundContext<'_>) -> Action {
    if c.takes_over.is_some() {
        let message = "the attempt was abandoned, and changes are paused";
        let failure = Failure::doubtful(ErrorClass::Cancelled, "paused", message);
        return fail_with(c, &failure, Next::Retry { at: c.now });
    }
    let refreshes = open_of(c.entity, &[OperationKind::Refresh]);
    if refreshes.is_empty() {
        return Action::Wait(Requeue::After(CHANGES_PAUSED));
    }
    let observed = Observed { observed_at: Some(c.now), ..c.entity.observed.clone() };
    let completion = Completion { operations: refreshes, ..completion(c, observed, Vec::new()) };
    Action::Complete { completion, requeue: Some(Requeue::After(CHANGES_PAUSED)) }
}

/// A failed observation is recorded when something waits for it; a check that learned nothing records nothing.
pub(super) fn observation_failed(c: &RoundContext<'_>, failure: &Failure) -> Action {
    let follows = c.reason == LeaseReason::Work && !c.entity.dependencies().is_empty();
    let asked = c.takes_over.is_some() || c.entity.work().is_some() || follows;
    if asked || failure.class == ErrorClass::Bug {
        return fail(c, failure, None);
    }
    Action::AWAIT_CHANGE
}

/// Fails what waits, before an attempt was begun; the table of error classes says what is next. `action`: one that
/// certainly ends with it.
pub(super) fn fail(c: &RoundContext<'_>, failure: &Failure, action: Option<OperationId>) -> Action {
    if c.takes_over.is_none() && action.is_none() && asks_again(c.entity, failure) {
        return Action::AWAIT_CHANGE;
    }
    let next = match action {
        Some(_) => Next::Retry { at: c.now },
        None => c.retry().next(failure),
    };
    Action::Fail(FailureReport { action, ..failure_report(c, failure, next) })
}

/// As [`fail()`], with `next` instead of the table's answer.
pub(super) fn fail_with(c: &RoundContext<'_>, failure: &Failure, next: Next) -> Action {
    Action::Fail(failure_report(c, failure, next))
}

fn failure_report(c: &RoundContext<'_>, failure: &Failure, next: Next) -> FailureReport {
    FailureReport {
        attempt: None,
        takes_over: c.takes_over,
        error: failure.clone(),
        next,
        remaining: Vec::new(),
        action: None,
    }
}

/// Whether a person is asked already what `failure` would ask: a check that finds nothing else records nothing.
fn asks_again(entity: &Entity, failure: &Failure) -> bool {
    let asked = entity.blocked.as_ref().is_some_and(|blocked| blocked.on == BlockedOn::Decision);
    asked && entity.error.as_ref() == Some(failure) && entity.work().is_none()
}
