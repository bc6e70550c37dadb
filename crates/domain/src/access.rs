//! Access control: namespaces and tokens, as one stream of control events, so that past grants can be audited too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control_event::stored_names_of_control_events;
use crate::id::{Namespace, TokenId, Version};
use crate::time::Timestamp;

/// What a grant allows; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Read.
    Viewer,
    /// Change entities.
    Operator,
    /// Manage tokens, pause backends, rebuild views.
    Admin,
}

/// A role in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The namespace; `None` = all namespaces, and what belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
}

/// A token as it is stored. Its value is shown once and never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// SHA-256 of its value, in hexadecimal.
    pub digest: String,
    /// Its owner: an opaque id, which events name as the actor.
    pub actor: String,
    /// Its grants.
    pub grants: Vec<Grant>,
    /// Invalid from then on; `None` = valid until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Settings of a namespace, which scopes names and access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NamespaceSettings {
    /// Changes need a reason.
    pub require_reason: bool,
}

/// One fact about access.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are explained on the state that they change")]
pub enum AccessEvent {
    /// A namespace was created, or its settings changed.
    NamespaceDeclared { at: Timestamp, namespace: Namespace, settings: NamespaceSettings },
    /// A namespace was deleted.
    NamespaceDeleted { at: Timestamp, namespace: Namespace },
    /// A token was issued.
    TokenIssued { at: Timestamp, token_id: TokenId, token: Token },
    /// A token was revoked.
    TokenRevoked { at: Timestamp, token_id: TokenId },
    /// The first process on a shared store made the first administrator's token, which holds in all processes.
    AdministratorDeclared { at: Timestamp, digest: String },
    /// A request with an idempotency key was accepted and changed nothing: its claim is in the envelope.
    RequestRecorded { at: Timestamp },
}

stored_names_of_control_events! {
    AccessEvent in "access":
    NamespaceDeclared => "namespace_declared";
    NamespaceDeleted => "namespace_deleted";
    TokenIssued => "token_issued";
    TokenRevoked => "token_revoked";
    AdministratorDeclared => "administrator_declared";
    RequestRecorded => "request_recorded";
}

/// All namespaces and tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Number of folded events.
    pub version: Version,
    /// Namespaces that were created; `default` and configured ones exist besides.
    pub namespaces: BTreeMap<Namespace, NamespaceSettings>,
    /// Tokens that were issued and not revoked, including expired ones.
    pub tokens: BTreeMap<TokenId, Token>,
    /// SHA-256 of the first administrator's token, in hexadecimal; `None` = each process has its own.
    pub administrator: Option<String>,
}

impl Access {
    /// Limit of namespaces, and of tokens.
    pub const MAX: usize = 10_000;

    /// Folds `event` into the state.
    pub fn evolve(&mut self, event: &AccessEvent) {
        self.version = self.version.next();
        match event {
            AccessEvent::NamespaceDeclared { namespace, settings, .. } => {
                self.namespaces.insert(namespace.clone(), *settings);
            }
            AccessEvent::NamespaceDeleted { namespace, .. } => {
                self.namespaces.remove(namespace);
            }
            AccessEvent::TokenIssued { token_id, token, .. } => {
                self.tokens.insert(*token_id, token.clone());
            }
            AccessEvent::TokenRevoked { token_id, .. } => {
                self.tokens.remove(token_id);
            }
            AccessEvent::AdministratorDeclared { digest, .. } => {
                self.administrator = Some(digest.clone());
            }
            AccessEvent::RequestRecorded { .. } => {}
        }
    }
}

impl Token {
    /// Whether it is not expired at `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}

/// Whether `grants` allow `role` in `namespace`; `None` = outside all namespaces.
#[must_use]
pub fn allows(grants: &[Grant], role: Role, namespace: Option<&Namespace>) -> bool {
    grants.iter().any(|grant| {
        let here = grant.namespace.is_none() || grant.namespace.as_ref() == namespace;
        here && grant.role >= role
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, namespace: Option<&str>) -> Grant {
        Grant { role, namespace: namespace.map(Namespace::from) }
    }

    #[test]
    fn a_grant_reaches_as_far_as_it_says() {
        let (a, b) = (Namespace::from("a"), Namespace::from("b"));
        let here = [grant(Role::Operator, Some("a"))];
        assert!(allows(&here, Role::Viewer, Some(&a)) && allows(&here, Role::Operator, Some(&a)));
        assert!(!allows(&here, Role::Admin, Some(&a)));
        assert!(!allows(&here, Role::Viewer, Some(&b)) && !allows(&here, Role::Viewer, None));
        let everywhere = [grant(Role::Viewer, None)];
        assert!(allows(&everywhere, Role::Viewer, Some(&b)));
        assert!(allows(&everywhere, Role::Viewer, None));
        assert!(!allows(&[], Role::Viewer, Some(&a)));
    }

    #[test]
    fn a_token_ends_when_it_was_meant_to() {
        let token = |expires_at| Token {
            digest: String::new(),
            actor: "ci".to_owned(),
            grants: Vec::new(),
            expires_at,
        };
        assert!(token(None).is_valid(Timestamp(5)));
        assert!(token(Some(Timestamp(6))).is_valid(Timestamp(5)));
        assert!(!token(Some(Timestamp(5))).is_valid(Timestamp(5)));
    }
}
