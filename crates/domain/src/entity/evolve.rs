//! Folding: what each event changes. Total: it never refuses and never panics.

use serde_json::Value;

use crate::entity::aggregate::{Applied, Entity, Trouble};
use crate::entity::event::{EntityEvent, Next};
use crate::entity::state::{
    Blocked, BlockedOn, Decision, Drift, Lost, ManagementPolicy, Observed, OpenOperation,
    OperationKind, Presence, RunningAttempt, State, Step,
};
use crate::failure::{Effect, Failure};
use crate::id::{Attempt, ExternalId, Generation, OperationId};
use crate::kind::OnLost;
use crate::time::Timestamp;

/// Folds one event, then derives the state from what is known now.
pub(super) fn evolve(entity: &mut Entity, event: &EntityEvent) {
    let (synced, ready) = (entity.synced(), entity.ready());
    let at = match event {
        EntityEvent::CreateRequested { .. }
        | EntityEvent::UpdateRequested { .. }
        | EntityEvent::DeleteRequested { .. }
        | EntityEvent::ActionRequested { .. }
        | EntityEvent::RefreshRequested { .. }
        | EntityEvent::RetryRequested { .. }
        | EntityEvent::CancelRequested { .. }
        | EntityEvent::AdoptRequested { .. }
        | EntityEvent::DecisionTaken { .. }
        | EntityEvent::SettingsChanged { .. }
        | EntityEvent::Paused { .. }
        | EntityEvent::Resumed { .. } => request(entity, event),
        EntityEvent::SyncStarted { .. }
        | EntityEvent::ExternalIdRecorded { .. }
        | EntityEvent::SyncProgressed { .. }
        | EntityEvent::SyncCompleted { .. }
        | EntityEvent::SyncFailed { .. }
        | EntityEvent::StrayFound { .. } => sync(entity, event),
        EntityEvent::DriftDetected { .. }
        | EntityEvent::DriftCleared { .. }
        | EntityEvent::ObservedChanged { .. } => observation(entity, event),
        EntityEvent::OperationSuperseded { .. }
        | EntityEvent::OperationCancelled { .. }
        | EntityEvent::Deleted { .. }
        | EntityEvent::Released { .. } => end(entity, event),
    };
    entity.version = entity.version.next();
    entity.updated_at = at;
    entity.state = state(entity);
    if entity.synced() != synced || entity.version.0 == 1 {
        entity.synced_since = at;
    }
    if entity.ready() != ready || entity.version.0 == 1 {
        entity.ready_since = at;
    }
}

fn request(entity: &mut Entity, event: &EntityEvent) -> Timestamp {
    match event {
        EntityEvent::CreateRequested {
            at,
            operation_id,
            entity_id,
            schema_version,
            manifest,
            identity,
        } => {
            entity.id = *entity_id;
            entity.schema_version = *schema_version;
            entity.manifest = manifest.as_ref().clone();
            entity.identity.clone_from(identity);
            entity.generation = Generation(1);
            entity.revision = entity.revision.next();
            entity.created_at = *at;
            entity.state = State::CreationScheduled;
            if let Some(id) = &manifest.external_id {
                points_at(entity, id);
            }
            open(entity, *operation_id, OperationKind::Create, *at);
            *at
        }
        EntityEvent::UpdateRequested { at, operation_id, schema_version, desired } => {
            entity.schema_version = *schema_version;
            new_desired(entity, desired.clone());
            if entity.trouble.given_up {
                entity.deletion = None;
            }
            open(entity, *operation_id, OperationKind::Update, *at);
            fresh_start(entity);
            *at
        }
        EntityEvent::DeleteRequested { at, operation_id, policy } => {
            entity.deletion = Some(*policy);
            open(entity, *operation_id, OperationKind::Delete, *at);
            fresh_start(entity);
            *at
        }
        EntityEvent::ActionRequested { at, operation_id, action, input } => {
            open(entity, *operation_id, OperationKind::Action(action.clone()), *at);
            if let Some(operation) = entity.operations.last_mut() {
                operation.input = input.clone();
            }
            *at
        }
        EntityEvent::RefreshRequested { at, operation_id } => {
            open(entity, *operation_id, OperationKind::Refresh, *at);
            entity.trouble.retry_at = None;
            *at
        }
        EntityEvent::RetryRequested { at, operation_id } => {
            open(entity, *operation_id, OperationKind::Retry, *at);
            fresh_start(entity);
            *at
        }
        EntityEvent::CancelRequested { at, operation_id } => {
            if let Some(running) = &mut entity.running {
                running.cancel = Some(*operation_id);
            }
            *at
        }
        EntityEvent::AdoptRequested { at, operation_id, external_id } => {
            open(entity, *operation_id, OperationKind::Adopt, *at);
            points_at(entity, external_id);
            fresh_start(entity);
            *at
        }
        EntityEvent::DecisionTaken { at, operation_id, decision, failed } => {
            decided(entity, *at, *operation_id, decision, failed);
            *at
        }
        EntityEvent::SettingsChanged { at, settings } => {
            entity.manifest.settings = entity.manifest.settings.patched(settings);
            entity.revision = entity.revision.next();
            *at
        }
        EntityEvent::Paused { at } => {
            entity.paused = Some(*at);
            *at
        }
        EntityEvent::Resumed { at } => {
            entity.paused = None;
            *at
        }
        _ => entity.updated_at,
    }
}

fn sync(entity: &mut Entity, event: &EntityEvent) -> Timestamp {
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
            }
            if matches!(step, Step::Create) {
                if *incarnation != entity.incarnation {
                    entity.incarnation = *incarnation;
                    entity.materialised = false;
                    entity.observed.external_id = None;
                }
                entity.create_intended_at = Some(*at);
                entity.create_allowed = false;
            }
            if step.mutates() && !matches!(step, Step::CleanUp { .. }) {
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
                desired: None,
            });
            *at
        }
        EntityEvent::ExternalIdRecorded { at, external_id, .. } => {
            entity.observed.external_id = Some(external_id.clone());
            entity.materialised = true;
            *at
        }
        EntityEvent::SyncProgressed { at, handle, poll_at, .. } => {
            if let Some(running) = &mut entity.running {
                running.pending = Some((handle.clone(), *poll_at));
            }
            entity.trouble.abandoned = 0;
            *at
        }
        EntityEvent::SyncCompleted { at, attempt, generation, step, observed, operations } => {
            completed(entity, *attempt, *generation, step, observed);
            close(entity, operations);
            *at
        }
        EntityEvent::SyncFailed { at, attempt, error, next, remaining, operations, .. } => {
            failed(entity, *at, *attempt, error, next, remaining);
            close(entity, operations);
            *at
        }
        EntityEvent::StrayFound { at, attempt, external_id } => {
            if !entity.released && entity.strays.len() < Entity::MAX_STRAYS {
                entity.strays.insert(external_id.clone(), *attempt);
            }
            *at
        }
        _ => entity.updated_at,
    }
}

fn observation(entity: &mut Entity, event: &EntityEvent) -> Timestamp {
    match event {
        EntityEvent::DriftDetected { at, policy, diff, observed } => {
            entity.observed = observed.clone();
            let since = entity.drift.as_ref().map_or(*at, |drift| drift.since);
            entity.drift = Some(Drift { diff: diff.clone(), since, policy: *policy });
            returned(entity);
            *at
        }
        EntityEvent::DriftCleared { at, observed } => {
            entity.observed = observed.clone();
            entity.drift = None;
            returned(entity);
            *at
        }
        EntityEvent::ObservedChanged { at, observed, lost } => {
            entity.observed = observed.clone();
            match lost {
                Some(policy) => is_lost(entity, *at, *policy),
                None => returned(entity),
            }
            *at
        }
        _ => entity.updated_at,
    }
}

fn end(entity: &mut Entity, event: &EntityEvent) -> Timestamp {
    match event {
        EntityEvent::OperationSuperseded { at, operation_id, .. } => {
            close(entity, &[*operation_id]);
            *at
        }
        EntityEvent::OperationCancelled { at, operation_id } => {
            let kind = entity.operation(*operation_id).map(|operation| operation.kind.clone());
            close(entity, &[*operation_id]);
            match kind {
                Some(OperationKind::Delete) => entity.deletion = None,
                Some(kind) if kind.is_change() && entity.deletion.is_none() => take_back(entity),
                _ => {}
            }
            *at
        }
        EntityEvent::Deleted { at, operations } => {
            life_over(entity, operations);
            entity.observed = Observed { observed_at: Some(*at), ..Observed::default() };
            *at
        }
        EntityEvent::Released { at, operations } => {
            life_over(entity, operations);
            entity.released = true;
            *at
        }
        _ => entity.updated_at,
    }
}

/// The state follows from everything else; only `Deleted` is for ever.
fn state(entity: &Entity) -> State {
    if entity.is_deleted() || !entity.exists() {
        return entity.state;
    }
    if let Some(running) = &entity.running {
        match running.step {
            Step::Create => return State::Creating,
            Step::Delete => return State::Deleting,
            Step::Update { .. }
            | Step::Replace { .. }
            | Step::Action { .. }
            | Step::CleanUp { .. } => {
                return State::Updating;
            }
            Step::None => {}
        }
    }
    if entity.trouble.given_up {
        State::Erred
    } else if entity.deletion.is_some() {
        State::DeletionScheduled
    } else if !entity.wants_sync() {
        State::Ok
    } else if entity.applied.is_none() {
        State::CreationScheduled
    } else {
        State::UpdateScheduled
    }
}

impl Entity {
    /// Whether the newest desired state still has to be reached. Drift alone is no such wish.
    #[must_use]
    pub fn wants_sync(&self) -> bool {
        if self.change().is_some() || self.replacing {
            return true;
        }
        match &self.lost {
            Some(lost) => lost.policy != OnLost::Report,
            None => {
                self.manifest.settings.management_policy == ManagementPolicy::Full
                    && self.observed.generation != self.generation
            }
        }
    }
}

fn open(entity: &mut Entity, id: OperationId, kind: OperationKind, at: Timestamp) {
    entity.operations.push(OpenOperation { id, kind, since: at, input: Value::Null });
}

fn close(entity: &mut Entity, ids: &[OperationId]) {
    entity.operations.retain(|operation| !ids.contains(&operation.id));
}

fn fresh_start(entity: &mut Entity) {
    entity.trouble = Trouble::default();
    entity.error = None;
    entity.blocked = None;
}

fn new_desired(entity: &mut Entity, desired: Value) {
    let old = std::mem::replace(&mut entity.manifest.desired, desired);
    if let Some(running) = &mut entity.running {
        running.desired.get_or_insert(old);
    }
    entity.generation = entity.generation.next();
    entity.revision = entity.revision.next();
}

fn points_at(entity: &mut Entity, id: &ExternalId) {
    entity.observed.external_id = Some(id.clone());
    entity.observed.presence = Presence::Unknown;
    entity.materialised = true;
    entity.lost = None;
}

fn decided(
    entity: &mut Entity,
    at: Timestamp,
    id: OperationId,
    decision: &Decision,
    failed: &[OperationId],
) {
    fresh_start(entity);
    close(entity, failed);
    match decision {
        Decision::Adopt(external_id) => points_at(entity, external_id),
        Decision::Create => {
            entity.create_allowed = true;
            if let Some(lost) = &mut entity.lost {
                lost.policy = OnLost::Recreate;
            }
        }
        Decision::GiveUp => {
            entity.trouble.given_up = true;
            entity.error = Some(Failure::harmless(
                crate::failure::ErrorClass::Cancelled,
                "given_up",
                "a person decided to give up",
            ));
            return;
        }
    }
    if entity.change().is_none() {
        open(entity, id, OperationKind::Decide, at);
    }
}

fn completed(
    entity: &mut Entity,
    attempt: Attempt,
    generation: Generation,
    step: &Step,
    observed: &Observed,
) {
    entity.attempt = attempt;
    let running = entity.running.take();
    let older = running.and_then(|running| running.desired);
    if let Step::CleanUp { external_id } = step {
        entity.strays.remove(external_id);
        entity.trouble.retry_at = None;
        entity.trouble.abandoned = 0;
        return;
    }
    entity.observed = observed.clone();
    entity.materialised |= observed.external_id.is_some();
    if matches!(step, Step::Replace { .. }) {
        entity.replacing = true;
    } else if observed.presence == Presence::Present {
        entity.replacing = false;
    }
    // A look, or an action, never turns an erred entity into a healthy one.
    if entity.trouble.given_up {
        return;
    }
    if observed.presence == Presence::Present && observed.generation == generation {
        let desired = older.unwrap_or_else(|| entity.manifest.desired.clone());
        entity.applied = Some(Applied { generation, desired });
        if !step.only_looks() {
            entity.drift = None;
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
    let running = entity.running.take();
    if let Some(running) = running.filter(|_| error.effect == Effect::None)
        && running.step.mutates()
        && !matches!(running.step, Step::CleanUp { .. })
    {
        entity.observed.presence =
            if running.was_present { Presence::Present } else { Presence::Absent };
    }
    let trouble = &mut entity.trouble;
    if error.class.uses_budget() {
        trouble.failures += 1;
    }
    if !remaining.is_empty() {
        trouble.unconverged =
            if trouble.remaining == remaining { trouble.unconverged + 1 } else { 1 };
        trouble.remaining = remaining.to_vec();
    }
    trouble.abandoned = 0;
    trouble.retry_at = None;
    entity.error = Some(error.clone());
    entity.blocked = None;
    match next {
        Next::Retry { at } => trouble.retry_at = Some(*at),
        Next::Erred => trouble.given_up = true,
        Next::Blocked { on, check_at } => {
            entity.blocked = Some(Blocked {
                on: on.clone(),
                message: error.message.clone(),
                since: at,
                check_at: *check_at,
            });
        }
    }
}

fn is_lost(entity: &mut Entity, at: Timestamp, policy: OnLost) {
    entity.lost = Some(Lost { policy, since: at });
    entity.drift = None;
    if policy == OnLost::Ask {
        entity.blocked = Some(Blocked {
            on: BlockedOn::Decision,
            message: "the object is gone: decide whether to create, adopt or give up".to_owned(),
            since: at,
            check_at: Timestamp(i64::MAX),
        });
    }
}

fn returned(entity: &mut Entity) {
    if entity.lost.take().is_some() {
        entity.blocked = None;
    }
}

/// A cancelled change goes back to what was applied last. What never was applied has to go, if it may exist.
fn take_back(entity: &mut Entity) {
    fresh_start(entity);
    match entity.applied.clone() {
        Some(applied) => {
            if applied.desired != entity.manifest.desired {
                new_desired(entity, applied.desired);
            }
        }
        None => entity.deletion = Some(entity.manifest.settings.deletion_policy),
    }
}

fn life_over(entity: &mut Entity, operations: &[OperationId]) {
    close(entity, operations);
    fresh_start(entity);
    entity.running = None;
    entity.deletion = None;
    entity.drift = None;
    entity.lost = None;
    entity.replacing = false;
    entity.state = State::Deleted;
}
