//! What surrounds every call of every driver: crash points, deadline, panics, nonsense.

mod crash;
mod guard;
mod sanity;

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

pub use crash::FAILPOINTS;
use guard::{Call, guarded};
pub(crate) use guard::{not_sent, time_is_up};

/// A driver that keeps its promises whatever the one inside does:
/// - a call ends by its deadline or when it is given up; one that changes something is then `Ambiguous`;
/// - nothing that changes something is begun once the engine says that it may not be;
/// - a panic and a reply that makes no sense are failures of class `Bug`, of that call alone;
/// - each call has a span with the names of driver, call and kind.
pub struct Instrumented<D: ?Sized> {
    name: &'static str,
    inner: Arc<D>,
}

impl<D: Driver + ?Sized> Instrumented<D> {
    /// Wraps `inner`; `name` is for spans.
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

    async fn identity(&self, context: &CallContext) -> Result<String, Failure> {
        let call = self.reading("identity", None);
        crash::point("driver::identity::before").await;
        let identity = guarded(&call, context, self.inner.identity(context)).await;
        crash::point("driver::identity::after").await;
        sanity::identity(&call, identity?)
    }

    async fn health(&self, context: &CallContext) -> Result<(), Failure> {
        crash::point("driver::health::before").await;
        let call = self.reading("health", None);
        let health = guarded(&call, context, self.inner.health(context)).await;
        crash::point("driver::health::after").await;
        health
    }

    async fn observe(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Observation, Failure> {
        let call = self.reading("observe", Some(&target.kind));
        crash::point("driver::observe::before").await;
        let result = guarded(&call, context, self.inner.observe(context, target)).await;
        crash::point("driver::observe::after").await;
        sanity::observation(&call, target, result?)
    }

    async fn find(&self, context: &CallContext, search: &Search) -> Result<Vec<Object>, Failure> {
        let call = self.reading("find", Some(&search.kind));
        crash::point("driver::find::before").await;
        let result = guarded(&call, context, self.inner.find(context, search)).await;
        crash::point("driver::find::after").await;
        sanity::found(&call, search, result?)
    }

    async fn list(
        &self,
        context: &CallContext,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        let call = self.reading("list", Some(kind));
        crash::point("driver::list::before").await;
        let page = guarded(&call, context, self.inner.list(context, kind, cursor)).await;
        crash::point("driver::list::after").await;
        sanity::page(&call, cursor, page?)
    }

    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure> {
        let call = self.changing("create", Some(&create.kind));
        crash::point("driver::create::before").await;
        let result = guarded(&call, context, self.inner.create(context, create)).await;
        crash::point("driver::create::after").await;
        sanity::created(&call, result?)
    }

    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure> {
        let call = self.changing("update", Some(&update.target.kind));
        crash::point("driver::update::before").await;
        let result = guarded(&call, context, self.inner.update(context, update)).await;
        crash::point("driver::update::after").await;
        sanity::changed(&call, &update.target, result?)
    }

    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure> {
        let call = self.changing("delete", Some(&target.kind));
        crash::point("driver::delete::before").await;
        let result = guarded(&call, context, self.inner.delete(context, target)).await;
        crash::point("driver::delete::after").await;
        sanity::ended(&call, result?)
    }

    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure> {
        let call = self.changing("action", Some(&act.target.kind));
        crash::point("driver::action::before").await;
        let result = guarded(&call, context, self.inner.action(context, act)).await;
        crash::point("driver::action::after").await;
        sanity::changed(&call, &act.target, result?)
    }

    /// Only asks, so it is a reading call: giving it up changes nothing.
    async fn resume(&self, context: &CallContext, handle: &Value) -> Result<Outcome, Failure> {
        let call = self.reading("resume", None);
        crash::point("driver::resume::before").await;
        let result = guarded(&call, context, self.inner.resume(context, handle)).await;
        crash::point("driver::resume::after").await;
        sanity::ended(&call, result?)
    }

    async fn cancel(&self, context: &CallContext, handle: &Value) -> Result<(), Failure> {
        let call = self.changing("cancel", None);
        crash::point("driver::cancel::before").await;
        let result = guarded(&call, context, self.inner.cancel(context, handle)).await;
        crash::point("driver::cancel::after").await;
        result
    }
}
