//! The kinds. Their common calls are in `driver_calls`; a kind implements only what is specific to it.
//!
//! To add one: (1) a file with its [`KindMeta`] and its `impl Kind`, (2) its schema beside it, (3) a line in [`KINDS`].
//! The contract suite then requires a subject.

mod backup;
mod blocker;
mod cinder;
mod driver_calls;
mod floating_ip;
mod foreign_additions;
mod idle_time;
mod image;
mod image_content;
mod keypair;
mod kind_meta;
mod network;
mod neutron;
mod nics;
mod normalise;
mod nova;
mod object_stage;
mod owner_mark;
mod pending_job;
mod port;
mod project;
mod quotas;
mod read_calls;
mod router;
mod security_group;
mod security_rules;
mod server;
mod server_body;
mod server_group;
mod snapshot;
mod subnet;
mod unknown_members;
mod volume;

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::{ExternalId, KindName, OwnerKey};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::{Act, Create, ObjectRef, Search};

use super::client::{ApiError, CallClient, ErrorKind, Request};
use super::cloud::SERVICE_TIMEOUT;
use blocker::Blocker;
pub(super) use blocker::obstacle;
use driver_calls::Change;
pub(super) use driver_calls::{act, cancel, check, create, delete, plan, resume, update};
use kind_meta::{Field, KindMeta, Mutability};
use neutron::Neutron;
pub(super) use pending_job::PendingJob;
pub(super) use read_calls::{find, list, observe};
use unknown_members::Part;

/// Every kind, in the order of their dependencies.
const KINDS: &[&dyn Kind] = &[
    &Neutron(network::Network),
    &Neutron(subnet::Subnet),
    &volume::Volume,
    &snapshot::Snapshot,
    &Neutron(security_group::SecurityGroup),
    &Neutron(port::Port),
    &Neutron(router::Router),
    &Neutron(floating_ip::FloatingIp),
    &keypair::Keypair,
    &server_group::ServerGroup,
    &image::Image,
    &server::Server,
    &project::Project,
    &backup::Backup,
];

/// The kind called `name`.
///
/// # Errors
/// `Bug`: the engine asks only for kinds that the driver declares.
pub(super) fn kind_of(name: &KindName) -> Result<&'static dyn Kind, Failure> {
    let found = KINDS.iter().find(|kind| kind.meta().name == name.as_str());
    found.copied().ok_or_else(|| {
        Failure::harmless(ErrorClass::Bug, "unknown_kind", "the kind is not of this driver")
    })
}

/// The kinds of this driver, as a cloud with default settings has them.
#[must_use]
pub fn kinds() -> Vec<KindSpec> {
    kinds_of(SERVICE_TIMEOUT)
}

/// The kinds in a cloud whose services end a request in `service_timeout`.
pub(super) fn kinds_of(service_timeout: Duration) -> Vec<KindSpec> {
    KINDS.iter().map(|kind| kind.meta().declare(service_timeout)).collect()
}

/// See `Driver::with_additions`.
pub(super) fn with_additions(
    kind: &KindName,
    observed: &Value,
    spec: &Value,
    applied: Option<&Value>,
) -> Option<Value> {
    foreign_additions::with_additions(kind.as_str(), observed, spec, applied)
}

/// The stage of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Settled,
    /// The cloud works on it.
    Working,
    /// It stopped in a failed state; the text is its status.
    Failed(String),
}

/// The object's status as a reason why it cannot be used, unless `usable` accepts it. Without a status it can be used.
fn status_unless(attributes: &Value, usable: impl Fn(&str) -> bool) -> Option<String> {
    let status = attributes["status"].as_str().filter(|status| !usable(status));
    status.map(|status| format!("its status is {status}"))
}

/// What remains of a change after its first requests.
pub(super) enum Remaining {
    /// Nothing; the change is complete.
    Nothing,
    /// The cloud works on it; these fields are to be changed afterwards.
    Working(Vec<String>),
}

/// The part of a driver that is specific to one kind. `row` is always an object of the API, without its wrapper.
#[async_trait]
pub(in crate::openstack) trait Kind: Send + Sync {
    fn meta(&self) -> &'static KindMeta;

    /// The fields with objects of the API in them; see [`unknown_members`].
    fn parts(&self) -> &'static [Part] {
        &[]
    }

    /// Whether a field of an object in this state can only be changed by replacing the object.
    fn is_fixed(&self, field: &Field, _observed: &Value) -> bool {
        field.mutability == Mutability::Never
    }

    /// Checks what the schema cannot, and normalises the desired state for comparison.
    fn normalise(&self, _spec: &mut Map<String, Value>) -> Vec<FieldError> {
        Vec::new()
    }

    /// The backend's id of the object.
    fn id<'a>(&self, row: &'a Value) -> Option<&'a str> {
        row["id"].as_str()
    }

    /// The observed fields, in the spelling of the desired state.
    fn attributes(&self, row: &Value) -> Map<String, Value> {
        copy_fields(self.meta(), row)
    }

    /// Adds the attributes that need further requests.
    async fn complete_attributes(
        &self,
        _client: CallClient<'_>,
        _row: &Value,
        _attributes: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    /// The owner key that the object carries.
    fn owner(&self, row: &Value) -> Option<OwnerKey>;

    /// The request that adds the owner key to an object that has none, and changes nothing else; `None` = it cannot be
    /// added, or not now.
    fn mark_request(&self, _row: &Value, _key: &OwnerKey) -> Option<Request> {
        None
    }

    /// The stage of the object with these attributes.
    fn stage(&self, _attributes: &Value) -> Stage {
        Stage::Settled
    }

    /// Why an object with these attributes cannot be used; `None` = it can.
    fn unready(&self, attributes: &Value) -> Option<String> {
        let settled = self.stage(attributes) == Stage::Settled;
        status_unless(attributes, |status| settled && !status.eq_ignore_ascii_case("error"))
    }

    /// Polling interval while the cloud works; `None` = changes are synchronous.
    fn poll_ms(&self) -> Option<u64> {
        None
    }

    /// The object `id`, and the service's clock.
    async fn get(
        &self,
        client: CallClient<'_>,
        id: &str,
    ) -> Result<(Value, Option<Timestamp>), ApiError> {
        let meta = self.meta();
        let reply = client.send(Request::get(meta.service, &[meta.path, id])).await?;
        Ok((unwrapped(meta, reply.body), reply.date))
    }

    /// Rows that may carry the owner key; the caller checks each of them.
    async fn search(&self, client: CallClient<'_>, search: &Search)
    -> Result<Vec<Value>, ApiError>;

    /// The request that lists all objects of this project.
    async fn list_request(&self, client: CallClient<'_>) -> Result<Request, ApiError>;

    /// One page of the list: rows, and the marker of the next page.
    async fn page(
        &self,
        client: CallClient<'_>,
        marker: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), ApiError> {
        let meta = self.meta();
        client.page(self.list_request(client).await?, meta.rows, meta.pagination, marker).await
    }

    /// Whether the rows of the list lack attributes that take requests for each object.
    fn list_is_partial(&self) -> bool {
        false
    }

    /// Whether a row is an object of its own, not a part of another one.
    fn is_top_level(&self, _row: &Value) -> bool {
        true
    }

    /// The request that creates the object.
    async fn create_request(
        &self,
        client: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError>;

    /// Creates the object; returns the row of the reply.
    async fn create_object(
        &self,
        client: CallClient<'_>,
        create: &Create,
    ) -> Result<Value, Failure> {
        let sent = match self.create_request(client, create).await {
            Ok(request) => client.send(request).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(reply) => Ok(unwrapped(self.meta(), reply.body)),
            Err(error) if error.kind == ErrorKind::Exists => {
                Err(self.on_already_exists(client, create, error).await)
            }
            // The only ids in the request are those of the desired state.
            Err(error) if error.kind == ErrorKind::NotFound => {
                Err(error.with_kind(ErrorKind::NoReference).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Runs right after the object was created and its id recorded.
    async fn after_create(
        &self,
        _client: CallClient<'_>,
        _id: &str,
        _create: &Create,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    /// The failure of a creation that was refused because a similar object exists.
    async fn on_already_exists(
        &self,
        _client: CallClient<'_>,
        _create: &Create,
        error: ApiError,
    ) -> Failure {
        error.into()
    }

    /// Changes the object as far as possible without waiting.
    async fn update_fields(
        &self,
        client: CallClient<'_>,
        change: &Change<'_>,
    ) -> Result<Remaining, ApiError>;

    /// Requests the deletion of the object.
    async fn remove(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<(), ApiError> {
        let (meta, id) = (self.meta(), target.external_id.as_str());
        client.send(Request::delete(meta.service, &[meta.path, id])).await.map(drop)
    }

    /// The dependent that blocks the deletion.
    async fn blocker(
        &self,
        _client: CallClient<'_>,
        _id: &str,
    ) -> Result<Option<Blocker>, ApiError> {
        Ok(None)
    }

    /// Performs an action of the kind.
    async fn perform_action(
        &self,
        _client: CallClient<'_>,
        _act: &Act,
    ) -> Result<ActionOutcome, ApiError> {
        Err(ApiError::harmless(ErrorKind::Invalid, "unknown_action", "the kind has no such action"))
    }

    /// Runs at each poll of a pending job, and may send requests that keep it going. `None` = `stage` decides.
    async fn poll_hook(
        &self,
        _client: CallClient<'_>,
        _job: &PendingJob,
        _attributes: &Value,
    ) -> Result<Option<Stage>, ApiError> {
        Ok(None)
    }

    /// Why the object failed, from the service's own messages.
    async fn failure_reason(
        &self,
        _client: CallClient<'_>,
        _id: &str,
        _row: &Value,
    ) -> Option<String> {
        None
    }

    /// Whether an object that failed during its creation is deleted, so that it can be created again.
    fn recreate_on_error(&self) -> bool {
        false
    }

    /// Whether a failed object certainly never worked.
    fn never_worked(&self, _row: &Value) -> bool {
        false
    }

    /// Whether a failed deletion is requested again; otherwise only an administrator can help.
    fn retries_failed_deletion(&self) -> bool {
        false
    }
}

/// The result of an action.
pub(super) enum ActionOutcome {
    /// Done, with this result.
    Finished(Value),
    /// The cloud works on it.
    Pending,
}

/// The members of `row` that the kind manages or observes.
pub(super) fn copy_fields(meta: &KindMeta, row: &Value) -> Map<String, Value> {
    let names = meta.fields.iter().map(|field| field.name).chain(meta.computed.iter().copied());
    let present = names.filter_map(|name| Some((name.to_owned(), row.get(name)?.clone())));
    present.collect()
}

fn unwrapped(meta: &KindMeta, mut body: Value) -> Value {
    if meta.row.is_empty() { body } else { body[meta.row].take() }
}

fn to_external_id(id: &str) -> ExternalId {
    ExternalId(id.to_owned())
}

#[cfg(test)]
mod tests;
