//! `openstack.network`.

use async_trait::async_trait;
use stateward_domain::kind::OnLost;

use super::Blocker;
use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::{NeutronKind, owner, ports};
use crate::openstack::client::{ApiError, CallClient, Pagination};
use crate::openstack::service::Service;

pub(super) struct Network;

static META: KindMeta = KindMeta {
    name: "openstack.network",
    summary: "A virtual network (layer 2) of the project.",
    schema: include_str!("network.schema.json"),
    service: Service::Network,
    path: "networks",
    list: &["networks"],
    row: "network",
    rows: "networks",
    pagination: Pagination::Links,
    fields: &[
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        mutable("admin_state_up", Compare::Exact),
        mutable("mtu", Compare::Exact),
        mutable("port_security_enabled", Compare::Exact),
        mutable("shared", Compare::Exact),
        mutable("router:external", Compare::Exact),
        fixed("availability_zone_hints", Compare::Set),
    ],
    computed: &["status", "subnets", "project_id"],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 10,
    on_lost: OnLost::Ask,
};

#[async_trait]
impl NeutronKind for Network {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        Ok(Blocker::of("port", &ports(client, &[("network_id", id)]).await?, owner))
    }
}
