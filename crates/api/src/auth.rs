//! Who calls: a bearer token, compared by its digest in constant time.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use sha2::{Digest, Sha256};
use stateward_domain::envelope::Actor;
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::problem::Problem;

/// The first administrator's token; only its digest is kept.
pub struct AdminToken {
    digest: [u8; 32],
}

impl AdminToken {
    /// Remembers the digest of `token`.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { digest: Sha256::digest(token).into() }
    }

    fn matches(&self, token: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        bool::from(self.digest.ct_eq(&digest))
    }
}

/// An authenticated caller. A handler that takes one lets nobody else in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(authenticate(request))
    }
}

fn authenticate(request: &HttpRequest) -> Result<Caller, Problem> {
    let refused = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
    let header = request.headers().get(AUTHORIZATION);
    let header = header.ok_or_else(|| refused("a bearer token is needed"))?;
    let (scheme, token) =
        header.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    let app = request.app_data::<web::Data<App>>().ok_or_else(|| refused("no application"))?;
    if !scheme.eq_ignore_ascii_case("bearer") || !app.admin.matches(token.trim()) {
        return Err(refused("the token is not valid"));
    }
    let actor = Actor {
        kind: "user".to_owned(),
        id: "admin".to_owned(),
        token_id: Some("admin".to_owned()),
    };
    Ok(Caller { actor })
}
