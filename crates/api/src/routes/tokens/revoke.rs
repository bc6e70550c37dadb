//! `DELETE /v1/tokens/{id}`: revokes a token at once.

use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::params::Params;
use crate::problem::Problem;
use crate::routes::id;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{KeyReused, Missing, Refused};

#[utoipa::path(
    delete,
    path = "/v1/tokens/{id}",
    operation_id = "revoke_token",
    tag = "access",
    summary = "Let nobody in with it any more, at once",
    params(("id" = String, Path, description = "Id"), ChangeHeaders),
    responses((status = 204, description = "Revoked"), Refused, Missing, KeyReused),
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
        app.engine.access().revoke(&envelope, id(&path)?).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
