//! `openstack.keypair`: it cannot carry an owner key, but its name is unique. It belongs to the user of the
//! credentials, not to the project.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Create, Search};

use super::kind_meta::{Compare, KindMeta, fixed};
use super::normalise::field_error;
use super::{Change, Kind, Remaining, copy_fields, to_external_id};
use crate::openstack::client::{ApiError, CallClient, Pagination, Request};
use crate::openstack::service::Service;

pub(super) struct Keypair;

static META: KindMeta = KindMeta {
    name: "openstack.keypair",
    summary: "A public key that servers are given when they are made.",
    schema: include_str!("keypair.schema.json"),
    service: Service::Compute,
    path: "os-keypairs",
    list: &["os-keypairs"],
    row: "keypair",
    rows: "keypairs",
    pagination: Pagination::Names("keypair"),
    fields: &[fixed("name", Compare::Exact), fixed("public_key", Compare::Exact)],
    computed: &["fingerprint", "type"],
    actions: &[],
    identity: Some("/name"),
    owner_key: false,
    retry_budget: 8,
    // It is public, and the desired state contains all of it.
    on_lost: OnLost::Recreate,
};

/// The key with single spaces. Nova keeps every space and line end; they have no meaning.
fn normalised_key(key: &str) -> String {
    key.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Kind for Keypair {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let Some(Value::String(key)) = spec.get_mut("public_key") else { return Vec::new() };
        *key = normalised_key(key);
        if key.split(' ').count() < 2 {
            return vec![field_error(
                "/public_key",
                "is no public key such as `ssh-ed25519 AAAA…`",
            )];
        }
        Vec::new()
    }

    fn id<'a>(&self, row: &'a Value) -> Option<&'a str> {
        row["name"].as_str()
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copy_fields(&META, row);
        if let Some(Value::String(key)) = attributes.get_mut("public_key") {
            *key = normalised_key(key);
        }
        attributes
    }

    fn owner(&self, _: &Value) -> Option<OwnerKey> {
        None
    }

    /// A keypair of this name with another key is not ours; the creation will report that it exists.
    async fn search(
        &self,
        client: CallClient<'_>,
        search: &Search,
    ) -> Result<Vec<Value>, ApiError> {
        let name = search.spec["name"].as_str().unwrap_or_default();
        match self.get(client, name).await {
            Ok((row, _)) => {
                let ours = self.attributes(&row)["public_key"] == search.spec["public_key"];
                Ok(if ours { vec![row] } else { Vec::new() })
            }
            Err(error) if error.proves_absence_of(name) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn list_request(&self, _: CallClient<'_>) -> Result<Request, ApiError> {
        Ok(Request::get(Service::Compute, META.list))
    }

    async fn create_request(
        &self,
        _: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError> {
        let body = json!({ "keypair": create.spec });
        Ok(Request::post(Service::Compute, META.list, body))
    }

    async fn on_already_exists(
        &self,
        _: CallClient<'_>,
        create: &Create,
        error: ApiError,
    ) -> Failure {
        let external_id = to_external_id(create.spec["name"].as_str().unwrap_or_default());
        let class = ErrorClass::AlreadyExists { external_id };
        Failure { class, ..error.into() }
    }

    async fn update_fields(
        &self,
        _: CallClient<'_>,
        _: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        Ok(Remaining::Nothing)
    }
}
