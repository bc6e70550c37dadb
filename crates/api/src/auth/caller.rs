//! Authorisation: what a caller may see and do.

use std::sync::Arc;

use actix_web::http::StatusCode;
use stateward_domain::access::{Grant, Role, allows};
use stateward_domain::entity::Entity;
use stateward_domain::envelope::Actor;
use stateward_domain::id::{EntityId, Namespace, TokenId};
use stateward_engine::{CommandError, Engine};

use crate::error::conflict_with_holder;
use crate::problem::Problem;

/// An authenticated caller. A handler with this argument rejects all others.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    grants: Vec<Grant>,
    /// `None` = the first administrator's token, which cannot be revoked.
    token: Option<TokenId>,
}

impl Caller {
    /// A caller with `grants`; `token` `None` = the first administrator's.
    pub(super) const fn new(actor: Actor, grants: Vec<Grant>, token: Option<TokenId>) -> Self {
        Self { actor, grants, token }
    }

    /// Whether the token is still valid, as far as this process can know; checked again by responses that outlive the
    /// request, such as watches.
    pub(crate) fn is_still_valid(&self, engine: &Engine) -> bool {
        self.token
            .is_none_or(|token| engine.membership().is_current() && engine.access().is_valid(token))
    }

    /// The token; `None` = the first administrator's.
    pub(crate) const fn token(&self) -> Option<TokenId> {
        self.token
    }

    /// Whether `role` is granted in `namespace`.
    pub(crate) fn can(&self, role: Role, namespace: &Namespace) -> bool {
        allows(&self.grants, role, Some(namespace))
    }

    /// Refuses a caller without `role` in all namespaces.
    pub(crate) fn require_global(&self, role: Role) -> Result<(), Problem> {
        if allows(&self.grants, role, None) { Ok(()) } else { Err(forbidden(role)) }
    }

    /// Refuses a caller without `role` in `namespace`; the caller must be allowed to see the namespace.
    pub(crate) fn require(&self, role: Role, namespace: &Namespace) -> Result<(), Problem> {
        if self.can(role, namespace) { Ok(()) } else { Err(forbidden(role)) }
    }

    /// The namespaces that the caller may read; `None` = all.
    pub(crate) fn visible_namespaces(&self) -> Option<Vec<Namespace>> {
        if allows(&self.grants, Role::Viewer, None) {
            return None;
        }
        Some(self.grants.iter().filter_map(|grant| grant.namespace.clone()).collect())
    }

    /// The namespaces of a list: the requested one, or an empty list if the caller may not read it; without a request
    /// all that the caller may read, `None` = all there are.
    pub(crate) fn visible(&self, asked: Option<String>) -> Option<Vec<Namespace>> {
        let visible = self.visible_namespaces();
        match asked.map(Namespace) {
            None => visible,
            Some(name) if visible.as_ref().is_none_or(|visible| visible.contains(&name)) => {
                Some(vec![name])
            }
            Some(_) => Some(Vec::new()),
        }
    }

    /// The entity, for a caller with `role` in its namespace.
    ///
    /// # Errors
    /// 404 without any role there; 403 if the role is too low.
    pub(crate) async fn entity(
        &self,
        engine: &Engine,
        id: EntityId,
        role: Role,
    ) -> Result<Arc<Entity>, Problem> {
        let entity = engine.entity(id).await?;
        let namespace = &entity.manifest.namespace;
        if !self.can(Role::Viewer, namespace) {
            // Reading a missing entity costs this query more; without it, the response time would show that the entity
            // exists.
            let _ = engine.views().entity(id).await;
            return Err(Problem::not_found());
        }
        self.require(role, namespace)?;
        Ok(entity)
    }

    /// The engine's result of a change, with a problem that reveals nothing that this caller may not see.
    pub(crate) async fn answer<T>(
        &self,
        engine: &Engine,
        outcome: Result<T, CommandError>,
    ) -> Result<T, Problem> {
        match outcome {
            Ok(accepted) => Ok(accepted),
            Err(error) => Err(self.refusal(engine, error).await),
        }
    }

    /// The problem of an engine error. The holder of a taken identity is named only if the caller may read its
    /// namespace.
    async fn refusal(&self, engine: &Engine, error: CommandError) -> Problem {
        let CommandError::IdentityTaken { holder: Some(holder) } = &error else {
            return error.into();
        };
        let visible = match engine.entity(*holder).await {
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
