//! `/v1/backends`: status; `act` has the actions of administrators.

pub(crate) mod act;
pub(crate) mod objects;
pub(crate) mod reload;

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use serde::Serialize;
use stateward_domain::backend::{Backend as Record, Pause};
use stateward_domain::id::BackendName;
use stateward_engine::backends::Backend;
use stateward_engine::backends::availability::Unavailable;
use stateward_engine::service::BackendStatus;

use super::{ListReply, resource};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::dto::time;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::problems::{Missing, Refused};

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BackendView {
    name: String,
    driver: String,
    /// Tells one configuration from another.
    digest: String,
    /// Whether changes are made there now.
    open: bool,
    paused: bool,
    /// Why it is paused and until when; `null` = it is not.
    pause: Option<PauseView>,
    #[schema(value_type = Option<serde_json::Value>)]
    closed: Option<Unavailable>,
    kinds: Vec<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct PauseView {
    /// `null` = until it is resumed.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// `null` = none was given.
    reason: Option<String>,
}

impl PauseView {
    fn of(pause: Pause) -> Self {
        Self { until: pause.until.map(time::text), reason: pause.reason }
    }
}

impl BackendView {
    /// The view of a backend's record, which is reproducible; `backend`, the present configuration, fills in only what
    /// no record holds.
    pub(super) fn recorded(name: &BackendName, record: &Record, backend: Option<&Backend>) -> Self {
        let settings = backend.map(|backend| &backend.settings);
        let now = record.updated_at;
        let resting = record.throttled.get("").copied().filter(|until| *until > now);
        let closed = match &record.parked {
            Some(cause) => Some(Unavailable::Parked(cause.clone())),
            None => resting.map(|until| Unavailable::Throttled { until }),
        };
        let pause = record.paused.clone().filter(|pause| pause.holds(now));
        let configured = record.configured.is_some();
        let driver = settings.filter(|_| !configured).map(|settings| settings.driver_name.clone());
        let digest = settings.map(|settings| settings.digest.clone());
        Self {
            name: name.to_string(),
            driver: driver.unwrap_or_else(|| record.driver.clone()),
            digest: record.configured.clone().or(digest).unwrap_or_default(),
            open: closed.is_none() && pause.is_none(),
            paused: pause.is_some(),
            pause: pause.map(PauseView::of),
            closed,
            kinds: backend.map(kinds).unwrap_or_default(),
        }
    }
}

/// Names of the kinds that a backend serves.
fn kinds(backend: &Backend) -> Vec<String> {
    let kinds = backend.settings.driver.kinds().iter();
    kinds
        .filter(|kind| backend.kind(&kind.name).is_some())
        .map(|kind| kind.name.to_string())
        .collect()
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
    BackendView {
        name: backend.name().to_string(),
        driver: backend.settings.driver_name.clone(),
        digest: backend.settings.digest.clone(),
        open: status.unavailable.is_none() && status.pause.is_none(),
        paused: status.pause.is_some(),
        pause: status.pause.clone().map(PauseView::of),
        closed: status.unavailable.clone(),
        kinds: kinds(backend),
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
    app: web::Data<AppState>,
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
    app: web::Data<AppState>,
    _caller: Caller,
    path: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let statuses = app.engine.backend_statuses();
    let found = statuses.iter().find(|status| status.backend.name().as_str() == path.as_str());
    Ok(HttpResponse::Ok().json(view(found.ok_or_else(Problem::not_found)?)))
}
