//! A driver for tests of decisions: it plans and checks, and makes no call.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::failure::Failure;
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ActionName, KindName};
use stateward_domain::json_pointer::covers;
use stateward_domain::kind::{ActionSpec, KindSpec, OnLost};
use stateward_domain::ports::driver::{
    Act, CallContext, Create, Driver, Listing, Object, ObjectRef, Observation, Outcome, Plan,
    Search, Update,
};

/// A kind with a member of every sort.
pub(crate) fn kind() -> KindSpec {
    let action = |name, idempotent| ActionSpec {
        name: ActionName::from(name),
        input: json!(true),
        idempotent,
    };
    KindSpec {
        name: KindName::from("stub.thing"),
        summary: "For tests.".to_owned(),
        schema: json!(true),
        schema_version: 1,
        immutable: vec!["/zone".to_owned()],
        write_only: vec!["/password".to_owned()],
        identity: None,
        owner_key: true,
        copies_owner_key: false,
        actions: vec![action("reboot", true), action("format", false)],
        implicit: Vec::new(),
        settle: Duration::from_secs(2),
        retry_budget: 3,
        on_lost: OnLost::Ask,
        drift_policy: DriftPolicy::default(),
        loses: None,
    }
}

pub(crate) struct StubDriver {
    pub(crate) kinds: Vec<KindSpec>,
}

#[async_trait]
impl Driver for StubDriver {
    fn kinds(&self) -> &[KindSpec] {
        &self.kinds
    }

    fn check(&self, _: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>> {
        Ok(spec.clone())
    }

    /// Compares the members of `spec`, but for write-only ones.
    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan {
        let kind = self.kinds.iter().find(|known| known.name == *kind).expect("a kind of it");
        let members = spec.as_object().expect("an object").iter();
        let differs = members.filter(|(name, value)| observed.get(name.as_str()) != Some(*value));
        let fields = differs.map(|(name, _)| format!("/{name}"));
        let fields: Vec<_> = fields.filter(|field| !covers(&kind.write_only, field)).collect();
        if fields.is_empty() {
            Plan::Noop
        } else if fields.iter().any(|field| covers(&kind.immutable, field)) {
            Plan::Replace { fields }
        } else {
            Plan::Update { fields }
        }
    }

    /// Entries of the list `plugged` that neither `spec` nor `applied` names.
    fn with_additions(
        &self,
        _: &KindName,
        observed: &Value,
        spec: &Value,
        applied: Option<&Value>,
    ) -> Option<Value> {
        let wanted = spec.get("plugged")?.as_array()?;
        let mut all = wanted.clone();
        let there = observed.get("plugged")?.as_array()?;
        let before = applied.and_then(|applied| applied.get("plugged")?.as_array());
        let known = |entry: &Value| {
            wanted.contains(entry) || before.is_some_and(|before| before.contains(entry))
        };
        all.extend(there.iter().filter(|entry| !known(entry)).cloned());
        let mut spec = spec.clone();
        spec["plugged"] = Value::from(all);
        Some(spec)
    }

    async fn identity(&self, _: &CallContext) -> Result<String, Failure> {
        no_call()
    }

    async fn health(&self, _: &CallContext) -> Result<(), Failure> {
        no_call()
    }

    async fn observe(&self, _: &CallContext, _: &ObjectRef) -> Result<Observation, Failure> {
        no_call()
    }

    async fn find(&self, _: &CallContext, _: &Search) -> Result<Vec<Object>, Failure> {
        no_call()
    }

    async fn list(
        &self,
        _: &CallContext,
        _: &KindName,
        _: Option<&str>,
    ) -> Result<Listing, Failure> {
        no_call()
    }

    async fn create(&self, _: &CallContext, _: &Create) -> Result<Outcome, Failure> {
        no_call()
    }

    async fn update(&self, _: &CallContext, _: &Update) -> Result<Outcome, Failure> {
        no_call()
    }

    async fn delete(&self, _: &CallContext, _: &ObjectRef) -> Result<Outcome, Failure> {
        no_call()
    }

    async fn action(&self, _: &CallContext, _: &Act) -> Result<Outcome, Failure> {
        no_call()
    }

    async fn resume(&self, _: &CallContext, _: &Value) -> Result<Outcome, Failure> {
        no_call()
    }

    async fn cancel(&self, _: &CallContext, _: &Value) -> Result<(), Failure> {
        no_call()
    }
}

fn no_call() -> ! {
    unreachable!("a decision makes no call")
}
