//! `/openapi.json` and `/docs`: the interface, for programs and for people.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use utoipa_swagger_ui::SwaggerUi;

use super::resource;
use crate::openapi;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/openapi.json", &[Method::GET]).route(web::get().to(document)))
        .service(web::redirect("/docs", "/docs/"))
        .service(SwaggerUi::new("/docs/{_:.*}").config("/openapi.json".into()));
}

async fn document() -> HttpResponse {
    HttpResponse::Ok().json(openapi::document())
}
