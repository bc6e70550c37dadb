//! `/v1/entities`: the declared entities.

pub(crate) mod act;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod operations;
pub(crate) mod patch;
pub(crate) mod put;

use actix_web::http::Method;
use actix_web::web;

use super::resource;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/v1/entities", &[Method::GET, Method::POST])
                .route(web::get().to(list::handler))
                .route(web::post().to(create::handler)),
        )
        .service(
            resource(
                "/v1/entities/{id}",
                &[Method::GET, Method::PUT, Method::PATCH, Method::DELETE],
            )
            .route(web::get().to(get::handler))
            .route(web::put().to(put::handler))
            .route(web::patch().to(patch::handler))
            .route(web::delete().to(delete::handler)),
        )
        .service(
            resource("/v1/entities/{id}/events", &[Method::GET])
                .route(web::get().to(events::handler)),
        )
        .service(
            resource("/v1/entities/{id}/operations", &[Method::GET])
                .route(web::get().to(operations::handler)),
        )
        .service(
            resource("/v1/entities/{id}/actions/{name}", &[Method::POST])
                .route(web::post().to(act::handler)),
        );
}
