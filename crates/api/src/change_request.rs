//! Requests that change something: their envelope and their idempotency.
//!
//! The idempotency key is looked up right after authentication and authorisation: changes since the first request (of a
//! schema, the configuration, the entity) must not change its response. Only this module makes envelopes of changes, so
//! that no handler can omit the lookup.

use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};
use stateward_domain::access::Role;
use stateward_domain::envelope::Envelope;
use stateward_domain::id::Namespace;
use stateward_domain::ports::event_store::Holder;
use stateward_engine::service::Accepted;
use stateward_engine::service::IdempotencyPermit;

use crate::app_state::AppState;
use crate::auth::Caller;
use crate::body::Body;
use crate::problem::Problem;
use crate::query_parser::Params;
use crate::{change_response, headers};

/// A request that changes something, of an authenticated caller. A handler takes it as its argument.
pub(crate) struct ChangeRequest {
    pub(crate) app: web::Data<AppState>,
    pub(crate) caller: Caller,
    pub(crate) params: Params,
    pub(crate) request: HttpRequest,
    pub(crate) body: Body,
}

impl FromRequest for ChangeRequest {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Self::Error>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let parts = <(web::Data<AppState>, Caller, Params, Body)>::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            let (app, caller, params, body) = parts.await?;
            Ok(Self { app, caller, params, request, body })
        })
    }
}

/// Whether a request was carried out before.
pub(crate) enum IdempotencyCheck {
    /// It is the first with its key, or has none. Concurrent requests with the same key wait until `turn` is dropped.
    First { envelope: Box<Envelope>, turn: Option<IdempotencyPermit> },
    /// It was carried out before; this is its last event.
    Replay(Holder),
}

impl ChangeRequest {
    /// As [`check_idempotency`](Self::check_idempotency), for a change of the control plane: it takes no parameters and
    /// needs the role admin in all namespaces.
    pub(crate) async fn check_global(&self) -> Result<IdempotencyCheck, Problem> {
        self.params.finish()?;
        self.caller.require_global(Role::Admin)?;
        self.check_idempotency(None).await
    }

    /// Looks the idempotency key up; `namespace` `None` = the request belongs to no namespace.
    pub(crate) async fn check_idempotency(
        &self,
        namespace: Option<&Namespace>,
    ) -> Result<IdempotencyCheck, Problem> {
        let envelope = self.envelope(namespace)?;
        let turn = self.app.engine.idempotency_permit(&envelope).await;
        if let Some(first) = self.app.engine.first_request(&envelope).await? {
            return Ok(IdempotencyCheck::Replay(first));
        }
        headers::check_reason(&self.app, &envelope)?;
        Ok(IdempotencyCheck::First { envelope: Box::new(envelope), turn })
    }

    /// Validates the headers of a plan. The idempotency key is not looked up, because a plan records nothing.
    pub(crate) fn check_plan(&self, namespace: &Namespace) -> Result<(), Problem> {
        headers::check_reason(&self.app, &self.envelope(Some(namespace))?)
    }

    /// Responds to a change of an entity in `namespace`; `act` carries it out, unless it was carried out before.
    pub(crate) async fn execute(
        &self,
        namespace: &Namespace,
        act: impl AsyncFnOnce(Envelope) -> Result<Accepted, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let accepted = match self.check_idempotency(Some(namespace)).await? {
            IdempotencyCheck::Replay(first) => self.app.engine.first_reply(&first).await?,
            IdempotencyCheck::First { envelope, turn } => {
                let accepted = act(*envelope).await?;
                // Repetitions of the request need not wait until this one responds.
                drop(turn);
                accepted
            }
        };
        change_response::respond(&self.app, &self.request, accepted).await
    }

    fn envelope(&self, namespace: Option<&Namespace>) -> Result<Envelope, Problem> {
        headers::envelope(&self.caller, &self.request, namespace, &self.body.bytes)
    }
}
