//! An operation in responses.

use serde::Serialize;
use stateward_domain::entity::operation::{OperationRow, OperationState};
use stateward_domain::envelope::Actor;

use super::entity::ErrorView;
use super::time;

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct OperationView<'a> {
    id: String,
    entity_id: String,
    #[serde(rename = "type")]
    kind: &'a str,
    #[schema(value_type = crate::schema::enums::OperationSchema)]
    state: OperationState,
    done: bool,
    error: Option<ErrorView<'a>>,
    attempts: u64,
    generation: u64,
    #[schema(value_type = crate::schema::objects::ActorSchema)]
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
