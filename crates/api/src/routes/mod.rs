//! All endpoints: a folder for each noun, a file for each verb.

pub(crate) mod audit;
pub(crate) mod backends;
pub(crate) mod entities;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod kinds;
pub(crate) mod metrics;
pub(crate) mod namespaces;
pub(crate) mod nodes;
pub(crate) mod operations;
pub(crate) mod projections;
pub(crate) mod system;
pub(crate) mod tokens;

use std::str::FromStr;
use std::time::Duration;

use actix_web::http::header::ALLOW;
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpResponse, Resource, ResponseError, web};
use serde::Serialize;
use stateward_domain::id::Position;

use crate::app_state::AppState;
use crate::position_parser;
use crate::problem::Problem;
use crate::query_parser::Params;

/// How long a list waits for the requested position.
const WAIT_FOR_MAX: Duration = Duration::from_secs(10);

/// A page of a list.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ListReply<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_page_token: Option<String>,
}

/// A page of a read model, which had applied the events up to `as_of` before it was read.
pub(crate) fn page_response<T: Serialize>(
    items: Vec<T>,
    next_page_token: Option<String>,
    as_of: Position,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header(("Stateward-Position", as_of.to_string()));
    response.json(ListReply { items, next_page_token })
}

/// Adds every route.
pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .configure(health::configure)
        .configure(metrics::configure)
        .configure(entities::configure)
        .configure(operations::configure)
        .configure(events::configure)
        .configure(kinds::configure)
        .configure(backends::configure)
        .configure(projections::configure)
        .configure(audit::configure)
        .configure(system::configure)
        .configure(namespaces::configure)
        .configure(nodes::configure)
        .configure(tokens::configure)
        .default_service(web::to(|| async { Problem::not_found().error_response() }));
}

/// A resource that answers methods other than `methods` with a problem that lists them.
pub(crate) fn resource(path: &str, methods: &'static [Method]) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        // Every GET also answers HEAD.
        let head = methods.contains(&Method::GET).then_some("HEAD");
        let allowed: Vec<_> = methods.iter().map(Method::as_str).chain(head).collect();
        let allowed = allowed.join(", ");
        let detail = format!("this address answers to {allowed}");
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
        let mut response = problem.error_response();
        if let Ok(allowed) = allowed.parse() {
            response.headers_mut().insert(ALLOW, allowed);
        }
        response
    }))
}

/// Parses an id in a path; a malformed one is answered with 404.
fn id<T: FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

/// `?wait_for=POSITION`: waits until lists include the position. A position that this log never reaches is refused at
/// once.
async fn wait_for(app: &AppState, params: &mut Params) -> Result<(), Problem> {
    let Some(position) = position_parser::parameter(app, params, "wait_for").await? else {
        return Ok(());
    };
    if app.engine.caught_up(position, Duration::ZERO).await {
        return Ok(());
    }
    let place = params.in_flight.move_to_waiting(&app.limits.waiting);
    if place.is_none() {
        return Err(Problem::unavailable("too many requests wait for a position"));
    }
    if app.engine.caught_up(position, WAIT_FOR_MAX).await {
        return Ok(());
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let detail = "the lists do not show that position yet";
    Err(Problem::new(status, "position-not-reached", detail).retry_after(1))
}
