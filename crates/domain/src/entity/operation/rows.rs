//! Rows of an entity's operations, updated event by event: the same code for the read model and for an answer that
//! does not wait for it.

use std::collections::BTreeMap;

use super::change::changes;
use super::{OperationChange, OperationRow, OperationState};
use crate::entity::{Entity, EntityEvent};
use crate::envelope::{Envelope, Recorded};
use crate::failure::Failure;
use crate::id::OperationId;
use crate::time::Timestamp;

/// A change of operations by one event, with the data that their rows need.
#[derive(Clone, Debug)]
pub struct OperationStep {
    change: OperationChange,
    at: Timestamp,
    /// Operations that are open after the event.
    open: Vec<OperationId>,
    /// The entity's last failure after the event.
    error: Option<Failure>,
    /// The row of the operation that it opens.
    row: Option<OperationRow>,
}

/// Folds `event`, decoded from `recorded`, into `entity`; returns the changes of operations, in order.
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

/// The row of an operation that is open in `entity`, right after the request that opened it; `None` when it has ended
/// already. Equal to what [`evolve`] derives from the request's events.
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
    /// Operations whose rows may change.
    #[must_use]
    pub fn mentioned(&self) -> Vec<OperationId> {
        match &self.change {
            OperationChange::Opened { id, .. } => vec![*id],
            OperationChange::Running { ids } | OperationChange::Ended { ids, .. } => ids.clone(),
            OperationChange::Tried { .. } => self.open.clone(),
        }
    }

    /// The operation that it opens, which has no row yet; `None` for every other change.
    #[must_use]
    pub fn opened(&self) -> Option<OperationId> {
        self.row.as_ref().map(|row| row.id)
    }

    /// Updates the rows of the operations that it mentions. A row in a final state does not change.
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
