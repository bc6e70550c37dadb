//! `GET /v1/events`: the whole log, page by page.

use actix_web::{HttpResponse, web};
use stateward_domain::id::Position;
use stateward_engine::Error;

use super::{ListReply, resource};
use crate::app::App;
use crate::auth::Caller;
use crate::dto::event::EventView;
use crate::params::Params;
use crate::problem::Problem;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/v1/events").route(web::get().to(list)));
}

async fn list(
    app: web::Data<App>,
    _caller: Caller,
    mut params: Params,
) -> Result<HttpResponse, Problem> {
    let size = params.page_size()?;
    let token: Option<Position> = params.value("page_token")?;
    let after: Option<Position> = params.value("after")?;
    params.finish()?;
    let after = token.or(after).unwrap_or(Position::START);
    let events = app.engine.log().read_log(after, size).await.map_err(Error::from)?;
    let next_page_token =
        events.last().filter(|_| events.len() == size).map(|event| event.position.to_string());
    let items = events.iter().map(EventView::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token }))
}
