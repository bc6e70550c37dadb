//! `GET /v1/events`: a page of the log.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use stateward_domain::id::Position;
use stateward_domain::ports::event_store::{PAGE_BYTES_MAX, may_have_more};
use stateward_engine::QueryError;
use tokio::time::{Instant, timeout_at};

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::dto::event::EventView;
use crate::position_parser;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::routes::ListReply;
use crate::schema::params::{EventParams, LastSeenHeader, PageParams};
use crate::schema::problems::{Gone, Refused};
use crate::sse::Filter;

/// Maximum events read for one page: a filter that matches few events must not read the whole log.
const SCANNED_MAX: usize = 10_000;
/// Maximum bytes of these events.
const SCANNED_BYTES_MAX: usize = 16 * PAGE_BYTES_MAX;
/// Maximum time that a page waits for events that readers are not let past yet.
const HELD_BACK_MAX: Duration = Duration::from_secs(2);

#[utoipa::path(
    get,
    path = "/v1/events",
    operation_id = "list_events",
    tag = "events",
    summary = "The whole log, oldest first; with Accept: text/event-stream as it grows",
    params(PageParams, EventParams, LastSeenHeader),
    responses((status = 200, description = "A page, or the stream", content((ListReply<EventView> = "application/json"), (String = "text/event-stream"))), Refused, Gone),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    mut params: Params,
) -> Result<HttpResponse, Problem> {
    let size = params.page_size()?;
    let token = position_parser::parameter(&app, &mut params, "page_token").await?;
    let after = position_parser::parameter(&app, &mut params, "after").await?;
    let filter = Filter::new(&caller, &mut params)?;
    params.finish()?;
    // What was acknowledged before this request is listed, whichever process recorded it.
    let head = app.engine.log().head().await.map_err(QueryError::from)?;
    let deadline = Instant::now() + HELD_BACK_MAX;
    let mut after = token.or(after).unwrap_or(Position::START);
    let (mut items, mut scanned, mut bytes, mut scanned_bytes) = (Vec::new(), 0, 0, 0);
    loop {
        let page = app.engine.log().read_log(after, size).await.map_err(QueryError::from)?;
        scanned += page.events.len();
        for event in &page.events {
            after = event.position;
            scanned_bytes += event.size();
            if filter.fits(event) {
                items.push(EventView::try_from(event)?);
                bytes += event.size();
            }
            if items.len() == size || bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        let full = items.len() == size || bytes >= PAGE_BYTES_MAX;
        let ends = !may_have_more(&page.events, size);
        let lacks = (head.major, head.minor) != (0, 0) && !page.through.includes(head);
        if ends && !full && lacks && Instant::now() < deadline {
            let _ = timeout_at(deadline, app.engine.log().changed_after(page.through)).await;
            after = page.through;
            continue;
        }
        if ends || full || scanned >= SCANNED_MAX || scanned_bytes >= SCANNED_BYTES_MAX {
            let more = !ends || full;
            let next_page_token = more.then(|| after.to_string());
            return Ok(HttpResponse::Ok().json(ListReply { items, next_page_token }));
        }
    }
}
