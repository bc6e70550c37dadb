//! Driver `local`: files and directories below one directory, the backend's root.
//!
//! Nothing outside the root is ever read or written; see `root`. A change is on the disk before it is reported. Missing
//! parents are created, but no entity owns them. Nothing is ever deleted recursively.

mod accounts;
mod atomic_write;
mod blocking_pool;
mod errors;
mod kinds;
mod list;
mod mutate;
mod observe;
mod ownership;
mod paths;
mod root;
mod spec;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ExternalId, KindName};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{
    Act, CallContext, Create, Driver, Listing, Object, ObjectRef, Observation, Outcome, Plan,
    Search, Update,
};

use crate::field_plan::plan_by_fields;
use crate::settings::{self, ConnectError, Settings};
use kinds::Kind;
pub use kinds::kinds;
use observe::PathState;
use paths::RelativePath;
use root::Root;

/// Name of the driver in a backend's configuration.
pub const NAME: &str = "local";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocalSettings {
    /// Directory that contains all objects; created if it is missing.
    root: PathBuf,
}

/// Opens the root that `settings` name; creates it and its marker if they are missing.
pub(crate) fn connect(settings: &Settings) -> Result<Arc<dyn Driver>, ConnectError> {
    let keys: LocalSettings = settings::parse(NAME, settings)?;
    let root = Root::prepare(keys.root)
        .map_err(|failure| ConnectError::Unusable { driver: NAME, message: failure.message })?;
    Ok(Arc::new(Local { kinds: kinds(), root: Arc::new(root) }))
}

struct Local {
    kinds: Vec<KindSpec>,
    root: Arc<Root>,
}

#[async_trait]
impl Driver for Local {
    fn kinds(&self) -> &[KindSpec] {
        &self.kinds
    }

    fn check(&self, kind: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>> {
        let kind = Kind::of(kind).ok_or_else(|| {
            let message = "the backend does not know this kind".to_owned();
            vec![FieldError { pointer: String::new(), message }]
        })?;
        spec::check(kind, spec)
    }

    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan {
        let kind = self.kinds.iter().find(|known| known.name == *kind);
        // The engine passes only kinds of this driver; for any other, no change is the safe plan.
        kind.map_or(Plan::Noop, |kind| {
            plan_by_fields(kind, &observe::with_declared_account_spelling(observed, spec), spec)
        })
    }

    async fn identity(&self, context: &CallContext) -> Result<String, Failure> {
        let root = self.root.clone();
        blocking_pool::run(context, move |_| root.identity()).await
    }

    async fn health(&self, context: &CallContext) -> Result<(), Failure> {
        let root = self.root.clone();
        blocking_pool::run(context, move |_| root.open().map(drop)).await
    }

    async fn observe(
        &self,
        context: &CallContext,
        target: &ObjectRef,
    ) -> Result<Observation, Failure> {
        let (root, kind) = (self.root.clone(), kind_of(&target.kind)?);
        let path = path_of(&target.external_id)?;
        blocking_pool::run(context, move |_| {
            observe::observe_path(&root, kind, &path).map(observe::observation)
        })
        .await
    }

    async fn find(&self, context: &CallContext, search: &Search) -> Result<Vec<Object>, Failure> {
        let (root, kind) = (self.root.clone(), kind_of(&search.kind)?);
        let spec = spec::checked(kind, &search.spec)?;
        blocking_pool::run(context, move |_| {
            Ok(match observe::observe_path(&root, kind, &spec.path)? {
                PathState::Present(object) => vec![object],
                PathState::Absent(_) => Vec::new(),
            })
        })
        .await
    }

    async fn list(
        &self,
        context: &CallContext,
        kind: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        let (root, kind) = (self.root.clone(), kind_of(kind)?);
        let cursor = cursor.map(str::to_owned);
        blocking_pool::run(context, move |permit| {
            list::list(&root, kind, cursor.as_deref(), permit)
        })
        .await
    }

    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure> {
        let (root, kind) = (self.root.clone(), kind_of(&create.kind)?);
        let spec = spec::checked(kind, &create.spec)?;
        blocking_pool::run(context, move |permit| mutate::create(&root, kind, &spec, permit)).await
    }

    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure> {
        let (root, kind) = (self.root.clone(), kind_of(&update.target.kind)?);
        let spec = spec::checked(kind, &update.spec)?;
        if spec.path != path_of(&update.target.external_id)? {
            let message = "a path cannot change; the object has to be replaced";
            return Err(Failure::harmless(ErrorClass::Immutable, "path_immutable", message));
        }
        blocking_pool::run(context, move |permit| mutate::update(&root, kind, &spec, permit)).await
    }

    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure> {
        let (root, kind) = (self.root.clone(), kind_of(&target.kind)?);
        let path = path_of(&target.external_id)?;
        blocking_pool::run(context, move |permit| mutate::delete(&root, kind, &path, permit)).await
    }

    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure> {
        if kind_of(&act.target.kind)? != Kind::File || !kinds::is_checksum(&act.action) {
            let message = "the kind has no such action";
            return Err(Failure::harmless(ErrorClass::Invalid, "unknown_action", message));
        }
        let (root, path) = (self.root.clone(), path_of(&act.target.external_id)?);
        blocking_pool::run(context, move |permit| mutate::checksum(&root, &path, permit)).await
    }

    async fn resume(&self, _: &CallContext, _: &Value) -> Result<Outcome, Failure> {
        Err(no_long_work())
    }

    async fn cancel(&self, _: &CallContext, _: &Value) -> Result<(), Failure> {
        Err(no_long_work())
    }
}

fn kind_of(name: &KindName) -> Result<Kind, Failure> {
    Kind::of(name).ok_or_else(|| {
        Failure::harmless(ErrorClass::Bug, "unknown_kind", "the kind is not of this driver")
    })
}

/// The path in an external id. Some external ids are typed by users who adopt, so each is checked like any path.
fn path_of(id: &ExternalId) -> Result<RelativePath, Failure> {
    RelativePath::parse(id.as_str()).map_err(|message| {
        let message = format!("the external id {message}");
        Failure::harmless(ErrorClass::Invalid, "bad_external_id", message)
    })
}

fn no_long_work() -> Failure {
    let message = "this driver never leaves work pending";
    Failure::harmless(ErrorClass::Bug, "no_long_work", message)
}
