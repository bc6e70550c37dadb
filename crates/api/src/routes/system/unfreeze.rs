//! `POST /v1/system/unfreeze`: an administrator permits changes of backends.

use actix_web::HttpResponse;
use serde::{Deserialize, Serialize};

use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::headers;
use crate::problem::Problem;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{Refused, RefusedBody};

#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
struct UnfreezeBody {
    /// Why, at most 500 characters; the header `Stateward-Reason` wins.
    #[schema(max_length = 500)]
    reason: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct UnfreezeReply {
    /// Whether nothing is changed on any backend.
    observe_only: bool,
}

#[utoipa::path(
    post,
    path = "/v1/system/unfreeze",
    operation_id = "unfreeze",
    tag = "system",
    summary = "Let changes of backends begin after a store was put back, or a start with --observe-only",
    params(ChangeHeaders),
    request_body = UnfreezeBody,
    responses((status = 200, description = "They have begun", body = UnfreezeReply), Refused, RefusedBody),
)]
pub(crate) async fn handler(change: ChangeRequest) -> Result<HttpResponse, Problem> {
    let IdempotencyCheck::First { mut envelope, turn: _turn } = change.check_global().await? else {
        return Ok(begun());
    };
    let UnfreezeBody { reason } = change.body.json_or_default()?;
    envelope.reason = envelope.reason.or(headers::reason(reason)?);
    change.app.engine.unfreeze(&envelope).await?;
    Ok(begun())
}

fn begun() -> HttpResponse {
    HttpResponse::Ok().json(UnfreezeReply { observe_only: false })
}
