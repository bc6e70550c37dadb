//! `DELETE /v1/namespaces/{name}`: only for a namespace without entities.

use actix_web::{HttpResponse, web};
use stateward_domain::id::Namespace;

use crate::change_request::{ChangeRequest, IdempotencyCheck};
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
    change: ChangeRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let app = change.app.clone();
    if let IdempotencyCheck::First { envelope, turn: _turn } = change.check_global().await? {
        app.engine.delete_namespace(&envelope, &Namespace(path.into_inner())).await?;
    }
    // Also for a repetition: the first request may not have waited to the end.
    app.engine.in_force_everywhere().await?;
    Ok(HttpResponse::NoContent().finish())
}
