//! Driver `openstack`: networks, volumes, servers and more, over the public APIs of one cloud.
//!
//! - Every object that can carries the owner key, see `owner_key`. It is written with the creation if the API permits
//!   it, and every row of a search is checked for it.
//! - An object that the cloud still works on is never as desired: its status is part of every plan.
//! - Only the service's own "not found" proves absence.

mod client;
mod cloud;
mod cloud_time;
mod kinds;
mod name_resolution;
mod owner_key;
mod service;
#[cfg(test)]
mod testing;

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
use stateward_domain::time::SteadyClock;

use crate::settings::{ConnectError, Settings};
use client::{CallClient, Client};
use cloud::{Cloud, Environment};
pub use kinds::kinds;
use kinds::{PendingJob, kind_of};

/// Name of the driver in a backend's configuration.
pub const NAME: &str = "openstack";

/// Resolves the cloud that `settings` refer to; sends nothing.
pub(crate) fn connect(
    settings: &Settings,
    clock: &Arc<dyn SteadyClock>,
) -> Result<Arc<dyn Driver>, ConnectError> {
    let cloud = Cloud::resolve(settings, &Environment::process())?;
    let kinds = kinds::kinds_of(cloud.service_timeout);
    Ok(Arc::new(OpenStack { kinds, client: Client::new(cloud, Arc::clone(clock))? }))
}

struct OpenStack {
    kinds: Vec<KindSpec>,
    client: Client,
}

impl OpenStack {
    fn client<'a>(&'a self, context: &'a CallContext) -> CallClient<'a> {
        CallClient::new(&self.client, context)
    }
}

#[async_trait]
impl Driver for OpenStack {
    fn kinds(&self) -> &[KindSpec] {
        &self.kinds
    }

    fn check(&self, kind: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>> {
        let kind = kind_of(kind).map_err(|failure| {
            vec![FieldError { pointer: String::new(), message: failure.message }]
        })?;
        kinds::check(kind, spec)
    }

    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan {
        // The engine passes only kinds of this driver; for any other, no change is the safe plan.
        kind_of(kind).map_or(Plan::Noop, |kind| kinds::plan(kind, observed, spec))
    }

    fn unready(&self, kind: &KindName, observed: &Value) -> Option<String> {
        kind_of(kind).ok().and_then(|kind| kind.unready(observed))
    }

    fn with_additions(
        &self,
        kind: &KindName,
        observed: &Value,
        spec: &Value,
        applied: Option<&Value>,
    ) -> Option<Value> {
        kinds::with_additions(kind, observed, spec, applied)
    }

    async fn identity(&self, context: &CallContext) -> Result<String, Failure> {
        Ok(self.client(context).identity().await?)
    }

    async fn health(&self, context: &CallContext) -> Result<(), Failure> {
        Ok(self.client(context).health().await?)
    }

    async fn verify(&self, context: &CallContext) -> Result<(), Failure> {
        Ok(self.client(context).verify().await?)
    }

    async fn observe(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Observation, Failure> {
        kinds::observe(kind_of(&target.kind)?, self.client(context), target).await
    }

    async fn obstacle(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Option<Failure>, Failure> {
        kinds::obstacle(kind_of(&target.kind)?, self.client(context), target).await
    }

    async fn find(&self, context: &CallContext, search: &Search) -> Result<Vec<Object>, Failure> {
        kinds::find(kind_of(&search.kind)?, self.client(context), search).await
    }

    async fn list(
        &self,
        context: &CallContext,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        kinds::list(kind_of(kind)?, self.client(context), cursor).await
    }

    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure> {
        kinds::create(kind_of(&create.kind)?, self.client(context), create).await
    }

    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure> {
        kinds::update(kind_of(&update.target.kind)?, self.client(context), update).await
    }

    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure> {
        kinds::delete(kind_of(&target.kind)?, self.client(context), target).await
    }

    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure> {
        kinds::act(kind_of(&act.target.kind)?, self.client(context), act).await
    }

    async fn resume(&self, context: &CallContext, handle: &Value) -> Result<Outcome, Failure> {
        let job = PendingJob::from_handle(handle)?;
        kinds::resume(kind_of(&job.target.kind)?, self.client(context), job).await
    }

    async fn cancel(&self, _: &CallContext, _: &Value) -> Result<(), Failure> {
        Err(kinds::cancel())
    }
}
