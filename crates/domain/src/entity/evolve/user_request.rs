//! Folds requests of users.

use super::{close, fresh_start, new_desired, open};
use crate::entity::aggregate::{EndedBy, Entity};
use crate::entity::event::EntityEvent;
use crate::entity::state::{
    Decision, Manifest, OperationKind, Presence, ReplacePolicy, SettingsPatch, State,
};
use crate::failure::{ErrorClass, Failure};
use crate::id::{ExternalId, Generation, OperationId};
use crate::kind::OnLost;
use crate::time::Timestamp;

pub(super) fn on_user_request(entity: &mut Entity, event: &EntityEvent) {
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
            entity.identity.clone_from(identity);
            entity.created_at = *at;
            declared(entity, manifest);
            open(entity, *operation_id, OperationKind::Create, *at);
        }
        EntityEvent::UpdateRequested { at, operation_id, schema_version, desired, replace } => {
            entity.schema_version = *schema_version;
            new_desired(entity, desired.clone());
            entity.replace_once = *replace;
            if entity.trouble.erred {
                entity.deletion = None;
            }
            open(entity, *operation_id, OperationKind::Update, *at);
            fresh_start(entity);
        }
        EntityEvent::DeleteRequested { at, operation_id, policy } => {
            entity.deletion = Some(*policy);
            open(entity, *operation_id, OperationKind::Delete, *at);
            fresh_start(entity);
        }
        EntityEvent::ActionRequested { at, operation_id, action, input } => {
            open(entity, *operation_id, OperationKind::Action(action.clone()), *at);
            if let Some(operation) = entity.operations.last_mut() {
                operation.input = input.clone();
            }
        }
        EntityEvent::RefreshRequested { at, operation_id } => {
            open(entity, *operation_id, OperationKind::Refresh, *at);
            entity.trouble.retry_at = None;
        }
        EntityEvent::RetryRequested { at, operation_id } => {
            open(entity, *operation_id, OperationKind::Retry, *at);
            fresh_start(entity);
        }
        EntityEvent::CancelRequested { operation_id, .. } => {
            if let Some(running) = &mut entity.running {
                running.cancel = Some(*operation_id);
            }
        }
        EntityEvent::AdoptRequested { at, operation_id, external_id } => {
            open(entity, *operation_id, OperationKind::Adopt, *at);
            bind_object(entity, external_id);
            fresh_start(entity);
        }
        EntityEvent::DecisionTaken { at, operation_id, decision, failed } => {
            decided(entity, *at, *operation_id, decision, failed);
        }
        EntityEvent::SettingsChanged { settings, .. } => {
            settings_changed(entity, settings);
        }
        EntityEvent::Paused { at } => {
            entity.paused = Some(*at);
        }
        EntityEvent::Resumed { .. } => {
            entity.paused = None;
        }
        _ => {}
    }
}

fn declared(entity: &mut Entity, manifest: &Manifest) {
    entity.manifest = manifest.clone();
    entity.generation = Generation(1);
    entity.revision = entity.revision.next();
    entity.state = State::CreationScheduled;
    if let Some(id) = &manifest.external_id {
        bind_object(entity, id);
    }
}

fn settings_changed(entity: &mut Entity, settings: &SettingsPatch) {
    // An ignored write-only field may have changed without being observed.
    entity.write_only_dirty |= settings.ignore_fields.is_some();
    entity.manifest.settings = entity.manifest.settings.patched(settings);
    entity.revision = entity.revision.next();
    // A change that failed for lack of this permission continues.
    if settings.replace == Some(ReplacePolicy::Allowed) && entity.wants_replacement() {
        fresh_start(entity);
    }
    // An erred deletion is not retried once the entity is protected.
    if entity.manifest.settings.protected && entity.trouble.erred {
        entity.deletion = None;
    }
}

fn bind_object(entity: &mut Entity, id: &ExternalId) {
    entity.observed.external_id = Some(id.clone());
    entity.observed.presence = Presence::Unknown;
    entity.materialised = true;
    entity.adopted = true;
    entity.write_only_dirty = true;
    entity.replacing = false;
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
        Decision::Adopt(external_id) => bind_object(entity, external_id),
        Decision::Create => {
            entity.create_allowed = true;
            if let Some(lost) = &mut entity.lost {
                lost.policy = OnLost::Recreate;
            }
        }
        Decision::GiveUp => {
            entity.trouble.erred = true;
            entity.trouble.ended_by = Some(EndedBy::Person);
            entity.error = Some(Failure::harmless(
                ErrorClass::Cancelled,
                Decision::GIVEN_UP,
                "a person decided to give up",
            ));
            return;
        }
    }
    if entity.change().is_none() {
        open(entity, id, OperationKind::Decide, at);
    }
}
