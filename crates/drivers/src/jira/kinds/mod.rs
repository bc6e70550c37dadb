//! The kinds, and what their calls have in common.
//!
//! To add one: (1) a file with its [`Meta`] and its `impl Kind`, (2) its schema beside it, (3) a line in [`KINDS`]. The
//! contract suite then requires a subject.

mod attributes;
mod comment;
mod issue;
mod issue_facts;
mod issue_link;
mod job;
mod project;
mod project_part;
mod remote_link;
mod users;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use stateward_domain::entity::state::DriftPolicy;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ExternalId, KindName};
use stateward_domain::json_pointer::covers;
use stateward_domain::kind::{ActionSpec, KindSpec, OnLost};
use stateward_domain::ports::driver::{
    Act, Create, Listing, Object, ObjectRef, Observation, Outcome, Plan, Search, Update,
};

use super::client::{ApiError, CallClient, ErrorKind, PER_ISSUE, Request, settling};
use super::site::{Deployment, Site};
pub(super) use job::Job;
use job::Work;

/// What a kind declares.
pub(super) struct Meta {
    pub(super) name: &'static str,
    summary: &'static str,
    schema: &'static str,
    /// Pointers.
    immutable: &'static [&'static str],
    /// Fields that are not observed: they say how, not what.
    unobserved: &'static [&'static str],
    /// Pointer of the identity of a kind that has no place for the owner key.
    identity: Option<&'static str>,
    owner_key: bool,
    drift: DriftPolicy,
    loses: Option<&'static str>,
}

/// A kind of JIRA's objects.
#[async_trait]
pub(super) trait Kind: Send + Sync {
    fn meta(&self) -> &'static Meta;

    fn actions(&self) -> Vec<ActionSpec> {
        Vec::new()
    }

    /// Normalises a desired state, and reports its faults.
    fn normalise(&self, _: Deployment, _: &mut Map<String, Value>) -> Vec<FieldError> {
        Vec::new()
    }

    /// Whether a field is as desired.
    fn is_same(&self, _: Deployment, observed: &Value, field: &str, desired: &Value) -> bool {
        attributes::is_same(observed, field, desired)
    }

    /// Why an object in this state cannot be used; `None` = it can.
    fn unready(&self, _observed: &Value) -> Option<String> {
        None
    }

    async fn observe(
        &self,
        client: CallClient<'_>,
        target: &ObjectRef,
    ) -> Result<Observation, ApiError>;

    /// Objects that carry the owner key, or have the identity.
    async fn find(&self, client: CallClient<'_>, search: &Search) -> Result<Vec<Object>, ApiError>;

    async fn list(&self, client: CallClient<'_>, cursor: Option<&str>)
    -> Result<Listing, ApiError>;

    async fn create(&self, client: CallClient<'_>, create: &Create) -> Result<Outcome, Failure>;

    async fn update(&self, client: CallClient<'_>, update: &Update) -> Result<Outcome, Failure>;

    async fn delete(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<Outcome, Failure>;

    async fn resume(&self, _: CallClient<'_>, _: Job) -> Result<Outcome, Failure> {
        Err(no_job())
    }

    async fn act(&self, _: CallClient<'_>, _: &Act) -> Result<Outcome, Failure> {
        Err(Failure::harmless(ErrorClass::Bug, "no_action", "the kind has no such action"))
    }
}

const KINDS: &[&dyn Kind] = &[
    &issue::Issue,
    &comment::Comment,
    &project::Project,
    &project_part::VERSION,
    &project_part::COMPONENT,
    &issue_link::IssueLink,
    &remote_link::RemoteLink,
];

/// Consecutive failures before `erred`.
const RETRY_BUDGET: u32 = 5;
/// Delays of one change by the limit on the writes of an issue, at most; then the kind pauses.
const DELAYS_MAX: u32 = 20;

/// The kind called `name`.
///
/// # Errors
/// `Bug` if this driver has none of that name.
pub(super) fn kind_of(name: &KindName) -> Result<&'static dyn Kind, Failure> {
    let known = KINDS.iter().copied().find(|kind| kind.meta().name == name.as_str());
    known.ok_or_else(|| {
        Failure::harmless(ErrorClass::Bug, "unknown_kind", format!("no kind is called {name}"))
    })
}

/// The kinds of this driver, with the usual settle time.
#[must_use]
pub fn kinds() -> Vec<KindSpec> {
    specs(super::site::SETTLE)
}

/// The kinds as a site has them.
pub(super) fn kinds_of(site: &Site) -> Vec<KindSpec> {
    specs(site.settle)
}

fn specs(settle: Duration) -> Vec<KindSpec> {
    KINDS.iter().map(|kind| spec(*kind, settle)).collect()
}

fn spec(kind: &dyn Kind, settle: Duration) -> KindSpec {
    let meta = kind.meta();
    KindSpec {
        name: meta.name.into(),
        summary: meta.summary.to_owned(),
        schema: serde_json::from_str(meta.schema).expect("the schema is part of the program"),
        schema_version: 1,
        immutable: meta.immutable.iter().map(|&pointer| pointer.to_owned()).collect(),
        write_only: Vec::new(),
        identity: meta.identity.map(str::to_owned),
        owner_key: meta.owner_key,
        copies_owner_key: false,
        actions: kind.actions(),
        implicit: Vec::new(),
        settle,
        retry_budget: RETRY_BUDGET,
        // People write into these objects: a new one would be empty.
        on_lost: OnLost::Ask,
        drift_policy: meta.drift,
        loses: meta.loses.map(str::to_owned),
    }
}

/// See `Driver::check`.
pub(super) fn check(
    kind: &dyn Kind,
    deployment: Deployment,
    spec: &Value,
) -> Result<Value, Vec<FieldError>> {
    let Some(members) = spec.as_object() else {
        let message = "must be an object".to_owned();
        return Err(vec![FieldError { pointer: String::new(), message }]);
    };
    let mut normal = members.clone();
    let faults = kind.normalise(deployment, &mut normal);
    if faults.is_empty() { Ok(Value::Object(normal)) } else { Err(faults) }
}

/// See `Driver::plan`.
pub(super) fn plan(
    kind: &dyn Kind,
    deployment: Deployment,
    observed: &Value,
    spec: &Value,
) -> Plan {
    let meta = kind.meta();
    let differing = spec.as_object().into_iter().flatten().filter(|(field, desired)| {
        // Attributes that an import declares say nothing that could be changed.
        !meta.unobserved.contains(&field.as_str())
            && observed.get(field.as_str()) != Some(desired)
            && !kind.is_same(deployment, observed, field, desired)
    });
    let fields: Vec<_> = differing.map(|(field, _)| format!("/{field}")).collect();
    let immutable: Vec<_> = meta.immutable.iter().map(|&pointer| pointer.to_owned()).collect();
    if fields.is_empty() {
        Plan::Noop
    } else if fields.iter().any(|field| covers(&immutable, field)) {
        Plan::Replace { fields }
    } else {
        Plan::Update { fields }
    }
}

/// See `Driver::find`.
pub(super) async fn find(
    kind: &dyn Kind,
    client: CallClient<'_>,
    search: &Search,
) -> Result<Vec<Object>, Failure> {
    let mut found = kind.find(client, search).await?;
    if let Some(gone) =
        found.iter().find(|object| client.deletion_may_lag(object.external_id.as_str()))
    {
        let id = &gone.external_id;
        let message = format!("{id} was deleted a moment ago, and is still shown");
        return Err(settling(&message).into());
    }
    if found.is_empty() {
        let site = &client.shared.site;
        // An identity is read, an owner key is searched for.
        let lag = if kind.meta().owner_key { site.settle } else { site.read_lag };
        if client.wrote_within(&search.owner_key.0, lag) {
            let message = "the object was created a moment ago, and may not be shown yet";
            return Err(settling(message).into());
        }
        // Where an identity is taken, a second creation is refused, so no proof is needed.
        if kind.meta().owner_key {
            client.proves_absence().await?;
        }
    }
    // The lowest id is adopted.
    found.sort_by_key(|object| (object.external_id.0.len(), object.external_id.0.clone()));
    Ok(found)
}

/// See `Driver::update`. A change that JIRA's limit on the writes of one issue delays holds up no other object.
pub(super) async fn update(
    kind: &dyn Kind,
    client: CallClient<'_>,
    update: &Update,
    polls: u32,
) -> Result<Outcome, Failure> {
    let immutable: Vec<_> =
        kind.meta().immutable.iter().map(|&pointer| pointer.to_owned()).collect();
    if let Some(field) = update.fields.iter().find(|field| covers(&immutable, field)) {
        let message = format!("{field} cannot change");
        return Err(Failure::harmless(ErrorClass::Immutable, "immutable", message));
    }
    let outcome = kind.update(client, update).await;
    match delay_of(&outcome) {
        Some(after_ms) if polls < DELAYS_MAX => {
            let id = update.target.external_id.as_str();
            let work = Work::Update(Box::new(update.clone()));
            let job = Job { polls, ..Job::new(kind.meta().name, id, work) };
            // A desired state that is too long to be kept in the log pauses the kind instead.
            if job.fits() { Ok(job.pending(after_ms)) } else { outcome }
        }
        _ => outcome,
    }
}

/// How long the limit on the writes of one issue delays a change, in milliseconds; `None` = it does not.
fn delay_of(outcome: &Result<Outcome, Failure>) -> Option<u64> {
    match outcome {
        Err(Failure { class: ErrorClass::RateLimited { after_ms, .. }, code, .. })
            if code == PER_ISSUE =>
        {
            Some(*after_ms)
        }
        _ => None,
    }
}

/// See `Driver::resume`.
pub(super) async fn resume(
    kind: &dyn Kind,
    client: CallClient<'_>,
    job: Job,
) -> Result<Outcome, Failure> {
    match &job.work {
        Work::Update(change) => update(kind, client, change, job.polls).await,
        _ => kind.resume(client, job).await,
    }
}

/// See `Driver::cancel`: JIRA cannot be stopped.
pub(super) fn cancel() -> Failure {
    let message = "JIRA cannot be stopped; what comes of it is seen afterwards";
    Failure::harmless(ErrorClass::Invalid, "not_cancellable", message)
}

fn no_job() -> Failure {
    Failure::harmless(ErrorClass::Bug, "no_job", "the kind has no such pending work")
}

/// The end of a change of the object `id`.
fn done(id: &str) -> Outcome {
    Outcome::Done { external_id: Some(ExternalId(id.to_owned())), attributes: Value::Null }
}

/// The end of a deletion.
const fn deleted() -> Outcome {
    Outcome::Done { external_id: None, attributes: Value::Null }
}

/// Sends the deletion of the object `id`; one that is gone already counts as deleted.
///
/// # Errors
/// Those of the request, but for the 404 of the object.
async fn delete(client: CallClient<'_>, request: Request, id: &str) -> Result<Outcome, ApiError> {
    match client.send(request).await {
        Ok(_) => client.removed(id),
        Err(error) if error.kind == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(deleted())
}

/// What a search reads first: `None` = JIRA does not show it to an account that it knows, so there is nothing in it.
///
/// # Errors
/// Those of the request, and that JIRA took it for an anonymous one.
async fn shown<T>(
    client: CallClient<'_>,
    read: Result<T, ApiError>,
) -> Result<Option<T>, ApiError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind == ErrorKind::NotFound => {
            client.is_known().await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Records the id of an object that was just created.
async fn created(client: CallClient<'_>, create: &Create, id: &str) -> Result<Outcome, Failure> {
    let external_id = ExternalId(id.to_owned());
    client.wrote(&create.owner_key.0);
    client.made(id);
    client.context.control.record_id(&external_id).await?;
    Ok(Outcome::Done { external_id: Some(external_id), attributes: Value::Null })
}

/// The failure of a creation: its lost reply may stand for an object that searches show late.
fn not_created(client: CallClient<'_>, create: &Create, error: ApiError) -> Failure {
    if error.kind == ErrorKind::Ambiguous {
        client.wrote(&create.owner_key.0);
    }
    error.into()
}

/// The absence of an object whose id JIRA cannot have given.
fn is_no_id(id: &str, noun: &str) -> Observation {
    Observation::Absent { proof: format!("`{id}` is no id of a {noun}: JIRA's are numbers") }
}

/// Whether a text is a number, as JIRA's ids are.
fn is_number(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
}

/// The fields of a desired state that a plan names.
fn planned(spec: &Value, fields: &[String]) -> Map<String, Value> {
    let named = fields.iter().filter_map(|field| field.strip_prefix('/'));
    named.filter_map(|name| Some((name.to_owned(), spec.get(name)?.clone()))).collect()
}

/// A fault of a field.
fn fault(field: &str, message: impl Into<String>) -> FieldError {
    FieldError { pointer: format!("/{field}"), message: message.into() }
}
