//! Decisions on reports of process managers: intents, progress, results. The attempt number fences stale reports.

use serde_json::Value;

use super::user::is_action;
use crate::entity::aggregate::Entity;
use crate::entity::command::{Completion, FailureReport, Refusal};
use crate::entity::event::{EntityEvent, Next};
use crate::entity::state::{
    AttemptStep, BlockedOn, DeletionPolicy, DriftPolicy, ManagementPolicy, OpenOperation,
    OperationKind, Presence,
};
use crate::id::{Attempt, ExternalId, Generation, Incarnation, OperationId};
use crate::time::Timestamp;

type Decided = Result<Vec<EntityEvent>, Refusal>;

/// Arguments of [`Intent::Start`](crate::entity::command::Intent::Start).
pub(super) struct Start<'a> {
    pub(super) takes_over: Option<Attempt>,
    pub(super) generation: Generation,
    pub(super) step: &'a AttemptStep,
    pub(super) was_present: bool,
    pub(super) found: Option<&'a ExternalId>,
    pub(super) operations: &'a [OperationId],
}

pub(super) fn start(entity: &Entity, at: Timestamp, start: &Start<'_>) -> Decided {
    if !entity.exists() {
        return Err(Refusal::Nonexistent);
    }
    check_takeover(entity, start.takes_over)?;
    if start.takes_over.is_some() && entity.trouble.abandoned + 1 >= Entity::MAX_ABANDONED {
        return Err(Refusal::TooManyAbandoned);
    }
    if start.generation != entity.generation {
        return Err(Refusal::StaleObservation);
    }
    check_policies(entity, start)?;
    check_precondition(entity, start)?;
    let attempt = entity.attempt.next();
    let incarnation = if matches!(start.step, AttemptStep::Create) {
        entity.next_incarnation()
    } else {
        entity.incarnation
    };
    let mut events = vec![EntityEvent::SyncStarted {
        at,
        attempt,
        takes_over: start.takes_over,
        generation: start.generation,
        incarnation,
        step: start.step.clone(),
        was_present: start.was_present,
        operations: still_open(entity, start.operations),
    }];
    if let Some(id) = start.found.filter(|id| entity.observed.external_id.as_ref() != Some(*id)) {
        events.push(EntityEvent::ExternalIdRecorded {
            at,
            attempt,
            incarnation,
            external_id: id.clone(),
        });
    }
    Ok(events)
}

/// Whether policies, pause and pending deletion allow the step.
fn check_policies(entity: &Entity, start: &Start<'_>) -> Result<(), Refusal> {
    let step = start.step;
    if entity.is_deleted() {
        return if matches!(step, AttemptStep::CleanUp { .. }) {
            Ok(())
        } else {
            Err(Refusal::Deleted)
        };
    }
    if !step.mutates() {
        return Ok(());
    }
    if entity.manifest.settings.management_policy == ManagementPolicy::ObserveOnly {
        return Err(Refusal::ObserveOnly);
    }
    if entity.paused.is_some() {
        return Err(Refusal::Paused);
    }
    match step {
        AttemptStep::Create | AttemptStep::Update { .. } | AttemptStep::Replace { .. } => {
            if entity.trouble.erred {
                return Err(Refusal::Erred);
            }
            if entity.deletion.is_some() {
                return Err(Refusal::DeletionPending);
            }
            match step {
                AttemptStep::Create if entity.only_adopts() => Err(Refusal::AdoptOnly),
                AttemptStep::Replace { .. } => entity.replaceable().map_err(Refusal::Irreplaceable),
                // `AdoptOnly` and permission to replace concern no other step.
                AttemptStep::Create
                | AttemptStep::Update { .. }
                | AttemptStep::None
                | AttemptStep::Delete
                | AttemptStep::Action { .. }
                | AttemptStep::CleanUp { .. } => Ok(()),
            }
        }
        AttemptStep::Delete if entity.deletion != Some(DeletionPolicy::Delete) => {
            Err(Refusal::Unfit("no deletion is wanted"))
        }
        AttemptStep::Delete if entity.trouble.erred => Err(Refusal::Erred),
        // Another deletion was requested since this one was planned.
        AttemptStep::Delete if !serves_deletion(entity, start.operations) => {
            Err(Refusal::StaleObservation)
        }
        AttemptStep::Action { operation_id } if entity.operation(*operation_id).is_none() => {
            Err(Refusal::NoSuchOperation)
        }
        AttemptStep::Delete
        | AttemptStep::Action { .. }
        | AttemptStep::CleanUp { .. }
        | AttemptStep::None => Ok(()),
    }
}

fn serves_deletion(entity: &Entity, operations: &[OperationId]) -> bool {
    let mut open = entity.operations.iter().filter(|open| open.kind == OperationKind::Delete);
    open.all(|open| operations.contains(&open.id))
}

/// Whether the step fits the observation right before it.
fn check_precondition(entity: &Entity, start: &Start<'_>) -> Result<(), Refusal> {
    match start.step {
        AttemptStep::Create if start.was_present => {
            Err(Refusal::Unfit("create, but the object is there"))
        }
        AttemptStep::Update { .. }
        | AttemptStep::Replace { .. }
        | AttemptStep::Delete
        | AttemptStep::Action { .. }
            if !start.was_present =>
        {
            Err(Refusal::Unfit("change, but the object is not there"))
        }
        AttemptStep::Update { .. } | AttemptStep::Replace { .. } | AttemptStep::Delete
            if start.found.is_none() && entity.observed.external_id.is_none() =>
        {
            Err(Refusal::Unfit("change, but the object has no name"))
        }
        AttemptStep::CleanUp { external_id } if !entity.strays.contains_key(external_id) => {
            Err(Refusal::Unfit("clean-up of what is no stray"))
        }
        AttemptStep::Create
        | AttemptStep::Update { .. }
        | AttemptStep::Replace { .. }
        | AttemptStep::Delete
        | AttemptStep::Action { .. }
        | AttemptStep::CleanUp { .. }
        | AttemptStep::None => Ok(()),
    }
}

pub(super) fn record_id(
    entity: &Entity,
    at: Timestamp,
    attempt: Attempt,
    incarnation: Incarnation,
    external_id: &ExternalId,
) -> Decided {
    if !entity.exists() {
        return Err(Refusal::Nonexistent);
    }
    let known = entity.observed.external_id.as_ref() == Some(external_id);
    if entity.running.is_some() && attempt == entity.attempt {
        if known {
            return Ok(Vec::new());
        }
        let external_id = external_id.clone();
        return Ok(vec![EntityEvent::ExternalIdRecorded { at, attempt, incarnation, external_id }]);
    }
    Ok(stray(entity, at, attempt, external_id))
}

/// The external id of a stale attempt is recorded as a stray, unless it is the entity's own object.
fn stray(
    entity: &Entity,
    at: Timestamp,
    attempt: Attempt,
    external_id: &ExternalId,
) -> Vec<EntityEvent> {
    let own = entity.observed.external_id.as_ref() == Some(external_id) && !entity.is_deleted();
    if own || entity.strays.contains_key(external_id) {
        return Vec::new();
    }
    vec![EntityEvent::StrayFound { at, attempt, external_id: external_id.clone() }]
}

pub(super) fn progress(
    entity: &Entity,
    at: Timestamp,
    attempt: Attempt,
    handle: &Value,
    poll_at: Timestamp,
) -> Decided {
    if entity.running.is_none() || attempt != entity.attempt {
        return Err(Refusal::StaleAttempt);
    }
    Ok(vec![EntityEvent::SyncProgressed { at, attempt, handle: handle.clone(), poll_at }])
}

pub(super) fn complete(entity: &Entity, at: Timestamp, done: &Completion) -> Decided {
    if !entity.exists() {
        return Err(Refusal::Nonexistent);
    }
    let (mut events, attempt) =
        match fence(entity, at, done.attempt, done.takes_over, done.generation) {
            Ok(fenced) => fenced,
            Err(Refusal::StaleAttempt) => {
                let made = matches!(done.step, AttemptStep::Create);
                let late = done.observed.external_id.as_ref().filter(|_| made);
                return match (late, done.attempt) {
                    (Some(id), Some(attempt)) => Ok(stray(entity, at, attempt, id)),
                    _ => Err(Refusal::StaleAttempt),
                };
            }
            Err(refusal) => return Err(refusal),
        };
    if entity.is_deleted() && !matches!(done.step, AttemptStep::CleanUp { .. }) {
        return Err(Refusal::Deleted);
    }
    check_step(entity, done)?;
    let gone = done.observed.presence == Presence::Absent;
    if matches!(done.step, AttemptStep::Delete | AttemptStep::Replace { .. }) && !gone {
        return Err(Refusal::Unfit("deletion ends with proof of absence only"));
    }
    let drift_is_over = done.step.only_observes()
        && done.observed.presence == Presence::Present
        && done.diff.is_empty()
        && entity.drift.is_some();
    if drift_is_over {
        events.push(EntityEvent::DriftCleared { at, observed: done.observed.clone() });
    }
    let mut operations = still_open(entity, &done.operations);
    if matches!(done.step, AttemptStep::Replace { .. }) {
        // Only the first half of the change: its operations end with the second half.
        operations.clear();
    }
    let ends_life = gone
        && entity.deletion == Some(DeletionPolicy::Delete)
        && !matches!(done.step, AttemptStep::CleanUp { .. } | AttemptStep::Action { .. });
    if ends_life {
        operations.retain(|id| {
            entity.operation(*id).is_some_and(|open| open.kind != OperationKind::Delete)
        });
    }
    events.push(EntityEvent::SyncCompleted {
        at,
        attempt,
        generation: done.generation,
        step: done.step.clone(),
        observed: done.observed.clone(),
        operations: operations.clone(),
    });
    if ends_life {
        events.extend(end_of_life(entity, at, &operations));
    } else {
        events.extend(new_drift(entity, at, done));
    }
    Ok(events)
}

/// A changing step must have been begun as the same step. A stray that is absent, or not ours, needs no attempt.
fn check_step(entity: &Entity, done: &Completion) -> Result<(), Refusal> {
    let fits = match (done.attempt, &entity.running) {
        (Some(_), Some(running)) => running.step == done.step,
        _ => matches!(done.step, AttemptStep::None | AttemptStep::CleanUp { .. }),
    };
    if fits { Ok(()) } else { Err(Refusal::Unfit("the end of a step that was not begun")) }
}

/// Ends all open operations with the entity, but for `ended`, which the event before ends.
fn end_of_life(entity: &Entity, at: Timestamp, ended: &[OperationId]) -> Vec<EntityEvent> {
    let rest = entity.operations.iter().filter(|open| !ended.contains(&open.id));
    let (deletes, others): (Vec<_>, Vec<_>) =
        rest.partition(|open| open.kind == OperationKind::Delete);
    let mut events: Vec<_> = others
        .iter()
        .map(|open| EntityEvent::OperationCancelled { at, operation_id: open.id })
        .collect();
    let operations = deletes.iter().map(|open| open.id).collect();
    events.push(EntityEvent::Deleted { at, operations });
    events
}

fn new_drift(entity: &Entity, at: Timestamp, done: &Completion) -> Option<EntityEvent> {
    let policy = entity.manifest.settings.drift_policy;
    // Any other step ends the drift that was known.
    let known = done.step.only_observes()
        && entity.drift.as_ref().is_some_and(|drift| drift.diff == done.diff);
    if done.diff.is_empty() || known || policy == DriftPolicy::Ignore {
        return None;
    }
    let (diff, observed) = (done.diff.clone(), done.observed.clone());
    Some(EntityEvent::DriftDetected { at, policy, diff, observed })
}

pub(super) fn fail(entity: &Entity, at: Timestamp, report: &FailureReport) -> Decided {
    if !entity.exists() {
        return Err(Refusal::Nonexistent);
    }
    let (mut events, attempt) =
        fence(entity, at, report.attempt, report.takes_over, entity.generation)?;
    let running = entity.running.as_ref();
    let generation = running.map_or(entity.generation, |running| running.generation);
    let cancelled =
        running.and_then(|running| running.cancel).filter(|id| entity.operation(*id).is_some());
    let mut operations: Vec<OperationId> = match &report.next {
        Next::Erred if !entity.is_deleted() => {
            entity.operations.iter().filter(|open| !is_action(open)).map(|open| open.id).collect()
        }
        // A refresh or retry asked for one attempt, which was made; only the change itself continues to wait.
        Next::Blocked { .. } => {
            let once = |open: &&OpenOperation| {
                matches!(open.kind, OperationKind::Refresh | OperationKind::Retry)
            };
            entity.operations.iter().filter(once).map(|open| open.id).collect()
        }
        Next::Erred | Next::Retry { .. } => Vec::new(),
    };
    operations.extend(report.action.filter(|id| entity.operation(*id).is_some()));
    operations.retain(|id| Some(*id) != cancelled);
    events.push(EntityEvent::SyncFailed {
        at,
        attempt,
        generation,
        error: report.error.clone(),
        next: report.next.clone(),
        remaining: report.remaining.clone(),
        operations,
    });
    events
        .extend(cancelled.map(|operation_id| EntityEvent::OperationCancelled { at, operation_id }));
    events.extend(contest_of_taken_object(entity, at, &report.next));
    Ok(events)
}

/// An entity that waits for another one to free its object does not hold it.
fn contest_of_taken_object(entity: &Entity, at: Timestamp, next: &Next) -> Option<EntityEvent> {
    let taken = matches!(next, Next::Blocked { on: BlockedOn::ObjectTaken, .. });
    let lost = taken && !entity.contends() && !entity.is_deleted();
    let external_id = entity.observed.external_id.clone().filter(|_| lost)?;
    Some(EntityEvent::ObjectContested { at, external_id, holds: false })
}

/// The number of the attempt that ends, after the event that abandons another one if necessary.
///
/// An attempt that ends without having begun (nothing had to be changed, or an observation failed) gets the next
/// number. If an attempt still counts as running though its worker is gone, it is abandoned in the same append.
fn fence(
    entity: &Entity,
    at: Timestamp,
    attempt: Option<Attempt>,
    takes_over: Option<Attempt>,
    generation: Generation,
) -> Result<(Vec<EntityEvent>, Attempt), Refusal> {
    if let Some(attempt) = attempt {
        let running = entity.running.is_some() && attempt == entity.attempt;
        return if running { Ok((Vec::new(), attempt)) } else { Err(Refusal::StaleAttempt) };
    }
    check_takeover(entity, takes_over)?;
    if generation != entity.generation {
        return Err(Refusal::StaleObservation);
    }
    let attempt = entity.attempt.next();
    let begun = takes_over.map(|_| EntityEvent::SyncStarted {
        at,
        attempt,
        takes_over,
        generation,
        incarnation: entity.incarnation,
        step: AttemptStep::None,
        was_present: entity.observed.presence == Presence::Present,
        operations: Vec::new(),
    });
    Ok((begun.into_iter().collect(), attempt))
}

fn check_takeover(entity: &Entity, takes_over: Option<Attempt>) -> Result<(), Refusal> {
    let running = entity.running.as_ref().map(|_| entity.attempt);
    if running == takes_over { Ok(()) } else { Err(Refusal::StaleAttempt) }
}

fn still_open(entity: &Entity, ids: &[OperationId]) -> Vec<OperationId> {
    ids.iter().copied().filter(|id| entity.operation(*id).is_some()).collect()
}
