//! `POST /v1/backends/reload`: reads the configuration and all secrets anew.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use stateward_domain::access::Role;
use stateward_engine::backends::BackendChange;

use crate::app::App;
use crate::asking::{Asked, Asking};
use crate::auth::Caller;
use crate::body::Body;
use crate::openapi::params::ChangeHeaders;
use crate::openapi::problems::{Refused, RefusedBody, Taken};
use crate::params::Params;
use crate::problem::Problem;

#[derive(Serialize, utoipa::ToSchema)]
struct ReloadReply {
    backends: Vec<ReloadedBackend>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ReloadedBackend {
    name: String,
    #[schema(value_type = crate::openapi::words::ChangeWord)]
    change: BackendChange,
}

#[utoipa::path(
    post,
    path = "/v1/backends/reload",
    operation_id = "reload_backends",
    tag = "backends",
    summary = "Read backends, namespaces and secrets of the configuration anew, as a whole or not at all",
    params(ChangeHeaders),
    responses((status = 200, description = "What changed", body = ReloadReply), Refused, RefusedBody, Taken),
)]
pub(crate) async fn handler(
    app: web::Data<App>,
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.everywhere(Role::Admin)?;
    let asking = Asking { app: &app, caller: &caller, request: &request, body: &body };
    let changes = match asking.asked(None).await? {
        Asked::New { envelope, turn: _turn } => app.engine.reload(&envelope).await?,
        Asked::Again(first) => app.engine.reloaded_at(first.version).await?,
    };
    let backends = changes
        .into_iter()
        .map(|(name, change)| ReloadedBackend { name: name.to_string(), change })
        .collect();
    Ok(HttpResponse::Ok().json(ReloadReply { backends }))
}
