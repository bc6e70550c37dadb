//! `GET /v1/events` as a stream (server-sent events).

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::id::Position;
use stateward_engine::QueryError;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::position_parser;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::sse::{self, Filter};

pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    mut params: Params,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let after = position_parser::parameter(&app, &mut params, "after").await?;
    let filter = Filter::new(&caller, &mut params)?;
    params.finish()?;
    // A browser that reconnects sends its last event, which is newer than the position in the address.
    let after = last_seen(&app, &request).await?.or(after);
    let after = match after {
        Some(after) => after,
        None => app.engine.log().head().await.map_err(QueryError::from)?,
    };
    let stream = sse::watch(&app, caller, filter, after).ok_or_else(|| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "too-many-watchers", "too many watch already").retry_after(10)
    })?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // Proxies must not buffer the stream.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

async fn last_seen(app: &AppState, request: &HttpRequest) -> Result<Option<Position>, Problem> {
    let Some(value) = request.headers().get("Last-Event-ID") else { return Ok(None) };
    let bad = || Problem::malformed("bad-header", "Last-Event-ID is not valid");
    let text = value.to_str().map_err(|_| bad())?;
    position_parser::parse(app, text, bad).await.map(Some)
}
