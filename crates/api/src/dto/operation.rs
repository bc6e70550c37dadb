//! An operation as users see it.

use serde::Serialize;
use stateward_domain::entity::Entity;
use stateward_domain::envelope::{Actor, Envelope};
use stateward_domain::id::OperationId;
use stateward_domain::ports::read_model::{OperationRow, OperationState};

use super::entity::ErrorView;
use super::time;

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct OperationView<'a> {
    id: String,
    entity_id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    #[schema(value_type = crate::openapi::words::OperationWord)]
    state: OperationState,
    done: bool,
    error: Option<ErrorView<'a>>,
    attempts: u64,
    generation: u64,
    #[schema(value_type = crate::openapi::words::ActorShape)]
    actor: &'a Actor,
    reason: Option<&'a str>,
    superseded_by: Option<String>,
    created_at: String,
    finished_at: Option<String>,
}

impl<'a> From<&'a OperationRow> for OperationView<'a> {
    fn from(row: &'a OperationRow) -> Self {
        Self {
            id: row.id.to_string(),
            entity_id: row.entity_id.to_string(),
            kind: &row.kind,
            state: row.state,
            done: row.state.is_done(),
            error: row.error.as_ref().map(ErrorView::from),
            attempts: row.attempts,
            generation: row.generation.0,
            actor: &row.actor,
            reason: row.reason.as_deref(),
            superseded_by: row.superseded_by.map(|id| id.to_string()),
            created_at: time::text(row.created_at),
            finished_at: row.finished_at.map(time::text),
        }
    }
}

/// The row of an operation that is open in `entity`, as it is right after the request that opened it; `None`
/// when it has ended already. So the answer to a change does not have to wait for the read model.
pub(crate) fn just_opened(
    entity: &Entity,
    id: OperationId,
    envelope: &Envelope,
) -> Option<OperationRow> {
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
