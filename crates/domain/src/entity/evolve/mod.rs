//! Folds events into an entity. Total: it never refuses and never panics.
//!
//! One module per cause: `user_request`, `sync` (attempts), `observation`, `termination` (the end of operations and
//! of the entity).

mod observation;
mod sync;
mod termination;
mod user_request;

use serde_json::Value;

use crate::entity::aggregate::{Entity, RetryState};
use crate::entity::event::{Cause, EntityEvent};
use crate::entity::state::{
    AttemptStep, BlockedOn, Contested, Decision, ManagementPolicy, OpenOperation, OperationKind,
    State,
};
use crate::id::OperationId;
use crate::kind::OnLost;
use crate::time::Timestamp;

/// Folds one event, then derives the state.
fn evolve(entity: &mut Entity, event: &EntityEvent) {
    entity.version = entity.version.next();
    if matches!(event, EntityEvent::RequestRecorded { .. }) {
        // No derivation here: everything that follows from the fold, work included, has to stay unchanged.
        return;
    }
    let (synced, ready) = (entity.synced(), entity.ready());
    let policy = entity.manifest.settings.management_policy;
    match event.cause() {
        Cause::UserRequest => user_request::on_user_request(entity, event),
        Cause::Sync => sync::on_sync(entity, event),
        Cause::Observation => observation::on_observation(entity, event),
        Cause::Termination => termination::on_termination(entity, event),
    }
    end_contest(entity, event, policy);
    let at = event.at();
    entity.updated_at = at;
    entity.state = state(entity);
    if entity.synced() != synced || entity.version.0 == 1 {
        entity.synced_since = at;
    }
    if entity.ready() != ready || entity.version.0 == 1 {
        entity.ready_since = at;
    }
}

/// Ends a contest when the entity names another object, or names or observes the same one again: the log refuses the
/// claim if another entity still holds it.
fn end_contest(entity: &mut Entity, event: &EntityEvent, policy: ManagementPolicy) {
    let changed = entity.manifest.settings.management_policy != policy;
    let (id, anew) = (entity.observed.external_id.as_ref(), changed || rebinds_object(event));
    let over = |contested: &mut Contested| {
        id != Some(&contested.external_id) || (anew && !contested.holds)
    };
    if entity.contested.take_if(over).is_some_and(|contested| !contested.holds) {
        entity.blocked.take_if(|blocked| blocked.on == BlockedOn::ObjectTaken);
    }
}

const fn rebinds_object(event: &EntityEvent) -> bool {
    match event {
        EntityEvent::CreateRequested { .. }
        | EntityEvent::AdoptRequested { .. }
        | EntityEvent::ExternalIdRecorded { .. }
        | EntityEvent::DriftDetected { .. }
        | EntityEvent::DriftCleared { .. }
        | EntityEvent::ObservedChanged { .. }
        | EntityEvent::ErrorCleared { .. }
        | EntityEvent::Deleted { .. }
        | EntityEvent::Released { .. } => true,
        EntityEvent::DecisionTaken { decision, .. } => matches!(decision, Decision::Adopt(_)),
        EntityEvent::SyncCompleted { step, .. } => !matches!(step, AttemptStep::CleanUp { .. }),
        _ => false,
    }
}

/// The state is derived from the other fields; only `Deleted` is final.
fn state(entity: &Entity) -> State {
    if entity.is_deleted() || !entity.exists() {
        return entity.state;
    }
    if let Some(running) = &entity.running {
        match running.step {
            AttemptStep::Create => return State::Creating,
            AttemptStep::Delete => return State::Deleting,
            AttemptStep::Update { .. }
            | AttemptStep::Replace { .. }
            | AttemptStep::Action { .. }
            | AttemptStep::CleanUp { .. } => {
                return State::Updating;
            }
            AttemptStep::None => {}
        }
    }
    if entity.trouble.erred {
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
    /// Folds `event` into the state.
    pub fn evolve(&mut self, event: &EntityEvent) {
        evolve(self, event);
    }

    /// Folds a whole stream.
    #[must_use]
    pub fn fold<'a>(events: impl IntoIterator<Item = &'a EntityEvent>) -> Self {
        let mut entity = Self::default();
        events.into_iter().for_each(|event| entity.evolve(event));
        entity
    }

    /// Whether the newest desired state still has to be reached. Drift alone does not count.
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
    entity.trouble = RetryState::default();
    entity.error = None;
    entity.blocked = None;
}

fn new_desired(entity: &mut Entity, desired: Value) {
    let old = std::mem::replace(&mut entity.manifest.desired, desired);
    if let Some(running) = &mut entity.running {
        running.desired.get_or_insert(old);
    }
    entity.replace_once = false;
    entity.generation = entity.generation.next();
    entity.revision = entity.revision.next();
}
