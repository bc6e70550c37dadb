//! Decisions: from an entity and an intent to events. Pure; no event = nothing has to happen.

mod observe;
mod sync;
mod user;

use crate::entity::aggregate::Entity;
use crate::entity::command::{Intent, Refusal};
use crate::entity::event::EntityEvent;
use crate::entity::state::OperationKind;
use crate::id::OperationId;
use crate::time::Timestamp;

/// The events of `intent` at `at`.
///
/// # Errors
/// The reason for a refusal; then nothing happens.
fn decide(entity: &Entity, at: Timestamp, intent: &Intent) -> Result<Vec<EntityEvent>, Refusal> {
    match intent {
        Intent::Create { operation_id, entity_id, schema_version, manifest, identity } => {
            user::create(
                entity,
                at,
                *operation_id,
                *entity_id,
                *schema_version,
                manifest,
                identity.as_ref(),
            )
        }
        Intent::Update {
            operation_id,
            if_revision,
            schema_version,
            desired,
            settings,
            replace,
        } => user::update(
            entity,
            at,
            &user::Update {
                operation_id: *operation_id,
                if_revision: if_revision.as_deref(),
                schema_version: *schema_version,
                desired: desired.as_ref(),
                settings,
                replace: *replace,
            },
        ),
        Intent::Delete { operation_id, if_revision, policy, may_exist } => {
            user::delete(entity, at, *operation_id, if_revision.as_deref(), *policy, *may_exist)
        }
        Intent::Act { operation_id, action, input } => {
            user::act(entity, at, *operation_id, action, input)
        }
        Intent::Refresh { operation_id } => user::refresh(entity, at, *operation_id),
        Intent::Retry { operation_id } => user::retry(entity, at, *operation_id),
        Intent::Cancel { operation_id } => user::cancel(entity, at, *operation_id),
        Intent::Adopt { operation_id: id, external_id } => {
            user::adopt(entity, at, *id, external_id)
        }
        Intent::Decide { operation_id: id, decision } => user::decision(entity, at, *id, decision),
        way @ (Intent::Pause | Intent::Resume) => user::pause(entity, at, *way == Intent::Pause),
        Intent::Start { takes_over, generation, step, was_present, found, operations } => {
            sync::start(
                entity,
                at,
                &sync::Start {
                    takes_over: *takes_over,
                    generation: *generation,
                    step,
                    was_present: *was_present,
                    found: found.as_ref(),
                    operations,
                },
            )
        }
        Intent::RecordExternalId { attempt, incarnation, external_id } => {
            sync::record_id(entity, at, *attempt, *incarnation, external_id)
        }
        Intent::Progress { attempt, handle, poll_at } => {
            sync::progress(entity, at, *attempt, handle, *poll_at)
        }
        Intent::Complete(completion) => sync::complete(entity, at, completion),
        Intent::Fail(report) => sync::fail(entity, at, report),
        Intent::Observe(report) => observe::observe(entity, at, report),
        Intent::Contest { holds } => observe::contest(entity, at, *holds),
    }
}

impl Entity {
    /// The events of `intent` at `at`; empty = nothing has to happen.
    ///
    /// # Errors
    /// The reason for a refusal.
    pub fn decide(&self, at: Timestamp, intent: &Intent) -> Result<Vec<EntityEvent>, Refusal> {
        decide(self, at, intent)
    }

    /// The open operation that already does what `intent` asks for; `None` = there is none. Used when a decision has
    /// no events, to answer with an operation to wait for.
    #[must_use]
    pub fn serving(&self, intent: &Intent) -> Option<OperationId> {
        let Intent::Delete { .. } = intent else { return None };
        let delete = self.operations.iter().find(|open| open.kind == OperationKind::Delete);
        delete.map(|open| open.id)
    }
}

/// Refuses unless the entity exists and is not deleted.
fn require_alive(entity: &Entity) -> Result<(), Refusal> {
    if !entity.exists() {
        return Err(Refusal::Nonexistent);
    }
    if entity.is_deleted() { Err(Refusal::Deleted) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
