//! `/v1/projections`: status and rebuild of the read models.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use stateward_domain::access::Role;
use stateward_domain::ports::projection::Quarantined;

use super::{ListReply, resource};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::dto::time;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{KeyReused, Missing, Refused};

#[derive(Serialize, utoipa::ToSchema)]
struct ProjectionView {
    name: &'static str,
    position: String,
    recorded_at: Option<String>,
    stopped: Option<String>,
    #[schema(value_type = Vec<crate::schema::objects::QuarantineSchema>)]
    quarantined: Vec<Quarantined>,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/v1/projections", &[Method::GET]).route(web::get().to(list)))
        .service(
            resource("/v1/projections/{name}/rebuild", &[Method::POST])
                .route(web::post().to(rebuild)),
        )
        .service(
            resource("/v1/projections/{name}/retry", &[Method::POST]).route(web::post().to(retry)),
        );
}

#[utoipa::path(
    get,
    path = "/v1/projections",
    operation_id = "list_projections",
    tag = "projections",
    summary = "How the read models stand",
    responses((status = 200, description = "All of them", body = ListReply<ProjectionView>), Refused),
)]
pub(crate) async fn list(
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.require_global(Role::Viewer)?;
    let view = |status: stateward_engine::service::ProjectionStatus| ProjectionView {
        name: status.name,
        position: status.progress.position.to_string(),
        recorded_at: status.progress.recorded_at.map(time::text),
        stopped: status.progress.stopped.map(|stopped| stopped.reason),
        quarantined: status.quarantined,
    };
    let items: Vec<_> = app.engine.projections().await.into_iter().map(view).collect();
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token: None }))
}

/// Answers once the rebuilt tables are the live ones.
#[utoipa::path(
    post,
    path = "/v1/projections/{name}/rebuild",
    operation_id = "rebuild_projection",
    tag = "projections",
    summary = "Replay a read model beside the live one, then swap them",
    params(("name" = String, Path, description = "Name"), ChangeHeaders),
    responses((status = 204, description = "The rebuilt one is live"), Refused, Missing, KeyReused),
)]
pub(crate) async fn rebuild(
    change: ChangeRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    if let IdempotencyCheck::First { envelope, turn: _turn } = change.check_global().await? {
        change.app.engine.rebuild(&path).await?;
        // Recorded only when it is done, so that repeating an interrupted rebuild starts it again.
        change.app.engine.record_request(&envelope).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}

#[utoipa::path(
    post,
    path = "/v1/projections/{name}/retry",
    operation_id = "retry_projection",
    tag = "projections",
    summary = "Replay the streams that were set aside",
    params(("name" = String, Path, description = "Name"), ChangeHeaders),
    responses((status = 204, description = "Tried"), Refused, Missing, KeyReused),
)]
pub(crate) async fn retry(
    change: ChangeRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    if let IdempotencyCheck::First { envelope, turn: _turn } = change.check_global().await? {
        change.app.engine.retry_quarantined(&path).await?;
        change.app.engine.record_request(&envelope).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
