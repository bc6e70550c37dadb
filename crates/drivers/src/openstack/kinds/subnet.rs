//! `openstack.subnet`.

use super::Blocker;
use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::{NeutronKind, owner, ports};
use super::normalise::{address, normalise_field, normalise_list_fields, prefix};
use super::unknown_members::Part;
use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient, Pagination};
use crate::openstack::service::Service;
use async_trait::async_trait;
use serde_json::{Map, Value};
use stateward_domain::field_error::FieldError;
use stateward_domain::kind::OnLost;

pub(super) struct Subnet;

static META: KindMeta = KindMeta {
    name: "openstack.subnet",
    summary: "A block of addresses of a network.",
    schema: include_str!("subnet.schema.json"),
    service: Service::Network,
    path: "subnets",
    list: &["subnets"],
    row: "subnet",
    rows: "subnets",
    pagination: Pagination::Links,
    fields: &[
        fixed("network_id", Compare::Source),
        fixed("cidr", Compare::Exact),
        fixed("ip_version", Compare::Exact),
        fixed("ipv6_ra_mode", Compare::Exact),
        fixed("ipv6_address_mode", Compare::Exact),
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        // A null means "no gateway"; absent means unmanaged.
        mutable("gateway_ip", Compare::Exact),
        mutable("enable_dhcp", Compare::Exact),
        mutable("allocation_pools", Compare::Set),
        // Guests use them in this order.
        mutable("dns_nameservers", Compare::Exact),
        mutable("host_routes", Compare::Set),
        mutable("service_types", Compare::Set),
    ],
    computed: &["project_id"],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 10,
    on_lost: OnLost::Ask,
};

static PARTS: &[Part] = &[
    Part::whole("allocation_pools", &["start", "end"]),
    Part::whole("host_routes", &["destination", "nexthop"]),
];

#[async_trait]
impl NeutronKind for Subnet {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn parts(&self) -> &'static [Part] {
        PARTS
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let mut faults = Vec::new();
        normalise_field(spec, "cidr", prefix, &mut faults);
        normalise_field(spec, "gateway_ip", address, &mut faults);
        normalise_list_fields(spec, "allocation_pools", "start", address, &mut faults);
        normalise_list_fields(spec, "allocation_pools", "end", address, &mut faults);
        normalise_list_fields(spec, "host_routes", "destination", prefix, &mut faults);
        normalise_list_fields(spec, "host_routes", "nexthop", address, &mut faults);
        if let Some(cidr) = spec.get("cidr").and_then(Value::as_str) {
            // Neutron requires the version although the prefix implies it.
            let version = if cidr.contains(':') { 6 } else { 4 };
            spec.entry("ip_version").or_insert_with(|| Value::from(version));
        }
        faults
    }

    async fn resolve(
        &self,
        client: CallClient<'_>,
        _: &Value,
        members: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        client.resolve_field(members, "network_id", NamedResource::Network).await
    }

    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        let filter = format!("subnet_id={id}");
        Ok(Blocker::of("port", &ports(client, &[("fixed_ips", &filter)]).await?, owner))
    }
}
