//! `POST /v1/backends/reload`: reloads the configuration and all secrets.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use stateward_domain::access::Role;
use stateward_domain::system::BackendChange;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::params::Params;
use crate::problem::Problem;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{Refused, RefusedBody, Taken};

#[derive(Serialize, utoipa::ToSchema)]
struct ReloadReply {
    backends: Vec<ReloadedBackend>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ReloadedBackend {
    name: String,
    #[schema(value_type = crate::schema::enums::ChangeSchema)]
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
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    caller.require_global(Role::Admin)?;
    let change_request =
        ChangeRequest { app: &app, caller: &caller, request: &request, body: &body };
    let changes = match change_request.check_idempotency(None).await? {
        IdempotencyCheck::First { envelope, turn: _turn } => app.engine.reload(&envelope).await?,
        IdempotencyCheck::Replay(first) => app.engine.reloaded_at(first.version).await?,
    };
    let backends = changes
        .into_iter()
        .map(|(name, change)| ReloadedBackend { name: name.to_string(), change })
        .collect();
    Ok(HttpResponse::Ok().json(ReloadReply { backends }))
}
