//! `/v1/kinds`: what can be declared.

use actix_web::{HttpResponse, web};
use stateward_domain::id::KindName;

use super::{ListReply, resource};
use crate::app::App;
use crate::auth::Caller;
use crate::params::Params;
use crate::problem::Problem;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/v1/kinds").route(web::get().to(list)))
        .service(resource("/v1/kinds/{kind}").route(web::get().to(get)));
}

async fn list(
    app: web::Data<App>,
    _caller: Caller,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let items: Vec<_> = app.engine.kinds().iter().collect();
    Ok(HttpResponse::Ok().json(ListReply { items, next_page_token: None }))
}

async fn get(
    app: web::Data<App>,
    _caller: Caller,
    path: web::Path<String>,
    params: Params,
) -> Result<HttpResponse, Problem> {
    params.finish()?;
    let kind = app.engine.kinds().get(&KindName(path.into_inner()));
    Ok(HttpResponse::Ok().json(kind.map_err(|_| Problem::not_found())?))
}
