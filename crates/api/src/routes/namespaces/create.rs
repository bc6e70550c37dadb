//! `POST /v1/namespaces`.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use serde::Deserialize;
use stateward_domain::access::NamespaceSettings;
use stateward_domain::id::Namespace;
use stateward_engine::admission::names;

use super::NamespaceView;
use crate::change_request::{ChangeRequest, IdempotencyCheck};
use crate::problem::Problem;
use crate::schema::params::ChangeHeaders;
use crate::schema::problems::{Refused, RefusedBody, Taken};

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct NamespaceBody {
    #[schema(min_length = 1, max_length = 253, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    name: String,
    #[serde(default)]
    require_reason: bool,
}

#[utoipa::path(
    post,
    path = "/v1/namespaces",
    operation_id = "create_namespace",
    tag = "access",
    summary = "Make a namespace",
    params(ChangeHeaders),
    request_body = NamespaceBody,
    responses((status = 201, description = "Made", body = NamespaceView), Refused, RefusedBody, Taken),
)]
pub(crate) async fn handler(change: ChangeRequest) -> Result<HttpResponse, Problem> {
    let asked = change.check_global().await?;
    let NamespaceBody { name, require_reason } = change.body.json()?;
    if !names::is_name(&name) {
        let problem = Problem::unprocessable("bad-document", "the document has 1 fault(s)");
        return Err(problem.at("/name", "is no name: letters, digits, . _ - and at most 253"));
    }
    if let IdempotencyCheck::First { envelope, turn: _turn } = asked {
        let settings = NamespaceSettings { require_reason };
        let namespace = Namespace(name.clone());
        change.app.engine.access().declare_namespace(&envelope, &namespace, settings).await?;
    }
    // Also for a repetition: the first request may not have waited to the end.
    change.app.engine.in_force_everywhere().await?;
    let location = (LOCATION, format!("/v1/namespaces/{name}"));
    let view = NamespaceView { name, require_reason };
    Ok(HttpResponse::Created().insert_header(location).json(view))
}
