//! Folds the end of operations and of the entity.

use super::{close, fresh_start, new_desired};
use crate::entity::aggregate::Entity;
use crate::entity::event::EntityEvent;
use crate::entity::state::{Observed, OperationKind, State};
use crate::id::OperationId;

pub(super) fn on_termination(entity: &mut Entity, event: &EntityEvent) {
    match event {
        EntityEvent::OperationSuperseded { operation_id, .. } => {
            close(entity, &[*operation_id]);
        }
        EntityEvent::OperationCancelled { operation_id, .. } => {
            let kind = entity.operation(*operation_id).map(|operation| operation.kind.clone());
            close(entity, &[*operation_id]);
            match kind {
                Some(OperationKind::Delete) => {
                    entity.deletion = None;
                    // Failures of the deletion do not count any more.
                    fresh_start(entity);
                }
                Some(kind) if kind.is_change() && entity.deletion.is_none() => {
                    revert_change(entity);
                }
                _ => {}
            }
        }
        EntityEvent::Deleted { at, operations } => {
            end_life(entity, operations);
            entity.observed = Observed { observed_at: Some(*at), ..Observed::default() };
        }
        EntityEvent::Released { operations, .. } => {
            end_life(entity, operations);
            entity.released = true;
        }
        _ => {}
    }
}

/// Reverts to the last applied desired state. An object that was never applied is deleted, if it may exist.
fn revert_change(entity: &mut Entity) {
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

fn end_life(entity: &mut Entity, operations: &[OperationId]) {
    close(entity, operations);
    fresh_start(entity);
    entity.running = None;
    entity.deletion = None;
    entity.drift = None;
    entity.lost = None;
    entity.contested = None;
    entity.replacing = false;
    entity.state = State::Deleted;
}
