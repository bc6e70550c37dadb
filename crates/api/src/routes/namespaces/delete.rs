//! `DELETE /v1/namespaces/{name}`: only when nothing lives in it.

use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;
use stateward_domain::id::Namespace;

use crate::app::App;
use crate::asking::{Asked, Asking};
use crate::auth::Caller;
use crate::body::Body;
use crate::openapi::params::ChangeHeaders;
use crate::openapi::problems::{KeyReused, Missing, Refused, Taken};
use crate::params::Params;
use crate::problem::Problem;

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
        app.engine.delete_namespace(&envelope, &Namespace(path.into_inner())).await?;
    }
    Ok(HttpResponse::NoContent().finish())
}
