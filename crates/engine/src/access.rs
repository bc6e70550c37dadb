//! Namespaces and tokens: loaded once, changed through the log, asked on every request.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use stateward_domain::access::{Access, AccessEvent, Grant, NamespaceSettings, Token};
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::id::{Namespace, TokenId, Version};
use stateward_domain::time::Moment;
use tokio::sync::watch;

use crate::clock::ClockAndIds;
use crate::commands::control_streams::{ControlStreams, StreamChange};
use crate::error::Error;

/// The namespace that is always there.
pub const DEFAULT_NAMESPACE: &str = "default";

/// Who comes in with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token.
    pub token_id: TokenId,
    /// Whose it is.
    pub actor: String,
    /// What it allows.
    pub grants: Vec<Grant>,
}

#[derive(Default)]
struct AccessState {
    access: Access,
    by_digest: HashMap<String, TokenId>,
}

/// Namespaces and tokens of this process.
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

    /// Another configuration took the place of the old one.
    pub(crate) fn configure(&self, mut namespaces: BTreeMap<Namespace, NamespaceSettings>) {
        namespaces.entry(Namespace::from(DEFAULT_NAMESPACE)).or_default();
        *self.configured.write().unwrap_or_else(PoisonError::into_inner) = namespaces;
    }

    /// Namespaces of the configuration, `default` among them.
    pub(crate) fn configured(&self) -> BTreeMap<Namespace, NamespaceSettings> {
        self.configured.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it was made over the interface.
    pub(crate) fn is_created(&self, name: &Namespace) -> bool {
        self.known().access.namespaces.contains_key(name)
    }

    fn configured_settings(&self, name: &Namespace) -> Option<NamespaceSettings> {
        self.configured.read().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// Reads what the log knows; before that only configured namespaces are there, and no token.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn load(&self) -> Result<(), Error> {
        let access = self.streams.load(&StreamId::access()).await?;
        self.remember(access);
        Ok(())
    }

    /// Whoever has the token with this digest (SHA-256, hexadecimal); `None` when it is unknown, revoked or over.
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

    /// Whether the token still lets anybody in.
    #[must_use]
    pub fn is_valid(&self, token_id: TokenId) -> bool {
        let known = self.known();
        let now = self.clock.moment().wall;
        known.access.tokens.get(&token_id).is_some_and(|token| token.is_valid(now))
    }

    /// Rings when namespaces or tokens change from now on.
    #[must_use]
    pub fn changes(&self) -> AccessChanges {
        AccessChanges(self.known.subscribe())
    }

    /// Settings of a namespace; `None` when there is none of that name.
    #[must_use]
    pub fn namespace(&self, name: &Namespace) -> Option<NamespaceSettings> {
        self.configured_settings(name).or_else(|| self.known().access.namespaces.get(name).copied())
    }

    /// All namespaces.
    #[must_use]
    pub fn namespaces(&self) -> BTreeMap<Namespace, NamespaceSettings> {
        let mut all = self.known().access.namespaces.clone();
        all.extend(self.configured());
        all
    }

    /// All tokens that were not revoked.
    #[must_use]
    pub fn tokens(&self) -> BTreeMap<TokenId, Token> {
        self.known().access.tokens.clone()
    }

    /// Makes a namespace.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::TooMany`], [`Error::Unavailable`].
    pub async fn declare_namespace(
        &self,
        envelope: &Envelope,
        name: &Namespace,
        settings: NamespaceSettings,
    ) -> Result<(), Error> {
        let at = self.clock.now();
        self.change(envelope, |access| {
            if self.configured_settings(name).is_some() || access.namespaces.contains_key(name) {
                return Err(Error::Exists);
            }
            refuse_too_many(access.namespaces.len())?;
            let namespace = name.clone();
            Ok(vec![AccessEvent::NamespaceDeclared { at, namespace, settings }])
        })
        .await
        .map(drop)
    }

    /// Deletes a namespace. The caller has seen to it that nothing lives in it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Configured`], [`Error::Unavailable`].
    pub async fn delete_namespace(
        &self,
        envelope: &Envelope,
        name: &Namespace,
    ) -> Result<(), Error> {
        if self.configured_settings(name).is_some() {
            return Err(Error::Configured);
        }
        let at = self.clock.now();
        self.change(envelope, |access| {
            if !access.namespaces.contains_key(name) {
                return Err(Error::NotFound);
            }
            Ok(vec![AccessEvent::NamespaceDeleted { at, namespace: name.clone() }])
        })
        .await
        .map(drop)
    }

    /// Lets somebody in: the token's id. Only its digest is kept.
    ///
    /// # Errors
    /// [`Error::ShownOnce`] when the request was carried out before, [`Error::TooMany`], [`Error::Unavailable`].
    pub async fn issue(&self, envelope: &Envelope, token: Token) -> Result<TokenId, Error> {
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

    /// Why the request whose last event has this version cannot be answered again: the value of the token is kept
    /// nowhere.
    pub async fn shown_once(&self, version: Version) -> Error {
        match self.streams.event::<Access>(&StreamId::access(), version).await {
            Ok(AccessEvent::TokenIssued { token_id, .. }) => Error::ShownOnce(token_id),
            Ok(_) => Error::NotFound,
            Err(error) => error,
        }
    }

    /// Lets nobody in with a token any more, at once.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn revoke(&self, envelope: &Envelope, token_id: TokenId) -> Result<(), Error> {
        let at = self.clock.now();
        self.change(envelope, |access| {
            if !access.tokens.contains_key(&token_id) {
                return Err(Error::NotFound);
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
        decide: impl Fn(&Access) -> Result<Vec<AccessEvent>, Error> + Send,
    ) -> Result<Option<Version>, Error> {
        let StreamChange { state, repeats } =
            self.streams.change(&StreamId::access(), envelope, decide).await?;
        self.remember(state);
        Ok(repeats)
    }

    fn known(&self) -> Arc<AccessState> {
        Arc::clone(&self.known.borrow())
    }

    /// The newest fold wins, whoever gets here first.
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

/// Rings when namespaces or tokens changed.
pub struct AccessChanges(watch::Receiver<Arc<AccessState>>);

impl AccessChanges {
    /// Resolves at the next change since the last call, or since it was asked for.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}

fn refuse_too_many(count: usize) -> Result<(), Error> {
    if count < Access::MAX { Ok(()) } else { Err(Error::TooMany) }
}

/// Tokens that are over make room for new ones. By steady time as well: the wall clock may be ahead for a moment, and what
/// is revoked stays so.
fn expired(access: &Access, now: Moment) -> Vec<AccessEvent> {
    let (at, certain) = (now.log, now.wall.min(now.steady));
    let over = access.tokens.iter().filter(|(_, token)| !token.is_valid(certain));
    over.map(|(token_id, _)| AccessEvent::TokenRevoked { at, token_id: *token_id }).collect()
}
