//! Folds what attempts did.

use super::{close, fresh_start};
use crate::entity::aggregate::{Applied, EndedBy, Entity};
use crate::entity::event::{EntityEvent, Next};
use crate::entity::references::targets_in;
use crate::entity::state::{AttemptStep, Blocked, Observed, Presence, RunningAttempt};
use crate::failure::{Effect, ErrorClass, Failure};
use crate::id::{Attempt, Generation, Incarnation};
use crate::time::Timestamp;

pub(super) fn on_sync(entity: &mut Entity, event: &EntityEvent) {
    match event {
        EntityEvent::SyncStarted {
            at,
            attempt,
            takes_over,
            generation,
            incarnation,
            step,
            was_present,
            operations,
        } => {
            entity.attempt = *attempt;
            if takes_over.is_some() {
                entity.trouble.abandoned += 1;
                creation_lost(entity, *at);
            }
            if matches!(step, AttemptStep::Create) {
                creation_intended(entity, *at, *incarnation);
            }
            entity.replacing = replacing(entity, step, *was_present);
            if step.mutates() && !matches!(step, AttemptStep::CleanUp { .. }) {
                entity.observed.presence = Presence::Unknown;
            }
            entity.blocked = None;
            entity.trouble.retry_at = None;
            entity.running = Some(RunningAttempt {
                step: step.clone(),
                generation: *generation,
                since: *at,
                was_present: *was_present,
                operations: operations.clone(),
                pending: None,
                cancel: None,
                write_only_dirty: entity.write_only_dirty,
                desired: None,
            });
            if matches!(step, AttemptStep::Create | AttemptStep::Update { .. }) {
                mark_content_unknown(entity);
            }
        }
        EntityEvent::ExternalIdRecorded { external_id, .. } => {
            entity.observed.external_id = Some(external_id.clone());
            entity.materialised = true;
        }
        EntityEvent::SyncProgressed { handle, poll_at, .. } => {
            if let Some(running) = &mut entity.running {
                running.pending = Some((handle.clone(), *poll_at));
            }
            entity.trouble.abandoned = 0;
        }
        EntityEvent::SyncCompleted { attempt, generation, step, observed, operations, .. } => {
            completed(entity, *attempt, *generation, step, observed);
            close(entity, operations);
        }
        EntityEvent::SyncFailed { at, attempt, error, next, remaining, operations, .. } => {
            failed(entity, *at, *attempt, error, next, remaining);
            close(entity, operations);
        }
        EntityEvent::StrayFound { attempt, external_id, .. }
            if !entity.released && entity.strays.len() < Entity::MAX_STRAYS =>
        {
            entity.strays.insert(external_id.clone(), *attempt);
        }
        _ => {}
    }
}

/// If the result of a first half is never known, the object's absence is our doing and no loss. If a later step finds
/// the object present, it was not deleted.
const fn replacing(entity: &Entity, step: &AttemptStep, was_present: bool) -> bool {
    matches!(step, AttemptStep::Replace { .. }) || (entity.replacing && !was_present)
}

fn creation_intended(entity: &mut Entity, at: Timestamp, incarnation: Incarnation) {
    if incarnation != entity.incarnation {
        entity.incarnation = incarnation;
        entity.materialised = false;
        entity.observed.external_id = None;
    }
    entity.adopted = false;
    entity.create_intended_at = Some(at);
    entity.create_lost_at = None;
    entity.create_allowed = false;
}

/// The running attempt ends at `at` without a known outcome. If it is a creation whose reply never came, its request may
/// still run in the backend.
fn creation_lost(entity: &mut Entity, at: Timestamp) {
    let running = entity.running.as_ref();
    if running.is_some_and(|run| run.step == AttemptStep::Create && run.pending.is_none()) {
        entity.create_lost_at = Some(at);
    }
}

/// From here on the object's content is unknown until an attempt succeeds.
fn mark_content_unknown(entity: &mut Entity) {
    entity.write_only_dirty = true;
    let desired = &entity.manifest.desired;
    entity.made_from.extend(targets_in(desired));
    let is_applied = entity.applied.as_ref().is_some_and(|applied| applied.desired == *desired);
    if is_applied || entity.attempted.contains(desired) {
        return;
    }
    if entity.attempted.len() == Entity::MAX_ATTEMPTED {
        entity.attempted.remove(0);
    }
    entity.attempted.push(desired.clone());
}

fn completed(
    entity: &mut Entity,
    attempt: Attempt,
    generation: Generation,
    step: &AttemptStep,
    observed: &Observed,
) {
    entity.attempt = attempt;
    let running = entity.running.take();
    let older = running.and_then(|running| running.desired);
    if let AttemptStep::CleanUp { external_id } = step {
        entity.strays.remove(external_id);
        entity.trouble.retry_at = None;
        entity.trouble.abandoned = 0;
        return;
    }
    entity.observed = observed.clone();
    if observed.presence != Presence::Unknown {
        entity.create_lost_at = None;
    }
    if observed.presence == Presence::Absent {
        entity.made_from.clear();
        entity.attempted.clear();
    }
    entity.materialised |= observed.external_id.is_some();
    if matches!(step, AttemptStep::Replace { .. }) {
        entity.drift = None;
    } else if observed.presence == Presence::Present {
        entity.replacing = false;
    }
    // Neither an observation nor an action ends the state `erred`.
    if entity.trouble.erred {
        return;
    }
    if observed.presence == Presence::Present && observed.generation == generation {
        let desired = older.unwrap_or_else(|| entity.manifest.desired.clone());
        entity.made_from = targets_in(&desired);
        entity.attempted.clear();
        entity.applied = Some(Applied { generation, desired });
        entity.replace_once &= generation != entity.generation;
        if !step.only_observes() {
            entity.drift = None;
            entity.write_only_dirty = false;
        }
    }
    if observed.presence == Presence::Present {
        entity.lost = None;
    }
    fresh_start(entity);
}

fn failed(
    entity: &mut Entity,
    at: Timestamp,
    attempt: Attempt,
    error: &Failure,
    next: &Next,
    remaining: &[String],
) {
    entity.attempt = attempt;
    if error.effect != Effect::None {
        creation_lost(entity, at);
    }
    let running = entity.running.take();
    if let Some(running) = running.filter(|_| error.effect == Effect::None)
        && running.step.mutates()
        && !matches!(running.step, AttemptStep::CleanUp { .. })
    {
        entity.observed.presence =
            if running.was_present { Presence::Present } else { Presence::Absent };
        entity.write_only_dirty = running.write_only_dirty;
        entity.replacing &= !matches!(running.step, AttemptStep::Replace { .. });
    }
    let trouble = &mut entity.trouble;
    // Waiting for the proof of an abandoned attempt is neither a failed try nor the end of a row of abandoned ones.
    let is_waiting = error.code == Failure::CREATION_SETTLING;
    if error.class.uses_budget() && !is_waiting {
        trouble.failures += 1;
    }
    if !remaining.is_empty() {
        trouble.unconverged =
            if trouble.remaining == remaining { trouble.unconverged + 1 } else { 1 };
        trouble.remaining = remaining.to_vec();
    }
    if !is_waiting {
        trouble.abandoned = 0;
    }
    trouble.retry_at = None;
    entity.error = Some(error.clone());
    entity.blocked = None;
    match next {
        Next::Retry { at } => trouble.retry_at = Some(*at),
        Next::Erred => trouble.erred = true,
        Next::Blocked { on, check_at } => {
            entity.blocked = Some(Blocked {
                on: on.clone(),
                message: error.message.clone(),
                since: at,
                check_at: *check_at,
            });
        }
    }
    if trouble.erred && error.class == ErrorClass::Bug {
        trouble.ended_by.get_or_insert(EndedBy::Bug);
    }
}
