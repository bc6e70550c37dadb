//! The rows of an entity's operations, brought up to date event by event: the same in the read model and in an answer
//! that does not wait for it.

use std::collections::BTreeMap;

use super::change::changes;
use super::{OperationChange, OperationRow, OperationState};
use crate::entity::{Entity, EntityEvent};
use crate::envelope::{Envelope, Recorded};
use crate::failure::Failure;
use crate::id::OperationId;
use crate::time::Timestamp;

/// What one event means for operations, with what their rows need to know.
#[derive(Clone, Debug)]
pub struct OperationStep {
    change: OperationChange,
    at: Timestamp,
    /// Operations that are open after the event.
    open: Vec<OperationId>,
    /// The entity's last failure after the event.
    error: Option<Failure>,
    /// A row for an operation that it opens.
    row: Option<OperationRow>,
}

/// Folds `event`, which `recorded` holds, into `entity`; what it means for operations, in order.
pub fn evolve(entity: &mut Entity, recorded: &Recorded, event: &EntityEvent) -> Vec<OperationStep> {
    let had_change = entity.change().is_some();
    entity.evolve(event);
    changes(event, had_change).into_iter().map(|change| step(recorded, change, entity)).collect()
}

fn step(recorded: &Recorded, change: OperationChange, entity: &Entity) -> OperationStep {
    let row = match &change {
        OperationChange::Opened { id, kind } => {
            let envelope = recorded.envelope();
            Some(OperationRow {
                id: *id,
                entity_id: entity.id,
                namespace: entity.manifest.namespace.clone(),
                kind: kind.label(),
                state: OperationState::Pending,
                error: None,
                attempts: 0,
                generation: entity.generation,
                actor: envelope.actor,
                reason: envelope.reason,
                superseded_by: None,
                created_at: entity.operation(*id).map_or(recorded.recorded_at, |open| open.since),
                finished_at: None,
            })
        }
        _ => None,
    };
    OperationStep {
        change,
        at: recorded.recorded_at,
        open: entity.operations.iter().map(|open| open.id).collect(),
        error: entity.error.clone(),
        row,
    }
}

/// The row of an operation that is open in `entity`, as it is right after the request that opened it; `None`
/// when it has ended already. The same as what [`evolve`] makes of the request's events, without reading them.
#[must_use]
pub fn just_opened(entity: &Entity, id: OperationId, envelope: &Envelope) -> Option<OperationRow> {
    let open = entity.operation(id)?;
    let served = entity.running.as_ref().is_some_and(|running| running.operations.contains(&id));
    Some(OperationRow {
        id,
        entity_id: entity.id,
        namespace: entity.manifest.namespace.clone(),
        kind: open.kind.label(),
        state: if served { OperationState::Running } else { OperationState::Pending },
        error: None,
        attempts: u64::from(served),
        generation: entity.generation,
        actor: envelope.actor.clone(),
        reason: envelope.reason.clone(),
        superseded_by: None,
        created_at: open.since,
        finished_at: None,
    })
}

impl OperationStep {
    /// The operations whose rows may change.
    #[must_use]
    pub fn mentioned(&self) -> Vec<OperationId> {
        match &self.change {
            OperationChange::Opened { id, .. } => vec![*id],
            OperationChange::Running { ids } | OperationChange::Ended { ids, .. } => ids.clone(),
            OperationChange::Tried { .. } => self.open.clone(),
        }
    }

    /// The operation that begins with it, of which there can be no row yet; `None` for every other step.
    #[must_use]
    pub fn opened(&self) -> Option<OperationId> {
        self.row.as_ref().map(|row| row.id)
    }

    /// Brings those of `rows` up to date that it mentions. One that has ended does not change any more.
    pub fn apply(self, rows: &mut BTreeMap<OperationId, OperationRow>) {
        let mut each = |ids: &[OperationId], change: &dyn Fn(&mut OperationRow)| {
            for id in ids {
                if let Some(row) = rows.get_mut(id).filter(|row| !row.state.is_done()) {
                    change(row);
                }
            }
        };
        match &self.change {
            OperationChange::Opened { id, .. } => {
                if let Some(row) = self.row {
                    rows.entry(*id).or_insert(row);
                }
            }
            OperationChange::Running { ids } => each(ids, &|row| {
                row.state = OperationState::Running;
                row.attempts += 1;
            }),
            OperationChange::Tried { error } => each(&self.open, &|row| {
                row.state = OperationState::Pending;
                row.error = Some(error.clone());
            }),
            OperationChange::Ended { ids, state, error, by } => each(ids, &|row| {
                row.state = *state;
                row.superseded_by = *by;
                row.finished_at = Some(self.at);
                row.error = match state {
                    OperationState::Failed => error.clone().or_else(|| self.error.clone()),
                    OperationState::Succeeded => None,
                    _ => row.error.clone(),
                };
            }),
        }
    }
}
