//! `/openapi.json` and `/docs`: the document, for programs and for people.

use actix_web::http::Method;
use actix_web::{HttpResponse, web};
use utoipa_swagger_ui::SwaggerUi;

use crate::routes::resource;

pub(crate) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(resource("/openapi.json", &[Method::GET]).route(web::get().to(serve_document)))
        .service(web::redirect("/docs", "/docs/"))
        .service(SwaggerUi::new("/docs/{_:.*}").config("/openapi.json".into()));
}

async fn serve_document() -> HttpResponse {
    HttpResponse::Ok().json(super::document())
}
