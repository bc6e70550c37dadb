//! Requests that change something: what surrounds them, and whether they were carried out before.
//!
//! An idempotency key is asked for right behind authentication and role: what may have changed since the first request
//! (a schema, the configuration, the entity) must not change its answer. An envelope that may be recorded comes out of
//! here alone, so that no handler can forget it.

use actix_web::{HttpRequest, HttpResponse};
use stateward_domain::envelope::Envelope;
use stateward_domain::id::Namespace;
use stateward_domain::ports::event_store::Holder;
use stateward_engine::engine::KeyTurn;
use stateward_engine::requests::Accepted;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::problem::Problem;
use crate::{change_response, headers};

/// A request that changes something, of a caller who may.
pub(crate) struct ChangeRequest<'a> {
    pub(crate) app: &'a AppState,
    pub(crate) caller: &'a Caller,
    pub(crate) request: &'a HttpRequest,
    pub(crate) body: &'a Body,
}

/// Whether a request was carried out before.
pub(crate) enum IdempotencyCheck {
    /// It is the first under its key, or has none. Others under the same key wait for the end of `turn`.
    First { envelope: Box<Envelope>, turn: Option<KeyTurn> },
    /// It was, with this as its last event.
    Replay(Holder),
}

impl ChangeRequest<'_> {
    /// Whether it was carried out before; `namespace` `None` = it is beside all namespaces.
    pub(crate) async fn check_idempotency(
        &self,
        namespace: Option<&Namespace>,
    ) -> Result<IdempotencyCheck, Problem> {
        let envelope = self.envelope(namespace)?;
        let turn = self.app.engine.turn(&envelope).await;
        if let Some(first) = self.app.engine.first(&envelope).await? {
            return Ok(IdempotencyCheck::Replay(first));
        }
        headers::check_reason(self.app, &envelope)?;
        Ok(IdempotencyCheck::First { envelope: Box::new(envelope), turn })
    }

    /// Refuses what would be refused for its headers if it were no plan; nothing is asked for, because a plan leaves
    /// nothing.
    pub(crate) fn check_plan(&self, namespace: &Namespace) -> Result<(), Problem> {
        headers::check_reason(self.app, &self.envelope(Some(namespace))?)
    }

    /// Answers a change of an entity in `namespace`, which `act` carries out unless it was carried out before.
    pub(crate) async fn execute(
        &self,
        namespace: &Namespace,
        act: impl AsyncFnOnce(Envelope) -> Result<Accepted, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let accepted = match self.check_idempotency(Some(namespace)).await? {
            IdempotencyCheck::Replay(first) => self.app.engine.first_reply(&first).await?,
            IdempotencyCheck::First { envelope, turn } => {
                let accepted = act(*envelope).await?;
                // Those who sent it twice need not wait as long as this one wants to.
                drop(turn);
                accepted
            }
        };
        change_response::respond(self.app, self.request, accepted).await
    }

    fn envelope(&self, namespace: Option<&Namespace>) -> Result<Envelope, Problem> {
        headers::envelope(self.caller, self.request, namespace, &self.body.bytes)
    }
}
