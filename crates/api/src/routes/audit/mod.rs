//! `/v1/audit`: verification, checkpoints and exports of the log.

pub(crate) mod checkpoint;
pub(crate) mod export;
pub(crate) mod verify;

use actix_web::http::Method;
use actix_web::web;

use super::resource;

/// One JSON document per line.
const LINES: &str = "application/x-ndjson";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            resource("/v1/audit/verify", &[Method::POST]).route(web::post().to(verify::handler)),
        )
        .service(
            resource("/v1/audit/checkpoint", &[Method::GET])
                .route(web::get().to(checkpoint::handler)),
        )
        .service(
            resource("/v1/audit/export", &[Method::GET]).route(web::get().to(export::handler)),
        );
}
