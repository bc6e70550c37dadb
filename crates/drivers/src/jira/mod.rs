//! Driver `jira`: issues, comments and projects, over the REST API of JIRA Cloud (v3) or Data Center (v2).
//!
//! - What can carries the owner key, see `owner`: it is written with the creation, and checked on every result.
//! - Searches and reads lag behind writes: a read of before a write of ours is no observation, see `client::recent_writes`.
//! - A 404 proves absence only while JIRA knows the account and shows the project, see `client::absence`.
//!
//! [`fake`] is a stateful JIRA, against which clients are tested without an account.

mod client;
pub mod fake;
mod kinds;
mod owner;
mod site;
mod text;

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
pub use kinds::kinds;
use kinds::{Job, Kind, kind_of};
use site::Site;

/// Name of the driver in a backend's configuration.
pub const NAME: &str = "jira";

/// Resolves the site that `settings` describe; sends nothing.
pub(crate) fn connect(
    settings: &Settings,
    clock: &Arc<dyn SteadyClock>,
) -> Result<Arc<dyn Driver>, ConnectError> {
    let site = Site::resolve(settings)?;
    let kinds = kinds::kinds_of(&site);
    Ok(Arc::new(Jira { kinds, client: Client::new(site, Arc::clone(clock))? }))
}

struct Jira {
    kinds: Vec<KindSpec>,
    client: Client,
}

impl Jira {
    fn client<'a>(&'a self, context: &'a CallContext, kind: &dyn Kind) -> CallClient<'a> {
        CallClient::new(&self.client, context, kind.meta().name)
    }

    fn whole<'a>(&'a self, context: &'a CallContext) -> CallClient<'a> {
        CallClient::new(&self.client, context, "")
    }
}

#[async_trait]
impl Driver for Jira {
    fn kinds(&self) -> &[KindSpec] {
        &self.kinds
    }

    fn check(&self, kind: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>> {
        let kind = kind_of(kind).map_err(|failure| {
            vec![FieldError { pointer: String::new(), message: failure.message }]
        })?;
        kinds::check(kind, self.client.site.deployment, spec)
    }

    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan {
        // The engine passes only kinds of this driver; for any other, no change is the safe plan.
        let deployment = self.client.site.deployment;
        kind_of(kind).map_or(Plan::Noop, |kind| kinds::plan(kind, deployment, observed, spec))
    }

    fn unready(&self, kind: &KindName, observed: &Value) -> Option<String> {
        kind_of(kind).ok().and_then(|kind| kind.unready(observed))
    }

    async fn identity(&self, context: &CallContext) -> Result<String, Failure> {
        Ok(self.whole(context).identity().await?)
    }

    async fn health(&self, context: &CallContext) -> Result<(), Failure> {
        Ok(self.whole(context).health().await?)
    }

    async fn observe(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Observation, Failure> {
        let kind = kind_of(&target.kind)?;
        Ok(kind.observe(self.client(context, kind), target).await?)
    }

    async fn find(&self, context: &CallContext, search: &Search) -> Result<Vec<Object>, Failure> {
        let kind = kind_of(&search.kind)?;
        kinds::find(kind, self.client(context, kind), search).await
    }

    async fn list(
        &self,
        context: &CallContext,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        let kind = kind_of(kind)?;
        Ok(kind.list(self.client(context, kind), cursor).await?)
    }

    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure> {
        let kind = kind_of(&create.kind)?;
        kind.create(self.client(context, kind), create).await
    }

    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure> {
        let kind = kind_of(&update.target.kind)?;
        kinds::update(kind, self.client(context, kind), update, 0).await
    }

    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure> {
        let kind = kind_of(&target.kind)?;
        kind.delete(self.client(context, kind), target).await
    }

    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure> {
        let kind = kind_of(&act.target.kind)?;
        kind.act(self.client(context, kind), act).await
    }

    async fn resume(&self, context: &CallContext, handle: &Value) -> Result<Outcome, Failure> {
        let job = Job::from_handle(handle)?;
        let kind = kind_of(&job.kind)?;
        kinds::resume(kind, self.client(context, kind), job).await
    }

    async fn cancel(&self, _: &CallContext, _: &Value) -> Result<(), Failure> {
        Err(kinds::cancel())
    }
}
