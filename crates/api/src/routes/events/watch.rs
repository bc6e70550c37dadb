//! The log as it grows (server-sent events).

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::id::Position;
use stateward_engine::Error;

use crate::app::App;
use crate::auth::Caller;
use crate::params::Params;
use crate::problem::Problem;
use crate::sse::{self, Filter};

pub(crate) async fn handler(
    app: web::Data<App>,
    caller: Caller,
    mut params: Params,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let after: Option<Position> = params.value("after")?;
    let filter = Filter::new(&caller, &mut params)?;
    params.finish()?;
    // A browser that comes back says what it saw last; that is newer than what its address says.
    let after = last_seen(&request)?.or(after);
    let after = match after {
        Some(after) => after,
        None => app.engine.log().head().await.map_err(Error::from)?,
    };
    // A position of another log, or ahead of this one, is answered before the stream begins.
    app.engine.log().read_log(after, 1).await.map_err(Error::from)?;
    let stream = sse::watch(&app, caller, filter, after).ok_or_else(|| {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "too-many-watchers", "too many watch already").retry_after(10)
    })?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream"))
        .insert_header((CACHE_CONTROL, "no-store"))
        // A proxy in between must not collect what is meant to arrive at once.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream))
}

fn last_seen(request: &HttpRequest) -> Result<Option<Position>, Problem> {
    let Some(value) = request.headers().get("Last-Event-ID") else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.parse().ok());
    let bad = || Problem::malformed("bad-header", "Last-Event-ID is not valid");
    position.map(Some).ok_or_else(bad)
}
