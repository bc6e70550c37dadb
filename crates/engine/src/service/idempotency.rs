//! Requests with an idempotency key.

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Envelope, StreamId};
use stateward_domain::ports::event_store::Holder;
use stateward_domain::system::System;

use super::Engine;
use crate::commands::idempotency::IdempotencyPermit;
use crate::error::{CommandError, QueryError};
use crate::service::Accepted;

impl Engine {
    /// Waits until no other request with the key of `envelope` runs in this process; `None` = the request has no key.
    pub async fn idempotency_permit(&self, envelope: &Envelope) -> Option<IdempotencyPermit> {
        let key = ClaimKey::idempotency(envelope)?;
        Some(self.inner.idempotency_permits.acquire(key).await)
    }

    /// The first request with the idempotency key of `envelope`; `None` = this is the first, or it has no key. To be
    /// called right after authentication and the role check, before any check whose result may have changed since the
    /// first request.
    ///
    /// # Errors
    /// [`CommandError::KeyReused`] when the first one was a different request, [`QueryError::Store`].
    pub async fn first_request(&self, envelope: &Envelope) -> Result<Option<Holder>, CommandError> {
        self.inner.shared.control.first_request(envelope).await
    }

    /// The reply to the first request about an entity.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when the request was not about an entity, [`QueryError::Store`],
    /// [`QueryError::Unreadable`].
    pub async fn first_reply(&self, first: &Holder) -> Result<Accepted, QueryError> {
        Ok(self.inner.shared.commands.first_reply(first).await?.into())
    }

    /// Records the key of a request that was carried out and appended no other event; does nothing without a key.
    ///
    /// # Errors
    /// [`CommandError::KeyReused`], [`QueryError::Store`].
    pub async fn record_request(&self, envelope: &Envelope) -> Result<(), CommandError> {
        let nothing = |_: &System| Ok(Vec::new());
        let control = &self.inner.shared.control;
        control.change(&StreamId::system(), envelope, nothing).await.map(drop)
    }
}
