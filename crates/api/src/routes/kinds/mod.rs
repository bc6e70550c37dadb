//! `/v1/kinds`: the kinds that can be declared.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use stateward_domain::id::KindName;

use super::{ListReply, resource};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::schema::objects::KindSchema;
use crate::schema::problems::{Missing, Refused};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/v1/kinds", &[Method::GET]).route(web::get().to(list)))
        .service(resource("/v1/kinds/{kind}", &[Method::GET]).route(web::get().to(get)));
}

#[utoipa::path(
    get,
    path = "/v1/kinds",
    operation_id = "list_kinds",
    tag = "kinds",
    summary = "What can be declared",
    responses((status = 200, description = "All kinds", body = ListReply<KindSchema>), Refused),
)]
pub(crate) async fn list(
    app: web::Data<AppState>,
    _caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let items: Vec<_> = app.engine.kinds().iter().collect();
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token: None }))
}

#[utoipa::path(
    get,
    path = "/v1/kinds/{kind}",
    operation_id = "get_kind",
    tag = "kinds",
    summary = "A kind with its schema",
    params(("kind" = String, Path, description = "Name")),
    responses((status = 200, description = "The kind", body = KindSchema), Refused, Missing),
)]
pub(crate) async fn get(
    app: web::Data<AppState>,
    _caller: Caller,
    path: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let kind = app.engine.kinds().get(&KindName(path.into_inner()));
    Ok(HttpResponse::Ok().json(kind.map_err(|_| Problem::not_found())?))
}
