//! `POST /v1/backends/reload`: reloads the configuration and all secrets.

use actix_web::HttpResponse;
use serde::Serialize;
use stateward_domain::system::BackendChange;

use crate::change_request::{ChangeRequest, IdempotencyCheck};
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
pub(crate) async fn handler(change: ChangeRequest) -> Result<HttpResponse, Problem> {
    let changes = match change.check_global().await? {
        IdempotencyCheck::First { envelope, turn: _turn } => {
            let changes = change.app.engine.reload(&envelope).await?;
            // The reload is recorded and stays, also when the members cannot be asked.
            if let Err(error) = change.app.engine.in_force_everywhere().await {
                tracing::warn!(%error, "it is not known whether other nodes reloaded");
            }
            changes
        }
        IdempotencyCheck::Replay(first) => change.app.engine.reloaded_at(first.version).await?,
    };
    let backends = changes
        .into_iter()
        .map(|(name, change)| ReloadedBackend { name: name.to_string(), change })
        .collect();
    Ok(HttpResponse::Ok().json(ReloadReply { backends }))
}
