//! `openstack.keypair`: it has no place for a mark, but its name is unique. It belongs to the user of the
//! credentials, not to the project.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Create, ObjectRef, Search};

use super::normal::fault;
use super::shape::{Compare, Shape, fixed};
use super::{Kind, Left, copied, external};
use crate::openstack::client::{Link, Paging, Request, Service, Trouble};

pub(super) struct Keypair;

static SHAPE: Shape = Shape {
    name: "openstack.keypair",
    summary: "A public key that servers are given when they are made.",
    schema: include_str!("keypair.schema.json"),
    service: Service::Compute,
    path: "os-keypairs",
    list: &["os-keypairs"],
    row: "keypair",
    rows: "keypairs",
    paging: Paging::Names("keypair"),
    fields: &[fixed("name", Compare::Exact), fixed("public_key", Compare::Exact)],
    shown: &["fingerprint", "type"],
    verbs: &[],
    identity: Some("/name"),
    owner_key: false,
    settle: Duration::from_secs(10),
    retry_budget: 8,
    // It is public, and the desired state has all of it.
    on_lost: OnLost::Recreate,
};

/// Nova keeps every space and line end; they mean nothing.
fn spelled(key: &str) -> String {
    key.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[async_trait]
impl Kind for Keypair {
    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let Some(Value::String(key)) = spec.get_mut("public_key") else { return Vec::new() };
        *key = spelled(key);
        if key.split(' ').count() < 2 {
            return vec![fault("/public_key", "is no public key such as `ssh-ed25519 AAAA…`")];
        }
        Vec::new()
    }

    fn id<'a>(&self, row: &'a Value) -> Option<&'a str> {
        row["name"].as_str()
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copied(&SHAPE, row);
        if let Some(Value::String(key)) = attributes.get_mut("public_key") {
            *key = spelled(key);
        }
        attributes
    }

    fn owner(&self, _: &Value) -> Option<OwnerKey> {
        None
    }

    /// One of this name with another key is not ours, and the creation will say that it is there.
    async fn search(&self, link: Link<'_>, search: &Search) -> Result<Vec<Value>, Trouble> {
        let name = search.spec["name"].as_str().unwrap_or_default();
        match self.get(link, name).await {
            Ok((row, _)) => {
                let ours = self.attributes(&row)["public_key"] == search.spec["public_key"];
                Ok(if ours { vec![row] } else { Vec::new() })
            }
            Err(trouble) if trouble.denies(name) => Ok(Vec::new()),
            Err(trouble) => Err(trouble),
        }
    }

    async fn everything(&self, _: Link<'_>) -> Result<Request, Trouble> {
        Ok(Request::get(Service::Compute, SHAPE.list))
    }

    async fn creation(&self, _: Link<'_>, create: &Create) -> Result<Request, Trouble> {
        let body = json!({ "keypair": create.spec });
        Ok(Request::post(Service::Compute, SHAPE.list, body))
    }

    async fn taken(&self, _: Link<'_>, create: &Create, trouble: Trouble) -> Failure {
        let external_id = external(create.spec["name"].as_str().unwrap_or_default());
        let class = ErrorClass::AlreadyExists { external_id };
        Failure { class, ..trouble.into() }
    }

    async fn change(
        &self,
        _: Link<'_>,
        _: &ObjectRef,
        _: &Value,
        _: &[String],
    ) -> Result<Left, Trouble> {
        Ok(Left::Nothing)
    }
}
