//! `/v1/system`: the control plane as a whole.

pub(crate) mod unfreeze;

use actix_web::http::Method;
use actix_web::web;

use super::resource;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(
        resource("/v1/system/unfreeze", &[Method::POST]).route(web::post().to(unfreeze::handler)),
    );
}
