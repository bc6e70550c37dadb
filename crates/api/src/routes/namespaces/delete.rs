//! `DELETE /v1/namespaces/{name}`: only for a namespace without entities.

use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;
use stateward_domain::id::Namespace;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::params::Params;
use crate::problem::Problem;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{KeyReused, Missing, Refused, Taken};

#[utoipa::path(
    delete,
    path = "/v1/namespaces/{name}",
    operation_id = "delete_namespace",
    tag = "access",
    summary = "Delete a namespace in which nothing lives",
    params(("name" = String, Path, description = "Name"), ChangeHeaders),
    responses((status = 204, description = "Gone"), Refused, Missing, Taken, KeyReused),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    path: web::Path<String>,
    params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.require_global(Role::Admin)?;
    let change_request =
        ChangeRequest { app: &app, caller: &caller, request: &request, body: &body };
    if let IdempotencyCheck::First { envelope, turn: _turn } =
        change_request.check_idempotency(None).await?
    {
        app.engine.delete_namespace(&envelope, &Namespace(path.into_inner())).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
