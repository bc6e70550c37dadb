//! `POST /v1/backends/reload`: reloads the configuration and all secrets.

use actix_web::HttpResponse;
use serde::Serialize;
use stateward_domain::system::BackendChange;
use stateward_engine::service::FailedReload;

use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::problem::Problem;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{Refused, RefusedBody, Taken};

#[derive(Serialize, utoipa::ToSchema)]
struct ReloadReply {
    backends: Vec<ReloadedBackend>,
    /// Other nodes in which it is not in force as in the one that answers: each keeps the configuration that it had, or has
    /// another one. Empty where one process has the store
    failed: Vec<FailedNode>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct FailedNode {
    /// Its name, as in `/v1/nodes`
    node: String,
    /// Why, in one line
    error: String,
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
pub(crate) async fn handler(change: ChangeRequest) -> Result<HttpResponse, Problem> {
    let engine = &change.app.engine;
    let reloaded = match change.check_global().await? {
        IdempotencyCheck::First { envelope, turn: _turn } => engine.reload(&envelope).await?,
        IdempotencyCheck::Replay(first) => engine.reloaded_at(first.version).await?,
    };
    let failed = match reloaded.version {
        Some(version) => engine.failed_reloads(version).await?,
        None => Vec::new(),
    };
    let failed = failed.into_iter().map(|FailedReload { node, error }| FailedNode { node, error });
    let backends = reloaded
        .backends
        .into_iter()
        .map(|(name, change)| ReloadedBackend { name: name.to_string(), change });
    Ok(HttpResponse::Ok()
        .json(ReloadReply { backends: backends.collect(), failed: failed.collect() }))
}
