//! `openstack.router`, with its gateway, its interfaces and its routes.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::kind::OnLost;

use super::Blocker;
use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::{NeutronKind, attributes, owner, ports, put};
use super::normalise::{address, normalise_list_fields, prefix};
use super::unknown_members::{Part, Written};
use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::service::Service;

pub(super) struct Router;

static META: KindMeta = KindMeta {
    name: "openstack.router",
    summary: "A router between subnets, and to a network outside.",
    schema: include_str!("router.schema.json"),
    service: Service::Network,
    path: "routers",
    list: &["routers"],
    row: "router",
    rows: "routers",
    pagination: Pagination::Links,
    fields: &[
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        mutable("admin_state_up", Compare::Exact),
        mutable("external_gateway_info", Compare::By(same_gateway)),
        mutable("interfaces", Compare::By(same_interfaces)),
        mutable("routes", Compare::Set),
        fixed("availability_zone_hints", Compare::Set),
    ],
    computed: &["status", "project_id"],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 10,
    on_lost: OnLost::Ask,
};

static PARTS: &[Part] = &[
    Part::whole("routes", &["destination", "nexthop"]),
    Part {
        field: "external_gateway_info",
        member: "external_gateway_info",
        known: &["network_id"],
        // Neutron chooses the addresses anew in another network.
        bookkeeping: &["external_fixed_ips", "enable_snat"],
        // A change of the network sets the others back to their defaults.
        strange: |gateway| {
            if gateway["enable_snat"] == false { vec!["enable_snat"] } else { Vec::new() }
        },
        written: Written::AsAWhole,
    },
];

/// Attribute with the name of the network outside, which the desired state may have instead of the id.
const NETWORK_NAME: &str = "external_network_name";

/// Compares only the network: addresses and SNAT are chosen by administrators.
fn same_gateway(observed: &Value, wanted: &Value) -> bool {
    let seen = &observed["external_gateway_info"];
    match wanted["network_id"].as_str() {
        Some(wanted) => seen["network_id"] == wanted || observed[NETWORK_NAME] == wanted,
        None => seen["network_id"].is_null(),
    }
}

fn same_interfaces(observed: &Value, wanted: &Value) -> bool {
    let there = observed["interfaces"].as_array().cloned().unwrap_or_default();
    let (missing, extra) = compared(&there, wanted);
    missing.is_empty() && extra.is_empty()
}

/// The wanted interfaces that are missing, and the existing ones that are not wanted.
fn compared<'a>(there: &'a [Value], wanted: &'a Value) -> (Vec<&'a Value>, Vec<&'a Value>) {
    // An interface with both is the one of its subnet: its port is another one once it was made again.
    let fits = |seen: &Value, wanted: &Value| match wanted["subnet_id"].as_str() {
        Some(subnet) => seen["subnet_id"] == subnet,
        None => seen["port_id"] == wanted["port_id"],
    };
    let wanted: Vec<_> = wanted.as_array().into_iter().flatten().collect();
    let missing = wanted.iter().filter(|wanted| !there.iter().any(|seen| fits(seen, wanted)));
    let extra = there.iter().filter(|seen| !wanted.iter().any(|wanted| fits(seen, wanted)));
    (missing.copied().collect(), extra.collect())
}

#[async_trait]
impl NeutronKind for Router {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn parts(&self) -> &'static [Part] {
        PARTS
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let mut faults = Vec::new();
        normalise_list_fields(spec, "routes", "destination", prefix, &mut faults);
        normalise_list_fields(spec, "routes", "nexthop", address, &mut faults);
        faults
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = attributes(&META, row);
        let network = &row["external_gateway_info"]["network_id"];
        let gateway =
            if network.is_string() { json!({"network_id": network}) } else { Value::Null };
        attributes.insert("external_gateway_info".to_owned(), gateway);
        attributes
    }

    fn list_is_partial(&self) -> bool {
        true
    }

    /// Reads the interfaces, which are ports, and the name of the external network.
    async fn complete_attributes(
        &self,
        client: CallClient<'_>,
        row: &Value,
        attributes: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let id = row["id"].as_str().unwrap_or_default();
        let interfaces = interfaces(client, id).await?;
        attributes.insert("interfaces".to_owned(), Value::Array(interfaces));
        if let Some(network) = row["external_gateway_info"]["network_id"].as_str() {
            let name = network_name(client, network).await?;
            attributes.insert(NETWORK_NAME.to_owned(), name);
        }
        Ok(())
    }

    /// Neutron makes the gateway after the router, and takes the router away again if that fails, as it does when the
    /// router is changed meanwhile. So the gateway has a request of its own.
    fn separate_fields(&self) -> &'static [&'static str] {
        &["external_gateway_info", "interfaces", "routes"]
    }

    /// Adds interfaces before routes, and removes them after: a route needs its interface, and blocks its removal. An
    /// interface that was added after the observation is another's, and stays.
    async fn update_separate_fields(
        &self,
        client: CallClient<'_>,
        id: &str,
        wanted: &Map<String, Value>,
        observed: &Value,
    ) -> Result<(), ApiError> {
        if let Some(gateway) = wanted.get("external_gateway_info") {
            let gateway = match gateway["network_id"].as_str() {
                Some(network) => {
                    json!({"network_id": client.resolve_id(NamedResource::Network, network).await?})
                }
                None => json!({}),
            };
            put(&META, client, id, json!({ "external_gateway_info": gateway })).await?;
        }
        let there = interfaces(client, id).await?;
        let unchanged = Value::Array(there.clone());
        let interfaces = wanted.get("interfaces").unwrap_or(&unchanged);
        let (missing, mut extra) = compared(&there, interfaces);
        let seen = observed["interfaces"].as_array().map(Vec::as_slice).unwrap_or_default();
        let (_, planned) = compared(seen, interfaces);
        extra.retain(|interface| planned.contains(interface));
        for interface in missing {
            add(client, id, interface).await?;
        }
        if let Some(routes) = wanted.get("routes") {
            put(&META, client, id, json!({ "routes": routes })).await?;
        }
        for interface in &extra {
            // A port with several subnets stays as long as one of them is wanted.
            let stays =
                |other: &Value| other["port_id"] == interface["port_id"] && !extra.contains(&other);
            let member = if there.iter().any(stays) { "subnet_id" } else { "port_id" };
            remove(client, id, &json!({ member: interface[member] })).await?;
        }
        Ok(())
    }

    /// Removes the interfaces, which belong to the router, except ports that are entities themselves.
    async fn before_delete(&self, client: CallClient<'_>, id: &str) -> Result<(), ApiError> {
        let reply = client.send(Request::get(Service::Network, &["routers", id])).await?;
        if reply.body["router"]["routes"].as_array().is_some_and(|routes| !routes.is_empty()) {
            put(&META, client, id, json!({"routes": []})).await?;
        }
        for port in interface_ports(client, id).await? {
            if owner(&port).is_none() {
                remove(client, id, &json!({"port_id": port["id"]})).await?;
            }
        }
        Ok(())
    }

    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        // A floating IP that uses an interface blocks its removal, and Neutron's error does not name it.
        let request = Request::get(Service::Network, &["floatingips"]).query("router_id", id);
        let through = client.rows(request, "floatingips", Pagination::Links).await?;
        if let Some(floating) = Blocker::of("floating IP", &through, owner) {
            return Ok(Some(floating));
        }
        Ok(Blocker::of("port", &interface_ports(client, id).await?, owner))
    }
}

async fn interface_ports(client: CallClient<'_>, id: &str) -> Result<Vec<Value>, ApiError> {
    let mut ports = ports(client, &[("device_id", id)]).await?;
    ports.retain(is_interface);
    Ok(ports)
}

/// Owners of ports that lead into a subnet: of plain, distributed and highly available routers.
const INTERFACES: &[&str] = &[
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
];

/// Whether a port of a router is one of its interfaces. The others connect the router's own parts: its gateway, the
/// network between the nodes of a highly available router (`network:router_ha_interface`), SNAT of a distributed one.
fn is_interface(port: &Value) -> bool {
    port["device_owner"].as_str().is_some_and(|owner| INTERFACES.contains(&owner))
}

/// The interfaces of a router's ports: one for each subnet.
fn interfaces_of(ports: &[Value]) -> Vec<Value> {
    let mut interfaces = Vec::new();
    for port in ports {
        let addresses = port["fixed_ips"].as_array().into_iter().flatten();
        let subnets: BTreeSet<_> =
            addresses.filter_map(|address| address["subnet_id"].as_str()).collect();
        let entry = |subnet: Value| json!({"port_id": port["id"], "subnet_id": subnet});
        if subnets.is_empty() {
            interfaces.push(entry(Value::Null));
        }
        interfaces.extend(subnets.into_iter().map(|subnet| entry(Value::from(subnet))));
    }
    interfaces.sort_by_key(Value::to_string);
    interfaces
}

async fn interfaces(client: CallClient<'_>, id: &str) -> Result<Vec<Value>, ApiError> {
    Ok(interfaces_of(&interface_ports(client, id).await?))
}

async fn network_name(client: CallClient<'_>, id: &str) -> Result<Value, ApiError> {
    let request = Request::get(Service::Network, &["networks", id]).query("fields", "name");
    match client.send(request).await {
        Ok(reply) => Ok(reply.body["network"]["name"].clone()),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// Adds an interface: its port, or another one in its subnet if that port is gone with an earlier router.
async fn add(client: CallClient<'_>, id: &str, interface: &Value) -> Result<(), ApiError> {
    let member = |name: &str| interface[name].as_str().map(|id| json!({ name: id }));
    match (member("port_id"), member("subnet_id")) {
        (Some(port), Some(subnet)) => match add_one(client, id, port).await {
            Err(error) if error.kind == ErrorKind::NotFound => add_one(client, id, subnet).await,
            outcome => outcome,
        },
        (port, subnet) => add_one(client, id, port.or(subnet).unwrap_or_default()).await,
    }
}

/// One that exists already, because a reply was lost, is a success.
async fn add_one(client: CallClient<'_>, id: &str, body: Value) -> Result<(), ApiError> {
    let path = ["routers", id, "add_router_interface"];
    match client.send(Request::put(Service::Network, &path, body)).await {
        // An interface that was requested before may be in creation, and holds the address.
        Err(error) if error.kind == ErrorKind::Exists => Err(error.with_kind(ErrorKind::Conflict)),
        Err(error) if error.kind != ErrorKind::AlreadyDone => Err(error),
        _ => Ok(()),
    }
}

/// Removes an interface; its port goes with its last subnet.
async fn remove(client: CallClient<'_>, id: &str, interface: &Value) -> Result<(), ApiError> {
    let path = ["routers", id, "remove_router_interface"];
    match client.send(Request::put(Service::Network, &path, interface.clone())).await {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_matched_by_what_names_them() {
        let there =
            [json!({"port_id": "p", "subnet_id": "s"}), json!({"port_id": "q", "subnet_id": "t"})];
        let wanted = json!([{"subnet_id": "s"}, {"port_id": "r"}]);
        let (missing, extra) = compared(&there, &wanted);
        assert_eq!((missing, extra), (vec![&json!({"port_id": "r"})], vec![&there[1]]));
    }

    #[test]
    fn only_ports_into_a_subnet_are_interfaces_and_each_subnet_is_one() {
        let port = |owner: &str, subnets: &[&str]| {
            let addresses: Vec<_> = subnets.iter().map(|id| json!({"subnet_id": id})).collect();
            json!({"id": "p", "device_owner": owner, "fixed_ips": addresses})
        };
        for (owner, leads) in [
            ("network:router_interface", true),
            ("network:router_interface_distributed", true),
            ("network:ha_router_replicated_interface", true),
            ("network:router_ha_interface", false),
            ("network:router_gateway", false),
            ("network:router_centralized_snat", false),
            ("network:floatingip_agent_gateway", false),
            ("", false),
        ] {
            assert_eq!(is_interface(&port(owner, &["s"])), leads, "{owner}");
        }
        let interfaces = interfaces_of(&[port(INTERFACES[0], &["t", "s", "s"])]);
        let entry = |subnet: &str| json!({"port_id": "p", "subnet_id": subnet});
        assert_eq!(interfaces, [entry("s"), entry("t")]);
        let (missing, extra) = (json!([entry("s"), {"subnet_id": "u"}]), [&interfaces[1]]);
        assert_eq!(compared(&interfaces, &missing), (vec![&missing[1]], extra.to_vec()));
        let by_port = json!([{"port_id": "p"}]);
        assert_eq!(compared(&interfaces, &by_port), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_gateway_is_the_same_by_id_or_by_name_and_none_is_none() {
        let seen = json!({"external_gateway_info": {"network_id": "n"}, NETWORK_NAME: "public"});
        assert!(same_gateway(&seen, &json!({"network_id": "n"})));
        assert!(same_gateway(&seen, &json!({"network_id": "public"})));
        assert!(!same_gateway(&seen, &json!({"network_id": "other"})));
        assert!(!same_gateway(&seen, &Value::Null));
        assert!(same_gateway(&json!({"external_gateway_info": null}), &Value::Null));
    }
}
