//! Driver `fake`: things that exist only in a simulated world, which fails on request. For trials, and for tests of
//! everything else.
//!
//! - `world`: the things; `server` runs a world in a process of its own, `connection` is the client of one
//! - `fault_control`: failures of one thing, asked for by the member `_fake` of its desired state; `random_faults`:
//!   failures of the whole backend, by its settings
//!
//! The world deliberately knows no idempotency token: a create that is sent twice makes two things, so that tests see a
//! control plane that does so.

mod connection;
mod fault_control;
mod random_faults;
mod server;
mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ActionName, ExternalId, KindName, OwnerKey};
use stateward_domain::kind::{ActionSpec, KindSpec, OnLost};
use stateward_domain::ports::driver::{
    Act, CallContext, Create, Driver, Listing, Object, ObjectRef, Observation, Outcome, Plan,
    Search, Update,
};

use crate::field_plan::plan_by_fields;
use crate::instrumented::not_sent;
use crate::settings::{self, ConnectError, Settings};
use connection::WorldConnection;
use fault_control::{ControlledCall, FaultControl, FaultInjector};
use random_faults::RandomFaults;
pub use server::serve_world;
use world::{Thing, WorldReply, WorldRequest};

/// Name of the driver in a backend's configuration.
pub const NAME: &str = "fake";
const KIND: &str = "fake.thing";
/// The write-only field.
const PASSWORD: &str = "/password";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FakeSettings {
    /// Duration of every call.
    #[serde(deserialize_with = "settings::duration")]
    latency: Duration,
    /// Share of calls that fail, between 0 and 1.
    error_rate: f64,
    /// Classes of those failures.
    errors: Vec<String>,
    /// Seed of the random failures: the same seed gives the same failures.
    seed: u64,
    /// Address of a world in another process; `None` = in memory.
    url: Option<String>,
    /// Bearer token that the other world requires; `None` = none.
    token: Option<String>,
}

impl Default for FakeSettings {
    fn default() -> Self {
        let errors = vec!["transient".to_owned()];
        Self { latency: Duration::ZERO, error_rate: 0.0, errors, seed: 7, url: None, token: None }
    }
}

/// The kinds of this driver.
///
/// # Panics
/// If the schema, which is part of the program, is no JSON; a test covers that.
#[must_use]
pub fn kinds() -> Vec<KindSpec> {
    let any = json!({"type": "object"});
    let action = |name: &str, idempotent| ActionSpec {
        name: ActionName::from(name),
        input: any.clone(),
        idempotent,
    };
    vec![KindSpec {
        name: KIND.into(),
        summary: "A thing that exists in the driver's own world only.".to_owned(),
        schema: serde_json::from_str(include_str!("thing.schema.json"))
            .expect("the schema is part of the program"),
        schema_version: 1,
        immutable: vec!["/immutable".to_owned()],
        write_only: vec![PASSWORD.to_owned()],
        identity: None,
        owner_key: true,
        copies_owner_key: false,
        actions: vec![action("ping", true), action("poke", false)],
        implicit: Vec::new(),
        settle: Duration::from_millis(500),
        // Calls fail on purpose, and often.
        retry_budget: 20,
        on_lost: OnLost::Ask,
        drift_policy: DriftPolicy::default(),
        loses: None,
    }]
}

pub(crate) fn connect(settings: &Settings) -> Result<Arc<dyn Driver>, ConnectError> {
    let keys: FakeSettings = settings::parse(NAME, settings)?;
    let faults = RandomFaults::new(keys.error_rate, &keys.errors, keys.seed)
        .map_err(|message| ConnectError::Settings { driver: NAME, message })?;
    let world = WorldConnection::new(keys.url.as_deref(), keys.token)
        .map_err(|message| ConnectError::Unusable { driver: NAME, message })?;
    let fault_injector = FaultInjector::default();
    Ok(Arc::new(Fake { kinds: kinds(), world, faults, fault_injector, latency: keys.latency }))
}

struct Fake {
    kinds: Vec<KindSpec>,
    world: WorldConnection,
    faults: RandomFaults,
    fault_injector: FaultInjector,
    latency: Duration,
}

impl Fake {
    /// Waits for the configured latency. A zero latency does not wait at all, because even the shortest timer takes
    /// time.
    async fn simulate_latency(&self) {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
    }

    /// A call that changes nothing.
    async fn read(&self, request: WorldRequest) -> Result<WorldReply, Failure> {
        self.simulate_latency().await;
        match self.faults.draw() {
            Some(fault) => Err(fault.without_effect()),
            None => self.world.request(request).await,
        }
    }

    /// A call that changes something.
    async fn change(
        &self,
        context: &CallContext,
        call: ControlledCall,
        key: &OwnerKey,
        spec: &Value,
        request: WorldRequest,
    ) -> Result<WorldReply, Failure> {
        self.simulate_latency().await;
        self.fault_injector.inject(call, key, spec)?;
        let fault = self.faults.draw();
        if !context.control.may_send() {
            return Err(not_sent());
        }
        match fault {
            None => self.world.request(request).await,
            Some(fault) if !fault.is_after_the_change() => Err(fault.without_effect()),
            Some(fault) => {
                self.world.request(request).await?;
                Err(fault.reply_lost())
            }
        }
    }

    /// The desired state that a thing was given last: the fault control of calls that carry no desired state.
    async fn spec_of(&self, id: &ExternalId) -> Result<Value, Failure> {
        match self.world.request(WorldRequest::Observe { id: id.0.clone() }).await? {
            WorldReply::Thing(Some(thing)) => Ok(thing.attributes),
            _ => Ok(Value::Null),
        }
    }
}

/// Splits a desired state into attributes and password.
fn split_password(spec: &Value) -> (Value, Option<String>) {
    let mut attributes = spec.clone();
    let members = attributes.as_object_mut();
    let password = members.and_then(|members| members.remove(PASSWORD.trim_start_matches('/')));
    (attributes, password.and_then(|password| password.as_str().map(str::to_owned)))
}

fn object(thing: Thing) -> Object {
    Object {
        external_id: ExternalId(thing.id),
        attributes: thing.attributes,
        owner_key: thing.owner_key.map(OwnerKey),
    }
}

fn outcome(reply: WorldReply) -> Result<Outcome, Failure> {
    match reply {
        WorldReply::Done { id, attributes } => {
            Ok(Outcome::Done { external_id: id.map(ExternalId), attributes })
        }
        WorldReply::Pending { job, poll_after_ms, .. } => {
            Ok(Outcome::Pending { handle: json!({"job": job}), poll_after_ms })
        }
        WorldReply::Missing => {
            Err(Failure::harmless(ErrorClass::NotFound, "not_found", "there is no such thing"))
        }
        _ => Err(unexpected_reply()),
    }
}

fn unexpected_reply() -> Failure {
    Failure::harmless(ErrorClass::Bug, "nonsense", "the world answered something else")
}

fn job(handle: &Value) -> Result<String, Failure> {
    handle["job"].as_str().map(str::to_owned).ok_or_else(unexpected_reply)
}

#[async_trait]
impl Driver for Fake {
    fn kinds(&self) -> &[KindSpec] {
        &self.kinds
    }

    fn check(&self, _: &KindName, spec: &Value) -> Result<Value, Vec<FieldError>> {
        Ok(spec.clone())
    }

    fn plan(&self, kind: &KindName, observed: &Value, spec: &Value) -> Plan {
        let kind = self.kinds.iter().find(|known| known.name == *kind);
        kind.map_or(Plan::Noop, |kind| plan_by_fields(kind, observed, spec))
    }

    fn unready(&self, _: &KindName, observed: &Value) -> Option<String> {
        FaultControl::of(observed).unready.filter(|why| !why.is_empty())
    }

    async fn identity(&self, _: &CallContext) -> Result<String, Failure> {
        match self.world.request(WorldRequest::Identity).await? {
            WorldReply::Identity(identity) => Ok(identity),
            _ => Err(unexpected_reply()),
        }
    }

    async fn health(&self, _: &CallContext) -> Result<(), Failure> {
        self.world.request(WorldRequest::Identity).await.map(drop)
    }

    async fn observe(&self, _: &CallContext, target: &ObjectRef) -> Result<Observation, Failure> {
        match self.read(WorldRequest::Observe { id: target.external_id.0.clone() }).await? {
            WorldReply::Thing(Some(thing)) => {
                self.fault_injector.inject(
                    ControlledCall::Observe,
                    &target.owner_key,
                    &thing.attributes,
                )?;
                Ok(Observation::Present(object(thing)))
            }
            WorldReply::Thing(None) => {
                Ok(Observation::Absent { proof: "the world does not have it".to_owned() })
            }
            _ => Err(unexpected_reply()),
        }
    }

    async fn obstacle(
        &self,
        _: &CallContext,
        target: &ObjectRef,
    ) -> Result<Option<Failure>, Failure> {
        let spec = self.spec_of(&target.external_id).await?;
        Ok(FaultControl::of(&spec).obstacle())
    }

    async fn find(&self, _: &CallContext, search: &Search) -> Result<Vec<Object>, Failure> {
        match self.read(WorldRequest::Find { owner_key: search.owner_key.0.clone() }).await? {
            WorldReply::Things { things, .. } => Ok(things.into_iter().map(object).collect()),
            _ => Err(unexpected_reply()),
        }
    }

    async fn list(
        &self,
        _: &CallContext,
        _: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        match self.read(WorldRequest::List { cursor: cursor.map(str::to_owned) }).await? {
            WorldReply::Things { things, cursor } => {
                let objects = things.into_iter().map(object).collect();
                Ok(Listing { objects, cursor, partial: false })
            }
            _ => Err(unexpected_reply()),
        }
    }

    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure> {
        let (attributes, password) = split_password(&create.spec);
        let request =
            WorldRequest::Create { owner_key: create.owner_key.0.clone(), attributes, password };
        let reply = self
            .change(context, ControlledCall::Create, &create.owner_key, &create.spec, request)
            .await?;
        if let WorldReply::Pending { id: Some(id), .. } = &reply {
            context.control.record_id(&ExternalId(id.clone())).await?;
        }
        outcome(reply)
    }

    async fn update(&self, context: &CallContext, update: &Update) -> Result<Outcome, Failure> {
        if let Plan::Replace { .. } = self.plan(&update.target.kind, &update.observed, &update.spec)
        {
            let message = "`immutable` cannot change";
            return Err(Failure::harmless(ErrorClass::Immutable, "immutable", message));
        }
        let id = update.target.external_id.0.clone();
        let (attributes, password) = split_password(&update.spec);
        let request = WorldRequest::Update { id, attributes, password };
        let key = &update.target.owner_key;
        outcome(self.change(context, ControlledCall::Update, key, &update.spec, request).await?)
    }

    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure> {
        let spec = self.spec_of(&target.external_id).await?;
        if let Some(failure) = FaultControl::of(&spec).obstacle() {
            return Err(failure);
        }
        let request = WorldRequest::Delete { id: target.external_id.0.clone() };
        outcome(
            self.change(context, ControlledCall::Delete, &target.owner_key, &spec, request).await?,
        )
    }

    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure> {
        let id = act.target.external_id.0.clone();
        let request = WorldRequest::Act { id, action: act.action.0.clone() };
        let key = &act.target.owner_key;
        outcome(self.change(context, ControlledCall::Action, key, &act.spec, request).await?)
    }

    async fn resume(&self, _: &CallContext, handle: &Value) -> Result<Outcome, Failure> {
        outcome(self.read(WorldRequest::Resume { job: job(handle)? }).await?)
    }

    async fn cancel(&self, _: &CallContext, handle: &Value) -> Result<(), Failure> {
        self.world.request(WorldRequest::Cancel { job: job(handle)? }).await.map(drop)
    }
}
