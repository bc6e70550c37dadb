//! Authentication: from the `Authorization` header to a caller.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use sha2::{Digest, Sha256};
use stateward_domain::access::{Grant, Role};
use stateward_domain::envelope::Actor;

use super::caller::Caller;
use super::token_digest::hexadecimal;
use crate::app_state::AppState;
use crate::in_flight::InFlight;
use crate::problem::Problem;

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = authenticate(request);
        if let Ok(caller) = &caller {
            InFlight::of(request).set_caller(caller.token());
        }
        ready(caller)
    }
}

fn authenticate(request: &HttpRequest) -> Result<Caller, Problem> {
    let refused = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    let header = request.headers().get(AUTHORIZATION);
    let header = header.ok_or_else(|| refused("a bearer token is needed"))?;
    let (scheme, token) =
        header.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    let app = request.app_data::<web::Data<AppState>>().ok_or_else(|| refused("no application"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(refused("a bearer token is needed"));
    }
    let digest: [u8; 32] = Sha256::digest(token.trim()).into();
    if app.admin.matches(&digest) {
        return Ok(first_administrator());
    }
    let hexadecimal = hexadecimal(&digest);
    let declared = app.admin.accepts_declared().then(|| app.engine.access().administrator());
    if declared.flatten().is_some_and(|known| known == hexadecimal) {
        return Ok(first_administrator());
    }
    if !app.engine.membership().is_current() {
        return Err(Problem::unavailable(
            "this node does not know whether the token is still valid: the store does not answer",
        ));
    }
    // The lookup is by digest, so its duration reveals nothing about an unknown token.
    let identity = app.engine.access().identify(&hexadecimal);
    let identity = identity.ok_or_else(|| refused("the token is not valid"))?;
    app.limits.check_rate(identity.token_id).map_err(|wait| {
        let problem = Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "this token asks too often",
        );
        problem.retry_after(wait.as_secs() + 1)
    })?;
    let actor = Actor {
        kind: "user".to_owned(),
        id: identity.actor,
        token_id: Some(identity.token_id.to_string()),
    };
    Ok(Caller::new(actor, identity.grants, Some(identity.token_id)))
}

fn first_administrator() -> Caller {
    let actor = Actor {
        kind: "user".to_owned(),
        id: "admin".to_owned(),
        token_id: Some("admin".to_owned()),
    };
    Caller::new(actor, vec![Grant { role: Role::Admin, namespace: None }], None)
}
