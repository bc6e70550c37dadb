//! Namespaces and access tokens: loaded from the log at start, changed through the log by any process, read on every
//! request.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use stateward_domain::access::{Access, AccessEvent, Grant, NamespaceSettings, Token};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::id::{Namespace, TokenId, Version};
use stateward_domain::time::Moment;
use tokio::sync::watch;

use crate::clock::ClockAndIds;
use crate::commands::control_streams::{ControlStreams, StreamChange};
use crate::error::{ControlError, QueryError};

/// The namespace that always exists.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The caller that a token authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token.
    pub token_id: TokenId,
    /// The actor that the token was issued to.
    pub actor: String,
    /// Roles that the token grants.
    pub grants: Vec<Grant>,
}

#[derive(Default)]
struct AccessState {
    access: Access,
    by_digest: HashMap<String, TokenId>,
}

/// Namespaces and tokens that this process knows.
pub struct AccessControl {
    streams: ControlStreams,
    clock: ClockAndIds,
    configured: RwLock<BTreeMap<Namespace, NamespaceSettings>>,
    known: watch::Sender<Arc<AccessState>>,
}

impl AccessControl {
    pub(crate) fn new(
        streams: ControlStreams,
        clock: ClockAndIds,
        configured: BTreeMap<Namespace, NamespaceSettings>,
    ) -> Self {
        let known = watch::Sender::default();
        let access = Self { streams, clock, configured: RwLock::default(), known };
        access.configure(configured);
        access
    }

    /// Replaces the configured namespaces; `default` is always among them.
    pub(crate) fn configure(&self, mut namespaces: BTreeMap<Namespace, NamespaceSettings>) {
        namespaces.entry(Namespace::from(DEFAULT_NAMESPACE)).or_default();
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = namespaces;
    }

    /// Namespaces of the configuration, `default` among them.
    pub(crate) fn configured(&self) -> BTreeMap<Namespace, NamespaceSettings> {
        self.configured.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the namespace was created through the API, not by the configuration.
    pub(crate) fn is_created(&self, name: &Namespace) -> bool {
        self.known().access.namespaces.contains_key(name)
    }

    fn configured_settings(&self, name: &Namespace) -> Option<NamespaceSettings> {
        self.configured.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// Folds the access stream. Before this call only configured namespaces exist, and no token is valid.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn load(&self) -> Result<(), QueryError> {
        let access = self.streams.load(&StreamId::access()).await?;
        self.remember(access);
        Ok(())
    }

    /// Folds the events of the access stream that this process does not know yet, whichever process appended them.
    /// Idempotent.
    ///
    /// # Errors
    /// [`QueryError::Store`], [`QueryError::Unreadable`]; then the known state stays in force.
    pub(crate) async fn catch_up(&self) -> Result<(), QueryError> {
        let known = self.known();
        let newest = self.streams.catch_up(&StreamId::access(), known.access.clone()).await?;
        self.remember(newest);
        Ok(())
    }

    /// The version of the access stream that is in force here.
    pub(crate) fn version(&self) -> Version {
        self.known().access.version
    }

    /// The identity of the token with this digest (SHA-256, hexadecimal); `None` when the token is unknown, revoked or
    /// expired.
    #[must_use]
    pub fn identify(&self, digest: &str) -> Option<Identity> {
        let known = self.known();
        let token_id = *known.by_digest.get(digest)?;
        let token = known.access.tokens.get(&token_id)?;
        token.is_valid(self.clock.moment().wall).then(|| Identity {
            token_id,
            actor: token.actor.clone(),
            grants: token.grants.clone(),
        })
    }

    /// Makes `digest` (SHA-256, hexadecimal) that of the first administrator's token in all processes, unless there is
    /// one; returns the one that holds. Idempotent.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn declare_administrator(
        &self,
        envelope: &Envelope,
        digest: &str,
    ) -> Result<String, ControlError> {
        let at = self.clock.now();
        self.change(envelope, |access| {
            let declared = || AccessEvent::AdministratorDeclared { at, digest: digest.to_owned() };
            Ok(Vec::from_iter(access.administrator.is_none().then(declared)))
        })
        .await?;
        Ok(self.known().access.administrator.clone().unwrap_or_else(|| digest.to_owned()))
    }

    /// Digest of the first administrator's token; `None` = each process has its own.
    #[must_use]
    pub fn administrator(&self) -> Option<String> {
        self.known().access.administrator.clone()
    }

    /// Whether the token is still valid: neither revoked nor expired.
    #[must_use]
    pub fn is_valid(&self, token_id: TokenId) -> bool {
        let known = self.known();
        let now = self.clock.moment().wall;
        known.access.tokens.get(&token_id).is_some_and(|token| token.is_valid(now))
    }

    /// Subscribes to changes of namespaces and tokens from now on.
    #[must_use]
    pub fn changes(&self) -> AccessChanges {
        AccessChanges(self.known.subscribe())
    }

    /// Settings of a namespace; `None` when it does not exist.
    #[must_use]
    pub fn namespace(&self, name: &Namespace) -> Option<NamespaceSettings> {
        self.configured_settings(name).or_else(|| self.known().access.namespaces.get(name).copied())
    }

    /// All namespaces, configured or created.
    #[must_use]
    pub fn namespaces(&self) -> BTreeMap<Namespace, NamespaceSettings> {
        let mut all = self.known().access.namespaces.clone();
        all.extend(self.configured());
        all
    }

    /// All tokens that are not revoked; expired ones may be among them.
    #[must_use]
    pub fn tokens(&self) -> BTreeMap<TokenId, Token> {
        self.known().access.tokens.clone()
    }

    /// Creates a namespace.
    ///
    /// # Errors
    /// [`ControlError::Exists`], [`ControlError::TooMany`], [`QueryError::Store`].
    pub async fn declare_namespace(
        &self,
        envelope: &Envelope,
        name: &Namespace,
        settings: NamespaceSettings,
    ) -> Result<(), ControlError> {
        let at = self.clock.now();
        self.change(envelope, |access| {
            if self.configured_settings(name).is_some() || access.namespaces.contains_key(name) {
                return Err(ControlError::Exists);
            }
            refuse_too_many(access.namespaces.len())?;
            let namespace = name.clone();
            Ok(vec![AccessEvent::NamespaceDeclared { at, namespace, settings }])
        })
        .await
        .map(drop)
    }

    /// Deletes a namespace. The caller has checked that no entity is in it.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], [`ControlError::Configured`], [`QueryError::Store`].
    pub async fn delete_namespace(
        &self,
        envelope: &Envelope,
        name: &Namespace,
    ) -> Result<(), ControlError> {
        if self.configured_settings(name).is_some() {
            return Err(ControlError::Configured);
        }
        let at = self.clock.now();
        self.change(envelope, |access| {
            if !access.namespaces.contains_key(name) {
                return Err(QueryError::NotFound.into());
            }
            Ok(vec![AccessEvent::NamespaceDeleted { at, namespace: name.clone() }])
        })
        .await
        .map(drop)
    }

    /// Issues a token; its id. The log keeps only the token's digest.
    ///
    /// # Errors
    /// [`ControlError::ShownOnce`] when the request was carried out before, [`ControlError::TooMany`],
    /// [`QueryError::Store`].
    pub async fn issue(&self, envelope: &Envelope, token: Token) -> Result<TokenId, ControlError> {
        let (now, token_id) = (self.clock.moment(), TokenId(self.clock.id()));
        let at = now.log;
        let issued = self.change(envelope, |access| {
            let mut events = expired(access, now);
            refuse_too_many(access.tokens.len() - events.len())?;
            events.push(AccessEvent::TokenIssued { at, token_id, token: token.clone() });
            Ok(events)
        });
        match issued.await? {
            None => Ok(token_id),
            Some(first) => Err(self.shown_once(first).await),
        }
    }

    /// The error for a repeated request to issue a token, whose last event has this version: the token's value is
    /// stored nowhere, so the first answer cannot be repeated.
    pub async fn shown_once(&self, version: Version) -> ControlError {
        match self.streams.event::<Access>(&StreamId::access(), version).await {
            Ok(AccessEvent::TokenIssued { token_id, .. }) => ControlError::ShownOnce(token_id),
            Ok(_) => QueryError::NotFound.into(),
            Err(error) => error.into(),
        }
    }

    /// Revokes a token; takes effect at once in this process, and in others as soon as they read the event.
    ///
    /// # Errors
    /// [`QueryError::NotFound`], [`QueryError::Store`].
    pub async fn revoke(&self, envelope: &Envelope, token_id: TokenId) -> Result<(), ControlError> {
        let at = self.clock.now();
        self.change(envelope, |access| {
            if !access.tokens.contains_key(&token_id) {
                return Err(QueryError::NotFound.into());
            }
            Ok(vec![AccessEvent::TokenRevoked { at, token_id }])
        })
        .await
        .map(drop)
    }

    /// See [`StreamChange::repeats`].
    async fn change(
        &self,
        envelope: &Envelope,
        decide: impl Fn(&Access) -> Result<Vec<AccessEvent>, ControlError> + Send,
    ) -> Result<Option<Version>, ControlError> {
        let StreamChange { state, repeats } =
            self.streams.change(&StreamId::access(), envelope, decide).await?;
        self.remember(state);
        Ok(repeats)
    }

    fn known(&self) -> Arc<AccessState> {
        Arc::clone(&self.known.borrow())
    }

    /// Keeps the newest fold: concurrent changes may finish in any order.
    fn remember(&self, access: Access) {
        self.known.send_if_modified(|known| {
            let newer = access.version >= known.access.version;
            if newer {
                let by_digest =
                    access.tokens.iter().map(|(id, token)| (token.digest.clone(), *id)).collect();
                *known = Arc::new(AccessState { access, by_digest });
            }
            newer
        });
    }
}

/// A subscription to changes of namespaces and tokens.
pub struct AccessChanges(watch::Receiver<Arc<AccessState>>);

impl AccessChanges {
    /// Resolves at the first change since the last call, or since the subscription.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // The sender is gone, so no change can come.
            std::future::pending::<()>().await;
        }
    }
}

fn refuse_too_many(count: usize) -> Result<(), ControlError> {
    if count < Access::MAX { Ok(()) } else { Err(ControlError::TooMany) }
}

/// Revocations of expired tokens, which make room for new ones. A token has to be expired by steady time too: the wall
/// clock may be ahead for a moment, and a revocation is final.
fn expired(access: &Access, now: Moment) -> Vec<AccessEvent> {
    let (at, certain) = (now.log, now.wall.min(now.steady));
    let over = access.tokens.iter().filter(|(_, token)| !token.is_valid(certain));
    over.map(|(token_id, _)| AccessEvent::TokenRevoked { at, token_id: *token_id }).collect()
}
