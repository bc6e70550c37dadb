//! The decorator of every driver: failpoints, deadlines, panics, validation of replies.

mod call_limits;
mod failpoints;
mod reply_validation;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use stateward_domain::failure::Failure;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::KindName;
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{
    Act, CallContext, Create, Driver, Listing, Object, ObjectRef, Observation, Outcome, Plan,
    Search, Update,
};

use call_limits::{Call, with_limits};
pub(crate) use call_limits::{deadline_reached, not_sent};
pub use failpoints::FAILPOINTS;

/// A driver that holds the contract of the port even if `inner` does not:
/// - a call ends by its deadline or when it is cancelled; one that changes something is then `Ambiguous`;
/// - no change begins after the engine withdrew its permission;
/// - a panic or an invalid reply is a failure of class `Bug`, of that call alone;
/// - each call has a span with the names of driver, call and kind.
pub struct Instrumented<D: ?Sized> {
    name: &'static str,
    inner: Arc<D>,
}

impl<D: Driver + ?Sized> Instrumented<D> {
    /// Wraps `inner`; `name` appears in spans.
    #[must_use]
    pub fn new(name: &'static str, inner: Arc<D>) -> Self {
        Self { name, inner }
    }

    fn reading(&self, call: &'static str, kind: Option<&KindName>) -> Call {
        Call::new(self.name, call, kind, false)
    }

    fn changing(&self, call: &'static str, kind: Option<&KindName>) -> Call {
        Call::new(self.name, call, kind, true)
    }
}

#[async_trait]
impl<D: Driver + ?Sized> Driver for Instrumented<D> {
    fn kinds(&self) -> &[KindSpec] {
        self.inner.kinds()
    }

    fn check(&self, kind: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>> {
        let checked = std::panic::catch_unwind(AssertUnwindSafe(|| self.inner.check(kind, spec)));
        checked.unwrap_or_else(|_| {
            let message =
                "the driver failed to check this; that is a fault of the driver".to_owned();
            Err(vec![FieldError { pointer: String::new(), message }])
        })
    }

    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan {
        self.inner.plan(kind, observed, spec)
    }

    fn unready(&self, kind: &KindName, observed: &Value) -> Option<String> {
        self.inner.unready(kind, observed)
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
        let call = self.reading("identity", None);
        failpoints::hit("driver::identity::before").await;
        let identity = with_limits(&call, context, self.inner.identity(context)).await;
        failpoints::hit("driver::identity::after").await;
        reply_validation::identity(&call, identity?)
    }

    async fn health(&self, context: &CallContext) -> Result<(), Failure> {
        failpoints::hit("driver::health::before").await;
        let call = self.reading("health", None);
        let health = with_limits(&call, context, self.inner.health(context)).await;
        failpoints::hit("driver::health::after").await;
        health
    }

    async fn verify(&self, context: &CallContext) -> Result<(), Failure> {
        failpoints::hit("driver::verify::before").await;
        let call = self.reading("verify", None);
        let verified = with_limits(&call, context, self.inner.verify(context)).await;
        failpoints::hit("driver::verify::after").await;
        verified
    }

    async fn observe(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Observation, Failure> {
        let call = self.reading("observe", Some(&target.kind));
        failpoints::hit("driver::observe::before").await;
        let result = with_limits(&call, context, self.inner.observe(context, target)).await;
        failpoints::hit("driver::observe::after").await;
        reply_validation::observation(&call, target, result?)
    }

    async fn obstacle(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Option<Failure>, Failure> {
        let call = self.reading("obstacle", Some(&target.kind));
        failpoints::hit("driver::obstacle::before").await;
        let obstacle = with_limits(&call, context, self.inner.obstacle(context, target)).await;
        failpoints::hit("driver::obstacle::after").await;
        obstacle
    }

    async fn find(&self, context: &CallContext, search: &Search) -> Result<Vec<Object>, Failure> {
        let call = self.reading("find", Some(&search.kind));
        failpoints::hit("driver::find::before").await;
        let result = with_limits(&call, context, self.inner.find(context, search)).await;
        failpoints::hit("driver::find::after").await;
        reply_validation::found(&call, search, result?)
    }

    async fn list(
        &self,
        context: &CallContext,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        let call = self.reading("list", Some(kind));
        failpoints::hit("driver::list::before").await;
        let page = with_limits(&call, context, self.inner.list(context, kind, cursor)).await;
        failpoints::hit("driver::list::after").await;
        reply_validation::page(&call, cursor, page?)
    }

    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure> {
        let call = self.changing("create", Some(&create.kind));
        failpoints::hit("driver::create::before").await;
        let result = with_limits(&call, context, self.inner.create(context, create)).await;
        failpoints::hit("driver::create::after").await;
        reply_validation::created(&call, result?)
    }

    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure> {
        let call = self.changing("update", Some(&update.target.kind));
        failpoints::hit("driver::update::before").await;
        let result = with_limits(&call, context, self.inner.update(context, update)).await;
        failpoints::hit("driver::update::after").await;
        reply_validation::changed(&call, &update.target, result?)
    }

    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure> {
        let call = self.changing("delete", Some(&target.kind));
        failpoints::hit("driver::delete::before").await;
        let result = with_limits(&call, context, self.inner.delete(context, target)).await;
        failpoints::hit("driver::delete::after").await;
        reply_validation::valid_outcome(&call, result?)
    }

    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure> {
        let call = self.changing("action", Some(&act.target.kind));
        failpoints::hit("driver::action::before").await;
        let result = with_limits(&call, context, self.inner.action(context, act)).await;
        failpoints::hit("driver::action::after").await;
        reply_validation::changed(&call, &act.target, result?)
    }

    /// A reading call: it only queries the backend, so cancelling it has no effect.
    async fn resume(&self, context: &CallContext, handle: &Value) -> Result<Outcome, Failure> {
        let call = self.reading("resume", None);
        failpoints::hit("driver::resume::before").await;
        let result = with_limits(&call, context, self.inner.resume(context, handle)).await;
        failpoints::hit("driver::resume::after").await;
        reply_validation::valid_outcome(&call, result?)
    }

    async fn cancel(&self, context: &CallContext, handle: &Value) -> Result<(), Failure> {
        let call = self.changing("cancel", None);
        failpoints::hit("driver::cancel::before").await;
        let result = with_limits(&call, context, self.inner.cancel(context, handle)).await;
        failpoints::hit("driver::cancel::after").await;
        result
    }
}
