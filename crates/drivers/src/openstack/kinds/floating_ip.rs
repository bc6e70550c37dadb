//! `openstack.floating_ip`.

use async_trait::async_trait;
use serde_json::{Map, Value};
use stateward_domain::field_error::FieldError;
use stateward_domain::kind::OnLost;

use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::NeutronKind;
use super::normalise::{address, normalise_field};
use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient, Pagination};
use crate::openstack::service::Service;

pub(super) struct FloatingIp;

/// Its status is not compared: it depends on an agent that not every cloud has.
static META: KindMeta = KindMeta {
    name: "openstack.floating_ip",
    summary: "An address outside that leads to a port inside.",
    schema: include_str!("floating_ip.schema.json"),
    service: Service::Network,
    path: "floatingips",
    list: &["floatingips"],
    row: "floatingip",
    rows: "floatingips",
    pagination: Pagination::Links,
    fields: &[
        fixed("floating_network_id", Compare::Source),
        fixed("floating_ip_address", Compare::Exact),
        mutable("port_id", Compare::Exact),
        mutable("fixed_ip_address", Compare::Exact),
        mutable("description", Compare::Exact),
    ],
    computed: &["status", "router_id", "project_id"],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 10,
    on_lost: OnLost::Ask,
};

#[async_trait]
impl NeutronKind for FloatingIp {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let mut faults = Vec::new();
        normalise_field(spec, "floating_ip_address", address, &mut faults);
        normalise_field(spec, "fixed_ip_address", address, &mut faults);
        faults
    }

    /// A fixed address is valid only together with its port.
    async fn resolve(
        &self,
        client: CallClient<'_>,
        spec: &Value,
        members: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        client.resolve_field(members, "floating_network_id", NamedResource::Network).await?;
        if members.contains_key("fixed_ip_address")
            && let Some(port) = spec.get("port_id")
        {
            members.insert("port_id".to_owned(), port.clone());
        }
        Ok(())
    }
}
