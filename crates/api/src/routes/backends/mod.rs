//! `/v1/backends`: how they stand; `act` is what a person does about it.

pub(crate) mod act;
pub(crate) mod objects;
pub(crate) mod reload;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use stateward_engine::backends::gate::Closed;
use stateward_engine::engine::BackendStatus;

use super::{ListReply, resource};
use crate::app::App;
use crate::auth::Caller;
use crate::openapi::problems::{Missing, Refused};
use crate::params::Params;
use crate::problem::Problem;

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BackendView {
    name: String,
    driver: String,
    /// Tells one configuration from another.
    digest: String,
    /// Whether changes are made there now.
    open: bool,
    paused: bool,
    #[schema(value_type = Option<serde_json::Value>)]
    closed: Option<Closed>,
    kinds: Vec<String>,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/v1/backends", &[Method::GET]).route(web::get().to(list)))
        .service(
            resource("/v1/backends/reload", &[Method::POST]).route(web::post().to(reload::handler)),
        )
        .service(resource("/v1/backends/{name}", &[Method::GET]).route(web::get().to(get)))
        .service(
            resource("/v1/backends/{name}/objects", &[Method::GET])
                .route(web::get().to(objects::handler)),
        )
        .service(
            resource("/v1/backends/{name}/actions/{action}", &[Method::POST])
                .route(web::post().to(act::handler)),
        );
}

pub(super) fn view(status: &BackendStatus) -> BackendView {
    let backend = &status.backend;
    let kinds = backend.settings.driver.kinds().iter();
    BackendView {
        name: backend.name().to_string(),
        driver: backend.settings.driver_name.clone(),
        digest: backend.settings.digest.clone(),
        open: status.closed.is_none() && !status.paused,
        paused: status.paused,
        closed: status.closed.clone(),
        kinds: kinds
            .filter(|kind| backend.kind(&kind.name).is_some())
            .map(|kind| kind.name.to_string())
            .collect(),
    }
}

#[utoipa::path(
    get,
    path = "/v1/backends",
    operation_id = "list_backends",
    tag = "backends",
    summary = "How the backends stand",
    responses((status = 200, description = "All backends", body = ListReply<BackendView>), Refused),
)]
pub(crate) async fn list(
    app: web::Data<App>,
    _caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let items: Vec<_> = app.engine.backend_statuses().iter().map(view).collect();
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token: None }))
}

#[utoipa::path(
    get,
    path = "/v1/backends/{name}",
    operation_id = "get_backend",
    tag = "backends",
    summary = "How a backend stands",
    params(("name" = String, Path, description = "Name")),
    responses((status = 200, description = "The backend", body = BackendView), Refused, Missing),
)]
pub(crate) async fn get(
    app: web::Data<App>,
    _caller: Caller,
    path: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let statuses = app.engine.backend_statuses();
    let found = statuses.iter().find(|status| status.backend.name().as_str() == path.as_str());
    Ok(HttpResponse::Ok().json(view(found.ok_or_else(Problem::not_found)?)))
}
