//! `DELETE /v1/tokens/{id}`: revokes a token at once.

use actix_web::{HttpResponse, web};

use crate::change_request::{ChangeRequest, IdempotencyCheck};
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
    change: ChangeRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let app = change.app.clone();
    if let IdempotencyCheck::First { envelope, turn: _turn } = change.check_global().await? {
        change.app.engine.access().revoke(&envelope, id(&path)?).await?;
    }
    // Also for a repetition. A member that does not report refuses issued tokens by then.
    app.engine.in_force_everywhere().await?;
    Ok(HttpResponse::NoContent().finish())
}
