//! `GET /v1/entities/{id}/events`: its history, oldest first.

use actix_web::{HttpResponse, web};
use stateward_domain::access::Role;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{EntityId, Version};
use stateward_domain::ports::event_store::may_have_more;
use stateward_engine::QueryError;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::dto::event::EventView;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::routes::{ListReply, id};
use crate::schema::params::PageParams;
use crate::schema::problems::{Missing, Refused};

#[utoipa::path(
    get,
    path = "/v1/entities/{id}/events",
    operation_id = "list_entity_events",
    tag = "entities",
    summary = "History of an entity, oldest first",
    params(("id" = String, Path, description = "Id"), PageParams),
    responses((status = 200, description = "A page", body = ListReply<EventView>), Refused, Missing),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    path: web::Path<String>,
    mut params: Params,
) -> Result<HttpResponse, Problem> {
    let id: EntityId = id(&path)?;
    let size = params.page_size()?;
    let after = params.value("page_token")?.map(Version).unwrap_or_default();
    params.finish()?;
    caller.entity(&app.engine, id, Role::Viewer).await?;
    let stream = StreamId::entity(id);
    let events =
        app.engine.log().read_stream(&stream, after, size).await.map_err(QueryError::from)?;
    let more = may_have_more(&events, size);
    let next_page_token = events.last().filter(|_| more).map(|event| event.version.to_string());
    let items = events.iter().map(EventView::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token }))
}
