//! `GET /v1/events`: the log, page by page; as a stream with `Accept: text/event-stream`.

pub(crate) mod list;
pub(crate) mod watch;

use actix_web::http::Method;
use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, guard, web};

use super::resource;
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::query_parser::Params;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    let streams = guard::fn_guard(|context| {
        let accept = context.head().headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/event-stream"))
    });
    config.service(
        resource("/v1/events", &[Method::GET])
            .route(web::get().guard(streams).to(watch))
            .route(web::get().to(list::handler)),
    );
}

async fn watch(
    app: web::Data<AppState>,
    caller: Caller,
    params: Params,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    watch::handler(app, caller, params, request).await
}
