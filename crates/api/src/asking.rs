//! Requests that change something: what surrounds them, and whether they were carried out before.
//!
//! An idempotency key is asked for right behind authentication and role: what may have changed since the first request
//! (a schema, the configuration, the entity) must not change its answer. An envelope that may be recorded comes out of
//! here alone, so that no handler can forget it.

use actix_web::{HttpRequest, HttpResponse};
use stateward_domain::envelope::Envelope;
use stateward_domain::id::Namespace;
use stateward_domain::ports::event_store::Holder;
use stateward_engine::service::{Accepted, IdempotencyPermit};

use crate::app::App;
use crate::auth::Caller;
use crate::body::Body;
use crate::problem::Problem;
use crate::{headers, reply};

/// A request that changes something, of a caller who may.
pub(crate) struct Asking<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller,
    pub(crate) request: &'a HttpRequest,
    pub(crate) body: &'a Body,
}

/// Whether a request was carried out before.
pub(crate) enum Asked {
    /// It is the first under its key, or has none. Others under the same key wait for the end of `turn`.
    New { envelope: Box<Envelope>, turn: Option<IdempotencyPermit> },
    /// It was, with this as its last event.
    Again(Holder),
}

impl Asking<'_> {
    /// Whether it was carried out before; `namespace` `None` = it is beside all namespaces.
    pub(crate) async fn asked(&self, namespace: Option<&Namespace>) -> Result<Asked, Problem> {
        let envelope = self.envelope(namespace)?;
        let turn = self.app.engine.idempotency_permit(&envelope).await;
        if let Some(first) = self.app.engine.first_request(&envelope).await? {
            return Ok(Asked::Again(first));
        }
        headers::check_reason(self.app, &envelope)?;
        Ok(Asked::New { envelope: Box::new(envelope), turn })
    }

    /// Refuses what would be refused for its headers if it were no plan; nothing is asked for, because a plan leaves
    /// nothing.
    pub(crate) fn planned(&self, namespace: &Namespace) -> Result<(), Problem> {
        headers::check_reason(self.app, &self.envelope(Some(namespace))?)
    }

    /// Answers a change of an entity in `namespace`, which `act` carries out unless it was carried out before.
    pub(crate) async fn change(
        &self,
        namespace: &Namespace,
        act: impl AsyncFnOnce(Envelope) -> Result<Accepted, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let accepted = match self.asked(Some(namespace)).await? {
            Asked::Again(first) => self.app.engine.first_reply(&first).await?,
            Asked::New { envelope, turn } => {
                let accepted = act(*envelope).await?;
                // Those who sent it twice need not wait as long as this one wants to.
                drop(turn);
                accepted
            }
        };
        reply::changed(self.app, self.request, accepted).await
    }

    fn envelope(&self, namespace: Option<&Namespace>) -> Result<Envelope, Problem> {
        headers::envelope(self.caller, self.request, namespace, &self.body.bytes)
    }
}
