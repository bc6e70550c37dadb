//! `GET /v1/audit/checkpoint`.

use actix_web::{HttpResponse, web};
use stateward_domain::access::Role;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::objects::CheckpointSchema;
use crate::schema::problems::Refused;

#[utoipa::path(
    get,
    path = "/v1/audit/checkpoint",
    operation_id = "take_checkpoint",
    tag = "audit",
    summary = "What the log is now, to be kept elsewhere and verified against later",
    responses((status = 200, description = "The checkpoint", body = CheckpointSchema), Refused),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.require_global(Role::Viewer)?;
    Ok(HttpResponse::Ok().json(app.engine.checkpoint().await?))
}
