//! `/v1/namespaces`: scopes of names and access.

pub(crate) mod create;
pub(crate) mod delete;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use stateward_domain::access::Role;

use super::{ListReply, resource};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::problems::Refused;

#[derive(Serialize, utoipa::ToSchema)]
struct NamespaceView {
    name: String,
    require_reason: bool,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/v1/namespaces", &[Method::GET, Method::POST])
                .route(web::get().to(list))
                .route(web::post().to(create::handler)),
        )
        .service(
            resource("/v1/namespaces/{name}", &[Method::DELETE])
                .route(web::delete().to(delete::handler)),
        );
}

/// Those that the caller may look into.
#[utoipa::path(
    get,
    path = "/v1/namespaces",
    operation_id = "list_namespaces",
    tag = "access",
    summary = "Namespaces that may be looked into",
    responses((status = 200, description = "All of them", body = ListReply<NamespaceView>), Refused),
)]
pub(crate) async fn list(
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let all = app.engine.access().namespaces().into_iter();
    let items: Vec<_> = all
        .filter(|(name, _)| caller.can(Role::Viewer, name))
        .map(|(name, settings)| NamespaceView {
            name: name.0,
            require_reason: settings.require_reason,
        })
        .collect();
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token: None }))
}
