//! `GET /v1/entities/{id}`: the fold of the log, never stale; with `at`, an earlier state.

use std::collections::BTreeSet;

use actix_web::http::header::{CACHE_CONTROL, ETAG};
use actix_web::{HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;
use stateward_domain::id::{EntityId, Version};

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::change_response::etag;
use crate::dto::entity::EntityView;
use crate::dto::time;
use crate::headers;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::routes::id;
use crate::schema::params::{AtParams, ImplicitParams, SeenHeader};
use crate::schema::problems::{Missing, Refused};

/// Maximum number of dependents in the response.
const DEPENDENTS_SHOWN_MAX: usize = 1_000;

#[utoipa::path(
    get,
    path = "/v1/entities/{id}",
    operation_id = "get_entity",
    tag = "entities",
    summary = "An entity as it is, never stale, or as it was",
    params(("id" = String, Path, description = "Id"), AtParams, ImplicitParams, SeenHeader),
    responses((status = 200, description = "The entity", body = EntityView<'static>), (status = 304, description = "At a revision that `If-None-Match` names"), Refused, Missing),
)]
pub(crate) async fn handler(
    app: web::Data<AppState>,
    caller: Caller,
    path: web::Path<String>,
    mut params: Params,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let id: EntityId = id(&path)?;
    let at = params.text("at")?;
    let implicit = params.value("implicit")?.unwrap_or(false);
    params.finish()?;
    let entity = caller.entity(&app.engine, id, Role::Viewer).await?;
    let Some(at) = at else {
        let tag = (ETAG, etag(&entity));
        // The tag is the revision, which counts changes of users. State and observations change under the same tag, so
        // caches must not store the response: only a client that sends the tag gets a 304.
        let kept_nowhere = (CACHE_CONTROL, "no-store");
        if headers::if_none_match(&request, entity.revision)? {
            let mut same = HttpResponse::NotModified();
            return Ok(same.insert_header(tag).insert_header(kept_nowhere).finish());
        }
        let mut dependents = app.engine.dependents(&entity, DEPENDENTS_SHOWN_MAX).await?;
        if implicit {
            let left = DEPENDENTS_SHOWN_MAX - dependents.len();
            let more = app.engine.implicit_dependents(&entity, left).await?;
            let known: BTreeSet<_> = dependents.iter().map(|dependent| dependent.id).collect();
            dependents.extend(more.into_iter().filter(|more| !known.contains(&more.id)));
        }
        let view = EntityView::from(&*entity).with_dependents(&dependents);
        return Ok(HttpResponse::Ok().insert_header(tag).insert_header(kept_nowhere).json(view));
    };
    let then = match at.parse().map(Version) {
        Ok(version) if version > entity.version || version == Version(0) => {
            return Err(Problem::not_found());
        }
        Ok(version) => app.engine.entities().at_version(id, version).await?,
        Err(_) => {
            let bad = || Problem::malformed("bad-parameter", "at is a version or an RFC 3339 time");
            let moment = time::parse(&at).ok_or_else(bad)?;
            app.engine.entities().at_time(id, moment).await?
        }
    };
    if !then.exists() {
        return Err(Problem::not_found());
    }
    Ok(HttpResponse::Ok().json(EntityView::from(&then)))
}
