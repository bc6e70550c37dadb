//! A driver decorator that removes secrets from every answer and bounds its size (`answer_limits`). Backends repeat their
//! input in errors, attributes and ids, so every answer passes through here before it is logged, recorded or shown.
//!
//! Secrets are removed before texts are cut: a cut text could end in the middle of a secret.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ExternalId, KindName};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{
    Act, CallContext, Create, Driver, Listing, Object, ObjectRef, Observation, Outcome, Plan,
    Search, Update,
};

use crate::backends::answer_limits::{self, MESSAGE_CHARS_MAX, shortened};
use crate::secrets::Secrets;

pub(super) struct RedactingDriver {
    pub(super) inner: Arc<dyn Driver>,
    pub(super) secrets: Arc<Secrets>,
}

impl RedactingDriver {
    fn failure(&self, failure: Failure) -> Failure {
        let scrub = |text: &str| self.secrets.scrub(text);
        let class = match failure.class {
            ErrorClass::AlreadyExists { external_id } => {
                ErrorClass::AlreadyExists { external_id: ExternalId(scrub(&external_id.0)) }
            }
            ErrorClass::RateLimited { after_ms, scope } => {
                ErrorClass::RateLimited { after_ms, scope: scrub(&scope) }
            }
            other => other,
        };
        answer_limits::failure(Failure {
            class,
            code: scrub(&failure.code),
            message: scrub(&failure.message),
            request_id: failure.request_id.as_deref().map(scrub),
            effect: failure.effect,
        })
    }

    fn text(&self, text: &str) -> String {
        shortened(self.secrets.scrub(text), MESSAGE_CHARS_MAX)
    }

    /// An id that contains a secret is refused: a redacted id would name another object.
    fn refuse_secret_in_id(&self, id: &ExternalId) -> Result<(), Failure> {
        if self.secrets.holds(id.as_str()) {
            let message = "the driver put a secret into an object's name";
            return Err(Failure::doubtful(ErrorClass::Bug, "secret_in_id", message));
        }
        Ok(())
    }

    fn scrubbed(&self, object: Object) -> Result<Object, Failure> {
        self.refuse_secret_in_id(&object.external_id)?;
        Ok(Object { attributes: self.secrets.scrubbed(object.attributes), ..object })
    }

    fn scrubbed_all(&self, objects: Vec<Object>) -> Result<Vec<Object>, Failure> {
        objects.into_iter().map(|object| self.scrubbed(object)).collect()
    }

    fn outcome(&self, outcome: Result<Outcome, Failure>) -> Result<Outcome, Failure> {
        answer_limits::outcome(match outcome.map_err(|failure| self.failure(failure))? {
            Outcome::Done { external_id, attributes } => {
                external_id.iter().try_for_each(|id| self.refuse_secret_in_id(id))?;
                Outcome::Done { external_id, attributes: self.secrets.scrubbed(attributes) }
            }
            Outcome::Pending { handle, .. } if self.secrets.holds(&handle.to_string()) => {
                let message = "the driver put a secret into a handle";
                return Err(Failure::doubtful(ErrorClass::Bug, "secret_in_handle", message));
            }
            pending @ Outcome::Pending { .. } => pending,
        })
    }
}

#[async_trait]
impl Driver for RedactingDriver {
    fn kinds(&self) -> &[KindSpec] {
        self.inner.kinds()
    }

    fn check(&self, kind: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>> {
        self.inner.check(kind, spec)
    }

    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan {
        self.inner.plan(kind, observed, spec)
    }

    fn unready(&self, kind: &KindName, observed: &Value) -> Option<String> {
        self.inner.unready(kind, observed).map(|why| self.text(&why))
    }

    fn with_additions(
        &self,
        kind: &KindName,
        observed: &Value,
        spec: &Value,
        applied: Option<&Value>,
    ) -> Option<Value> {
        self.inner.with_additions(kind, observed, spec, applied)
    }

    async fn identity(&self, context: &CallContext) -> Result<String, Failure> {
        let identity = self.inner.identity(context).await;
        let identity = self.secrets.scrub(&identity.map_err(|failure| self.failure(failure))?);
        answer_limits::check_length(&identity, "the identity")?;
        Ok(identity)
    }

    async fn health(&self, context: &CallContext) -> Result<(), Failure> {
        self.inner.health(context).await.map_err(|failure| self.failure(failure))
    }

    async fn verify(&self, context: &CallContext) -> Result<(), Failure> {
        self.inner.verify(context).await.map_err(|failure| self.failure(failure))
    }

    async fn observe(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Observation, Failure> {
        let observation = self.inner.observe(context, target).await;
        match observation.map_err(|failure| self.failure(failure))? {
            Observation::Present(object) => {
                answer_limits::object(self.scrubbed(object)?).map(Observation::Present)
            }
            Observation::Absent { proof } => Ok(Observation::Absent { proof: self.text(&proof) }),
            Observation::Unknown { reason } => {
                Ok(Observation::Unknown { reason: self.text(&reason) })
            }
        }
    }

    async fn obstacle(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Option<Failure>, Failure> {
        let obstacle = self.inner.obstacle(context, target).await;
        let obstacle = obstacle.map_err(|failure| self.failure(failure))?;
        Ok(obstacle.map(|failure| self.failure(failure)))
    }

    async fn find(&self, context: &CallContext, search: &Search) -> Result<Vec<Object>, Failure> {
        let found = self.inner.find(context, search).await;
        answer_limits::objects(self.scrubbed_all(found.map_err(|failure| self.failure(failure))?)?)
    }

    async fn list(
        &self,
        context: &CallContext,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        let page = self.inner.list(context, kind, cursor).await;
        let page = page.map_err(|failure| self.failure(failure))?;
        let objects = self.scrubbed_all(page.objects)?;
        let cursor = page.cursor;
        cursor
            .iter()
            .try_for_each(|mark| answer_limits::check_length(mark, "the mark of the next page"))?;
        // An object with an unusable id must not hide the others.
        let named = |object: &Object| answer_limits::external_id(&object.external_id).is_ok();
        let objects = answer_limits::objects(objects.into_iter().filter(named).collect())?;
        Ok(Listing { objects, cursor, partial: page.partial })
    }

    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure> {
        self.outcome(self.inner.create(context, create).await)
    }

    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure> {
        self.outcome(self.inner.update(context, update).await)
    }

    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure> {
        self.outcome(self.inner.delete(context, target).await)
    }

    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure> {
        self.outcome(self.inner.action(context, act).await)
    }

    async fn resume(&self, context: &CallContext, handle: &Value) -> Result<Outcome, Failure> {
        self.outcome(self.inner.resume(context, handle).await)
    }

    async fn cancel(&self, context: &CallContext, handle: &Value) -> Result<(), Failure> {
        self.inner.cancel(context, handle).await.map_err(|failure| self.failure(failure))
    }
}
