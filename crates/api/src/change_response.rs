//! The response to a change: entity, operation, position; immediate, or once the operation is done.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, LOCATION};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::id::{EntityId, Position};
use stateward_engine::service::FollowedOperation;
use stateward_engine::service::{Accepted, EntityChange, Preview};

use crate::app_state::AppState;
use crate::dto::entity::EntityView;
use crate::dto::operation::OperationView;
use crate::headers;
use crate::in_flight::InFlight;
use crate::problem::Problem;

/// How long the response to a client that waits is delayed until lists include the change.
const LISTS_MAX: Duration = Duration::from_secs(1);

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ChangeReply<'a> {
    entity: EntityView<'a>,
    operation: Option<OperationView<'a>>,
    #[schema(value_type = String)]
    position: Position,
}

/// The answer to a change that may be planned only.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only the document needs it")]
pub(crate) enum ChangeOrPlan<'a> {
    Change(Box<ChangeReply<'a>>),
    Plan(PlanReply),
}

/// What a change would do; nothing was written.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PlanReply {
    pub(crate) plan: Plan,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Plan {
    /// `create`, `update`, `replace`, `delete` or `none`.
    pub(crate) action: &'static str,
    pub(crate) backend: String,
    pub(crate) changes: Vec<PlannedChange>,
    /// Fields that cannot change in place: the object is replaced for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) replaces: Vec<String>,
    /// What the replacement loses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) loses: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PlannedChange {
    pub(crate) field: String,
    pub(crate) from: Value,
    pub(crate) to: Value,
}

/// Responds to a change: 202, or 200 if nothing remains to be done.
pub(crate) async fn respond(
    app: &AppState,
    request: &HttpRequest,
    accepted: Accepted,
) -> Result<HttpResponse, Problem> {
    // Waiting is a preference: if too many requests wait already, the response is immediate.
    let asked = headers::prefer_wait(request)?;
    let place = asked.and_then(|_| InFlight::of(request).move_to_waiting(&app.limits.waiting));
    let wait = asked.filter(|_| place.is_some());
    let Accepted { mut entity, operation: mut row, mut position } = accepted;
    let open = row.as_ref().filter(|row| !row.state.is_done()).cloned();
    if let (Some(operation), Some(within)) = (open, wait) {
        let from = FollowedOperation { entity, operation, position };
        let followed = app.engine.follow_operation(from, within).await?;
        (entity, row, position) = (followed.entity, Some(followed.operation), followed.position);
        // A client that waited often reads a list next. The response itself does not need the lists.
        app.engine.caught_up(position, LISTS_MAX).await;
    }
    // Without waiting, the response is always 202, even if nothing remains to be done.
    let done = row.as_ref().is_none_or(|row| wait.is_some() && row.state.is_done());
    let status = if done { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = HttpResponse::build(status);
    response
        .insert_header((LOCATION, format!("/v1/entities/{}", entity.id)))
        .insert_header((ETAG, etag(&entity)))
        .insert_header(("Stateward-Position", position.to_string()));
    if let Some(row) = &row {
        response.insert_header(("Operation-Location", format!("/v1/operations/{}", row.id)));
    }
    if let Some(wait) = wait {
        let applied = format!("wait={}", wait.as_secs());
        response.insert_header(("Preference-Applied", applied));
    }
    Ok(response.json(ChangeReply {
        entity: EntityView::from(&*entity),
        operation: row.as_ref().map(OperationView::from),
        position,
    }))
}

/// Responds with the plan of an update: the changes of the desired state, field by field.
pub(crate) async fn plan(
    app: &AppState,
    id: EntityId,
    change: &EntityChange,
) -> Result<HttpResponse, Problem> {
    let preview = app.engine.preview_update(id, change).await?;
    let Preview { entity, differences, replaces, wants } = preview;
    let changes: Vec<_> = differences
        .into_iter()
        .map(|d| PlannedChange { field: d.field, from: d.observed, to: d.desired })
        .collect();
    let action = match (wants, replaces.is_empty()) {
        (false, _) => "none",
        (true, true) => "update",
        (true, false) => "replace",
    };
    let backend = entity.manifest.backend.to_string();
    let kind = app.engine.kinds().get(&entity.manifest.kind).ok();
    let loses = kind.and_then(|kind| kind.loses.clone()).filter(|_| action == "replace");
    let plan = Plan { action, backend, changes, replaces, loses };
    Ok(HttpResponse::Ok().json(PlanReply { plan }))
}

/// The entity tag: the revision.
pub(crate) fn etag(entity: &Entity) -> String {
    format!("\"{}\"", entity.revision)
}
