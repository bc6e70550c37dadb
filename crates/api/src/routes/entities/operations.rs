//! `GET /v1/entities/{id}/operations`.

use actix_web::{HttpResponse, web};
use stateward_domain::access::Role;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::dto::operation::OperationView;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::routes::{ListReply, id, operations};
use crate::schema::params::{OperationParams, PageParams, WaitParams};
use crate::schema::problems::{Gone, Missing, Refused};

#[utoipa::path(
    get,
    path = "/v1/entities/{id}/operations",
    operation_id = "list_entity_operations",
    tag = "entities",
    summary = "Operations of an entity, newest first",
    params(("id" = String, Path, description = "Id"), PageParams, WaitParams, OperationParams),
    responses((status = 200, description = "A page", body = ListReply<OperationView<'static>>), Refused, Missing, Gone),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    path: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, Problem> {
    let id = id(&path)?;
    caller.entity(&app.engine, id, Role::Viewer).await?;
    operations::page(&app, &caller, params, Some(id)).await
}
