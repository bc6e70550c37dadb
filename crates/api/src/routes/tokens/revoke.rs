//! `DELETE /v1/tokens/{id}`: nobody comes in with it any more, at once.

use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;

use crate::app::App;
use crate::asking::{Asked, Asking};
use crate::auth::Caller;
use crate::body::Body;
use crate::openapi::params::ChangeHeaders;
use crate::openapi::problems::{KeyReused, Missing, Refused};
use crate::params::Params;
use crate::problem::Problem;
use crate::routes::id;

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
    app: web::Data<App>,
    caller: Caller,
    path: web::Path<String>,
    params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.everywhere(Role::Admin)?;
    let asking = Asking { app: &app, caller: &caller, request: &request, body: &body };
    if let Asked::New { envelope, turn: _turn } = asking.asked(None).await? {
        app.engine.access().revoke(&envelope, id(&path)?).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
