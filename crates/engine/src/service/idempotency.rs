//! Requests that carry an idempotency key.

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::ports::event_store::Holder;
use stateward_domain::system::System;

use super::Engine;
use crate::commands::idempotency::IdempotencyPermit;
use crate::error::Error;
use crate::service::Accepted;

impl Engine {
    /// Waits until no other request under the key of `envelope` is under way in this process; `None` = it has no key.
    pub async fn idempotency_permit(&self, envelope: &Envelope) -> Option<IdempotencyPermit> {
        let key = ClaimKey::idempotency(envelope)?;
        Some(self.inner.idempotency_permits.acquire(key).await)
    }

    /// Who was first with the idempotency key of `envelope`; `None` = this is the first, or it has none. To be asked
    /// right behind authentication and role, before anything that may have changed since.
    ///
    /// # Errors
    /// [`Error::KeyReused`] when that was another request, [`Error::Unavailable`].
    pub async fn first_request(&self, envelope: &Envelope) -> Result<Option<Holder>, Error> {
        self.inner.shared.control.first_request(envelope).await
    }

    /// What the first request of an entity was answered with.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was about no entity, [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn first_reply(&self, first: &Holder) -> Result<Accepted, Error> {
        Ok(self.inner.shared.commands.first_reply(first).await?.into())
    }

    /// Keeps the claim of a request that was carried out and left nothing else in the log; nothing happens when it has
    /// no key.
    ///
    /// # Errors
    /// [`Error::KeyReused`], [`Error::Unavailable`].
    pub async fn record_request(&self, envelope: &Envelope) -> Result<(), Error> {
        let nothing = |_: &System| Ok(Vec::new());
        let control = &self.inner.shared.control;
        control.change(&StreamId::system(), envelope, nothing).await.map(drop)
    }
}
