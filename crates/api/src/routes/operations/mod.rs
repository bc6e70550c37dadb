//! `/v1/operations`: change requests from acceptance to completion.

pub(crate) mod cancel;

use std::time::Duration;

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use stateward_domain::access::Role;
use stateward_domain::entity::operation::{OperationRow, OperationState};
use stateward_domain::id::{EntityId, OperationId};
use stateward_domain::ports::read_model::OperationFilter;
use stateward_engine::QueryError;

use super::{ListReply, id, page_response, resource, wait_for};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::dto::operation::OperationView;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::params::{OperationParams, PageParams, WaitParams};
use crate::schema::problems::{Gone, Missing, Refused};

/// How long a response waits for the read model.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/v1/operations", &[Method::GET]).route(web::get().to(list)))
        .service(resource("/v1/operations/{id}", &[Method::GET]).route(web::get().to(get)))
        .service(
            resource("/v1/operations/{id}/cancel", &[Method::POST])
                .route(web::post().to(cancel::handler)),
        );
}

#[utoipa::path(
    get,
    path = "/v1/operations",
    operation_id = "list_operations",
    tag = "operations",
    summary = "Operations, newest first",
    params(PageParams, WaitParams, OperationParams),
    responses((status = 200, description = "A page", body = ListReply<OperationView<'static>>), Refused, Gone),
)]
pub(crate) async fn list(
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    page(&app, &caller, params, None).await
}

/// A page of operations, of one entity or of all.
pub(super) async fn page(
    app: &AppState,
    caller: &Caller,
    mut params: Params,
    entity: Option<EntityId>,
) -> Result<HttpResponse, Problem> {
    wait_for(app, &mut params).await?;
    let size = params.page_size()?;
    let token = params.text("page_token")?;
    let state = params.text("state")?.as_deref().map(state).transpose()?;
    let namespaces = caller.visible(params.text("namespace")?);
    params.finish()?;
    let filter = OperationFilter { namespaces, entity, state };
    let page = app.engine.views().operations(&filter, size, token.as_deref()).await;
    let page = page.map_err(QueryError::from)?;
    let items: Vec<_> = page.items.iter().map(OperationView::from).collect();
    Ok(page_response(items, page.next, page.as_of))
}

fn state(name: &str) -> Result<OperationState, Problem> {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let name: StrDeserializer<'_, Error> = name.into_deserializer();
    OperationState::deserialize(name)
        .map_err(|error| Problem::malformed("bad-parameter", error.to_string()))
}

#[utoipa::path(
    get,
    path = "/v1/operations/{id}",
    operation_id = "get_operation",
    tag = "operations",
    summary = "An operation",
    params(("id" = String, Path, description = "Id")),
    responses((status = 200, description = "The operation", body = OperationView<'static>), Refused, Missing),
)]
pub(crate) async fn get(
    app: web::Data<AppState>,
    caller: Caller,
    path: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let row = find(&app, &caller, id(&path)?).await?;
    Ok(HttpResponse::Ok().json(OperationView::from(&row)))
}

/// The operation; an unknown id is looked up again after the read model has caught up.
pub(super) async fn find(
    app: &AppState,
    caller: &Caller,
    id: OperationId,
) -> Result<OperationRow, Problem> {
    let found = row(app, id).await?;
    if caller.can(Role::Viewer, &found.namespace) {
        return not_behind(app, found).await;
    }
    // A missing operation is looked up twice, so this one is, too: the response time must not show that it exists.
    let _ = row(app, OperationId::default()).await;
    Err(Problem::not_found())
}

/// Ensures that an operation is not shown as open after it ended: a client that read its entity may know already. The
/// read model may lag, so the entity is checked.
async fn not_behind(app: &AppState, shown: OperationRow) -> Result<OperationRow, Problem> {
    if shown.state.is_done() {
        return Ok(shown);
    }
    match app.engine.entity(shown.entity_id).await {
        Ok(entity) if entity.operation(shown.id).is_none() => {}
        // An entity that cannot be folded is shown in its last known state.
        Ok(_) | Err(QueryError::Unreadable(_)) => return Ok(shown),
        Err(error) => return Err(error.into()),
    }
    if caught_up(app).await? {
        return row(app, shown.id).await;
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let detail = "the operation has ended, and the lists do not show it yet";
    Err(Problem::new(status, "position-not-reached", detail).retry_after(1))
}

async fn row(app: &AppState, id: OperationId) -> Result<OperationRow, Problem> {
    let views = app.engine.views();
    if let Some(row) = views.operation(id).await.map_err(QueryError::from)? {
        return Ok(row);
    }
    caught_up(app).await?;
    views.operation(id).await.map_err(QueryError::from)?.ok_or_else(Problem::not_found)
}

/// Waits for the read model to reach the log's head; false if it did not in time.
async fn caught_up(app: &AppState) -> Result<bool, Problem> {
    let head = app.engine.log().head().await.map_err(QueryError::from)?;
    Ok(app.engine.caught_up(head, CATCH_UP_MAX).await)
}
