//! Who calls, and what they may do.
//!
//! A token is compared by its digest: nothing of it can be learnt from how long a refusal takes. What a caller may
//! not see is answered like what is not there.

use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{FromRequest, HttpRequest, web};
use sha2::{Digest, Sha256};
use stateward_domain::access::{Grant, Role, allows};
use stateward_domain::entity::Entity;
use stateward_domain::envelope::Actor;
use stateward_domain::id::{EntityId, Namespace, TokenId};
use stateward_engine::Error;
use subtle::ConstantTimeEq;

use crate::app_state::AppState;
use crate::error::conflict_with_holder;
use crate::in_flight::InFlight;
use crate::problem::Problem;
use crate::server_proof;

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

    /// Shows that this server knows the token.
    pub(crate) fn proof(&self, challenge: &str) -> String {
        server_proof::answer(&self.digest, challenge)
    }
}

/// The digest of a token's value, in hexadecimal.
pub(crate) fn digest(token: &str) -> String {
    hexadecimal(&Sha256::digest(token))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// An authenticated caller. A handler that takes one lets nobody else in.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    grants: Vec<Grant>,
    /// `None` = the first administrator's token, which cannot be revoked.
    token: Option<TokenId>,
}

impl Caller {
    /// Whether the token is still valid: for what goes on long after it was shown.
    pub(crate) fn is_still_valid(&self, app: &AppState) -> bool {
        self.token.is_none_or(|token| app.engine.access().is_valid(token))
    }

    /// The token; `None` = the first administrator's.
    pub(crate) const fn token(&self) -> Option<TokenId> {
        self.token
    }

    /// Whether `role` is granted in `namespace`.
    pub(crate) fn can(&self, role: Role, namespace: &Namespace) -> bool {
        allows(&self.grants, role, Some(namespace))
    }

    /// Refuses a caller without `role` beside all namespaces.
    pub(crate) fn require_global(&self, role: Role) -> Result<(), Problem> {
        if allows(&self.grants, role, None) { Ok(()) } else { Err(forbidden(role)) }
    }

    /// Refuses a caller without `role` in `namespace`, which the caller knows of.
    pub(crate) fn require(&self, role: Role, namespace: &Namespace) -> Result<(), Problem> {
        if self.can(role, namespace) { Ok(()) } else { Err(forbidden(role)) }
    }

    /// The namespaces that may be looked into; `None` = all.
    pub(crate) fn visible_namespaces(&self) -> Option<Vec<Namespace>> {
        if allows(&self.grants, Role::Viewer, None) {
            return None;
        }
        Some(self.grants.iter().filter_map(|grant| grant.namespace.clone()).collect())
    }

    /// The entity, for a caller with `role` in its namespace. Without any role there, it does not exist.
    pub(crate) async fn entity(
        &self,
        app: &AppState,
        id: EntityId,
        role: Role,
    ) -> Result<Arc<Entity>, Problem> {
        let entity = app.engine.entity(id).await?;
        let namespace = &entity.manifest.namespace;
        if !self.can(Role::Viewer, namespace) {
            // What is not there costs this read more: without it, the time would tell the two apart.
            let _ = app.engine.views().entity(id).await;
            return Err(Problem::not_found());
        }
        self.require(role, namespace)?;
        Ok(entity)
    }

    /// The engine's answer to a change, as this caller may see it.
    pub(crate) async fn answer<T>(
        &self,
        app: &AppState,
        outcome: Result<T, Error>,
    ) -> Result<T, Problem> {
        match outcome {
            Ok(accepted) => Ok(accepted),
            Err(error) => Err(self.refusal(app, error).await),
        }
    }

    /// The problem that the engine's answer to a change is for this caller: whose something is that is taken is told
    /// only where the caller may look.
    async fn refusal(&self, app: &AppState, error: Error) -> Problem {
        let Error::IdentityTaken { holder: Some(holder) } = &error else { return error.into() };
        let visible = match app.engine.entity(*holder).await {
            Ok(entity) => self.can(Role::Viewer, &entity.manifest.namespace),
            Err(_) => false,
        };
        conflict_with_holder("identity-taken", error.to_string(), visible.then_some(*holder))
    }
}

fn forbidden(role: Role) -> Problem {
    let role = match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    };
    let detail = format!("this takes the role {role}");
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = authenticate(request);
        if let Ok(caller) = &caller {
            InFlight::of(request).set_caller(caller.token);
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
    if bool::from(app.admin.digest.ct_eq(&digest)) {
        return Ok(first_administrator());
    }
    // Looked up by digest: how long that takes says nothing about a token that is not known.
    let identity = app.engine.access().identify(&hexadecimal(&digest));
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
    Ok(Caller { actor, grants: identity.grants, token: Some(identity.token_id) })
}

fn first_administrator() -> Caller {
    let actor = Actor {
        kind: "user".to_owned(),
        id: "admin".to_owned(),
        token_id: Some("admin".to_owned()),
    };
    Caller { actor, grants: vec![Grant { role: Role::Admin, namespace: None }], token: None }
}
