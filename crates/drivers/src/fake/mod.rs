//! Driver `fake`: things that exist only in a world of our own, which fails when asked to. For trying out, and
//! for tests of everything else.
//!
//! - `world`: the things; `server` puts a world into a process of its own, `remote` is the way to one
//! - `steer`: how one thing behaves, by the member `_fake` of its desired state; `faults`: how the backend does,
//!   by its settings
//!
//! The world deliberately knows no idempotency token: a create that is sent twice makes two things, so that a
//! control plane which does that can be seen doing it.

mod faults;
mod remote;
mod server;
mod steer;
mod world;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ActionName, ExternalId, KindName, OwnerKey};
use stateward_domain::kind::{ActionSpec, KindSpec, OnLost};
use stateward_domain::ports::driver::{
    Act, CallContext, Create, Driver, Listing, Object, ObjectRef, Observation, Outcome, Plan,
    Search, Update,
};

use crate::instrumented::not_sent;
use crate::plan::plan_by_fields;
use crate::settings::{self, ConnectError, Settings};
use faults::Faults;
use remote::Place;
pub use server::serve_world;
use steer::{Call, Steering};
use world::{Ask, Reply, Thing};

/// Name of the driver in a backend's configuration.
pub const NAME: &str = "fake";
const KIND: &str = "fake.thing";
/// The field that goes in and never comes out.
const PASSWORD: &str = "/password";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    /// Time that every call takes.
    #[serde(deserialize_with = "settings::duration")]
    latency: Duration,
    /// Share of calls that fail, between 0 and 1.
    error_rate: f64,
    /// Classes of those failures.
    errors: Vec<String>,
    /// Makes the failures the same every time.
    seed: u64,
    /// Address of a world in another process; `None` = in memory.
    url: Option<String>,
    /// What that world wants to be told by whoever asks; `None` = nothing.
    token: Option<String>,
}

impl Default for Keys {
    fn default() -> Self {
        let errors = vec!["transient".to_owned()];
        Self { latency: Duration::ZERO, error_rate: 0.0, errors, seed: 7, url: None, token: None }
    }
}

/// What this driver serves.
///
/// # Panics
/// When the schema that is part of the program is no JSON, which a test would have shown.
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
        actions: vec![action("ping", true), action("poke", false)],
        settle: Duration::from_millis(500),
        // It fails on purpose, and often.
        retry_budget: 20,
        on_lost: OnLost::Ask,
    }]
}

pub(crate) fn connect(settings: &Settings) -> Result<Arc<dyn Driver>, ConnectError> {
    let keys: Keys = settings::parse(NAME, settings)?;
    let faults = Faults::new(keys.error_rate, &keys.errors, keys.seed)
        .map_err(|message| ConnectError::Settings { driver: NAME, message })?;
    let place = Place::new(keys.url.as_deref(), keys.token)
        .map_err(|message| ConnectError::Unusable { driver: NAME, message })?;
    let steering = Steering::default();
    Ok(Arc::new(Fake { kinds: kinds(), place, faults, steering, latency: keys.latency }))
}

struct Fake {
    kinds: Vec<KindSpec>,
    place: Place,
    faults: Faults,
    steering: Steering,
    latency: Duration,
}

impl Fake {
    /// Takes the time that a call takes. A timer has a resolution: without a latency it would still take one.
    async fn linger(&self) {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
    }

    /// A call that changes nothing.
    async fn look(&self, ask: Ask) -> Result<Reply, Failure> {
        self.linger().await;
        match self.faults.draw() {
            Some(fault) => Err(fault.before()),
            None => self.place.ask(ask).await,
        }
    }

    /// A call that changes something.
    async fn change(
        &self,
        context: &CallContext,
        call: Call,
        key: &OwnerKey,
        spec: &Value,
        ask: Ask,
    ) -> Result<Reply, Failure> {
        self.linger().await;
        self.steering.obey(call, key, spec)?;
        let fault = self.faults.draw();
        if !context.control.may_send() {
            return Err(not_sent());
        }
        match fault {
            None => self.place.ask(ask).await,
            Some(fault) if !fault.after_the_fact() => Err(fault.before()),
            Some(fault) => {
                self.place.ask(ask).await?;
                Err(fault.reply_lost())
            }
        }
    }

    /// The desired state that a thing was last given, for steering calls that carry none.
    async fn spec_of(&self, id: &ExternalId) -> Result<Value, Failure> {
        match self.place.ask(Ask::Observe { id: id.0.clone() }).await? {
            Reply::Thing(Some(thing)) => Ok(thing.attributes),
            _ => Ok(Value::Null),
        }
    }
}

/// Attributes and password of a desired state.
fn apart(spec: &Value) -> (Value, Option<String>) {
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

fn outcome(reply: Reply) -> Result<Outcome, Failure> {
    match reply {
        Reply::Done { id, attributes } => {
            Ok(Outcome::Done { external_id: id.map(ExternalId), attributes })
        }
        Reply::Pending { job, poll_after_ms, .. } => {
            Ok(Outcome::Pending { handle: json!({"job": job}), poll_after_ms })
        }
        Reply::Missing => {
            Err(Failure::harmless(ErrorClass::NotFound, "not_found", "there is no such thing"))
        }
        _ => Err(nonsense()),
    }
}

fn nonsense() -> Failure {
    Failure::harmless(ErrorClass::Bug, "nonsense", "the world answered something else")
}

fn job(handle: &Value) -> Result<String, Failure> {
    handle["job"].as_str().map(str::to_owned).ok_or_else(nonsense)
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

    async fn identity(&self, _: &CallContext) -> Result<String, Failure> {
        match self.place.ask(Ask::Identity).await? {
            Reply::Identity(identity) => Ok(identity),
            _ => Err(nonsense()),
        }
    }

    async fn health(&self, _: &CallContext) -> Result<(), Failure> {
        self.place.ask(Ask::Identity).await.map(drop)
    }

    async fn observe(&self, _: &CallContext, target: &ObjectRef) -> Result<Observation, Failure> {
        match self.look(Ask::Observe { id: target.external_id.0.clone() }).await? {
            Reply::Thing(Some(thing)) => {
                self.steering.obey(Call::Observe, &target.owner_key, &thing.attributes)?;
                Ok(Observation::Present(object(thing)))
            }
            Reply::Thing(None) => {
                Ok(Observation::Absent { proof: "the world does not have it".to_owned() })
            }
            _ => Err(nonsense()),
        }
    }

    async fn find(&self, _: &CallContext, search: &Search) -> Result<Vec<Object>, Failure> {
        match self.look(Ask::Find { owner_key: search.owner_key.0.clone() }).await? {
            Reply::Things { things, .. } => Ok(things.into_iter().map(object).collect()),
            _ => Err(nonsense()),
        }
    }

    async fn list(
        &self,
        _: &CallContext,
        _: &KindName,
        cursor: Option<&str>,
    ) -> Result<Listing, Failure> {
        match self.look(Ask::List { cursor: cursor.map(str::to_owned) }).await? {
            Reply::Things { things, cursor } => {
                Ok(Listing { objects: things.into_iter().map(object).collect(), cursor })
            }
            _ => Err(nonsense()),
        }
    }

    async fn create(&self, context: &CallContext, create: &Create) -> Result<Outcome, Failure> {
        let (attributes, password) = apart(&create.spec);
        let ask = Ask::Create { owner_key: create.owner_key.0.clone(), attributes, password };
        let reply =
            self.change(context, Call::Create, &create.owner_key, &create.spec, ask).await?;
        if let Reply::Pending { id: Some(id), .. } = &reply {
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
        let (attributes, password) = apart(&update.spec);
        let ask = Ask::Update { id, attributes, password };
        let key = &update.target.owner_key;
        outcome(self.change(context, Call::Update, key, &update.spec, ask).await?)
    }

    async fn delete(&self, context: &CallContext, target: &ObjectRef) -> Result<Outcome, Failure> {
        let spec = self.spec_of(&target.external_id).await?;
        let ask = Ask::Delete { id: target.external_id.0.clone() };
        outcome(self.change(context, Call::Delete, &target.owner_key, &spec, ask).await?)
    }

    async fn action(&self, context: &CallContext, act: &Act) -> Result<Outcome, Failure> {
        let id = act.target.external_id.0.clone();
        let ask = Ask::Act { id, action: act.action.0.clone() };
        let key = &act.target.owner_key;
        outcome(self.change(context, Call::Action, key, &act.spec, ask).await?)
    }

    async fn resume(&self, _: &CallContext, handle: &Value) -> Result<Outcome, Failure> {
        outcome(self.look(Ask::Resume { job: job(handle)? }).await?)
    }

    async fn cancel(&self, _: &CallContext, handle: &Value) -> Result<(), Failure> {
        self.place.ask(Ask::Cancel { job: job(handle)? }).await.map(drop)
    }
}
