//! `openstack.server_group`: it can carry the owner key only in its name, as a suffix.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Create, Search};

use super::kind_meta::{Compare, KindMeta, fixed};
use super::{Change, Kind, Remaining, copy_fields};
use crate::openstack::client::{ApiError, CallClient, Pagination, Request};
use crate::openstack::owner_key;
use crate::openstack::service::Service;

pub(super) struct ServerGroup;

static META: KindMeta = KindMeta {
    name: "openstack.server_group",
    summary: "Servers that are to be placed together, or apart.",
    schema: include_str!("server_group.schema.json"),
    service: Service::Compute,
    path: "os-server-groups",
    list: &["os-server-groups"],
    row: "server_group",
    rows: "server_groups",
    pagination: Pagination::Offset,
    fields: &[
        fixed("name", Compare::Exact),
        fixed("policy", Compare::Exact),
        fixed("rules", Compare::Exact),
    ],
    computed: &["members"],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 8,
    on_lost: OnLost::Ask,
};

#[async_trait]
impl Kind for ServerGroup {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copy_fields(&META, row);
        let (name, _) = owner_key::split_name(row["name"].as_str().unwrap_or_default());
        attributes.insert("name".to_owned(), Value::from(name));
        attributes
    }

    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        row["name"].as_str().and_then(|name| owner_key::split_name(name).1)
    }

    /// Nova has no filter, so all rows are read.
    async fn search(&self, client: CallClient<'_>, _: &Search) -> Result<Vec<Value>, ApiError> {
        let request = Request::get(Service::Compute, META.list);
        client.rows(request, META.rows, META.pagination).await
    }

    async fn list_request(&self, _: CallClient<'_>) -> Result<Request, ApiError> {
        Ok(Request::get(Service::Compute, META.list))
    }

    async fn create_request(
        &self,
        _: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError> {
        let mut group = create.spec.clone();
        let name = group["name"].as_str().unwrap_or_default();
        group["name"] = Value::from(owner_key::append_to_name(name, &create.owner_key));
        Ok(Request::post(Service::Compute, META.list, json!({ "server_group": group })))
    }

    async fn update_fields(
        &self,
        _: CallClient<'_>,
        _: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        Ok(Remaining::Nothing)
    }
}
