//! `/v1/entities`: what users declare.

mod act;
mod create;
mod delete;
mod events;
mod get;
mod list;
mod operations;
mod patch;
mod put;

use actix_web::web;

use super::resource;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/v1/entities")
                .route(web::get().to(list::handler))
                .route(web::post().to(create::handler)),
        )
        .service(
            resource("/v1/entities/{id}")
                .route(web::get().to(get::handler))
                .route(web::put().to(put::handler))
                .route(web::patch().to(patch::handler))
                .route(web::delete().to(delete::handler)),
        )
        .service(resource("/v1/entities/{id}/events").route(web::get().to(events::handler)))
        .service(resource("/v1/entities/{id}/operations").route(web::get().to(operations::handler)))
        .service(resource("/v1/entities/{id}/actions/{name}").route(web::post().to(act::handler)));
}
