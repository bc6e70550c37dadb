//! `GET /v1/backends/{name}/objects`: the existing objects, managed or not.

use actix_web::{HttpResponse, web};
use serde::Serialize;
use stateward_domain::access::Role;
use stateward_domain::id::{BackendName, KindName};
use stateward_engine::AdmissionError;
use stateward_engine::service::BackendObject;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::routes::ListReply;
use crate::schema::params::ObjectParams;
use crate::schema::problems::{Missing, Refused};

#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ObjectView {
    /// What the backend calls it.
    external_id: String,
    /// Whether somebody looks after it: an entity here, or whoever left a mark.
    managed: bool,
    /// As it is; nothing that is write-only. Null if it could not be observed.
    attributes: serde_json::Value,
    /// Why it could not be observed; absent if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    unobserved: Option<String>,
}

impl From<BackendObject> for ObjectView {
    fn from(held: BackendObject) -> Self {
        Self {
            external_id: held.object.external_id.0,
            managed: held.managed,
            attributes: held.object.attributes,
            unobserved: held.unobserved,
        }
    }
}

#[utoipa::path(
    get,
    path = "/v1/backends/{name}/objects",
    operation_id = "list_objects",
    tag = "backends",
    summary = "What a backend holds of a kind, a page of the backend's size at a time",
    params(("name" = String, Path, description = "Name"), ObjectParams),
    responses((status = 200, description = "A page", body = ListReply<ObjectView>), Refused, Missing),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    path: web::Path<String>,
    mut params: Params,
) -> Result<HttpResponse, Problem> {
    caller.require_global(Role::Operator)?;
    let (kind, token) = (params.text("kind")?, params.text("page_token")?);
    params.finish()?;
    let kind = kind.ok_or_else(|| Problem::malformed("bad-parameter", "name a kind"))?;
    let (name, kind) = (BackendName(path.into_inner()), KindName(kind));
    let holdings = app.engine.list_objects(&name, &kind, token.as_deref()).await;
    let holdings = holdings.map_err(|error| match error {
        AdmissionError::UnknownBackend(_) => Problem::not_found(),
        AdmissionError::UnknownKind(_) => {
            Problem::malformed("bad-parameter", "the backend has no such kind")
        }
        other => other.into(),
    })?;
    let items: Vec<_> = holdings.objects.into_iter().map(ObjectView::from).collect();
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token: holdings.next }))
}
