//! `openstack.router`, with its gateway, its interfaces and its routes.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::kind::OnLost;

use super::Blocker;
use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::{NeutronKind, attributes, owner, ports, put};
use super::normalise::{address, normalise_list_fields, prefix};
use super::unmanaged::{Part, Written};
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
    settle: Duration::from_secs(10),
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

/// Compares only the network: addresses and SNAT are chosen by administrators.
fn same_gateway(observed: &Value, wanted: &Value) -> bool {
    let seen = &observed["external_gateway_info"];
    match wanted["network_id"].as_str() {
        Some(wanted) => seen["network_id"] == wanted || seen["network_name"] == wanted,
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
    let fits = |seen: &Value, wanted: &Value| match wanted["port_id"].as_str() {
        Some(port) => seen["port_id"] == port,
        None => seen["subnet_id"] == wanted["subnet_id"],
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
            let gateway = json!({"network_id": network, "network_name": name});
            attributes.insert("external_gateway_info".to_owned(), gateway);
        }
        Ok(())
    }

    fn separate_fields(&self) -> &'static [&'static str] {
        &["interfaces", "routes"]
    }

    async fn resolve(
        &self,
        client: CallClient<'_>,
        _: &Value,
        members: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let Some(gateway) = members.get_mut("external_gateway_info") else { return Ok(()) };
        let network = gateway["network_id"].as_str().map(str::to_owned);
        *gateway = match network {
            Some(network) => {
                json!({"network_id": client.resolve_id(NamedResource::Network, &network).await?})
            }
            None => json!({}),
        };
        Ok(())
    }

    /// Adds interfaces before routes, and removes them after: a route needs its interface, and blocks its removal.
    async fn update_separate_fields(
        &self,
        client: CallClient<'_>,
        id: &str,
        wanted: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        let there = interfaces(client, id).await?;
        let unchanged = Value::Array(there.clone());
        let (missing, extra) = compared(&there, wanted.get("interfaces").unwrap_or(&unchanged));
        for interface in missing {
            add(client, id, interface).await?;
        }
        if let Some(routes) = wanted.get("routes") {
            put(&META, client, id, json!({ "routes": routes })).await?;
        }
        for interface in extra {
            remove(client, id, interface).await?;
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
        if let Some(floating) = Blocker::first("floating IP", &through, owner) {
            return Ok(Some(floating));
        }
        Ok(Blocker::first("port", &interface_ports(client, id).await?, owner))
    }
}

async fn interface_ports(client: CallClient<'_>, id: &str) -> Result<Vec<Value>, ApiError> {
    let mut ports = ports(client, &[("device_id", id)]).await?;
    // The names for plain, distributed and highly available interfaces differ.
    ports.retain(|port| {
        port["device_owner"].as_str().is_some_and(|owner| owner.contains("interface"))
    });
    Ok(ports)
}

async fn interfaces(client: CallClient<'_>, id: &str) -> Result<Vec<Value>, ApiError> {
    let ports = interface_ports(client, id).await?;
    let interface = |port: &Value| json!({"port_id": port["id"], "subnet_id": port["fixed_ips"][0]["subnet_id"]});
    let mut interfaces: Vec<_> = ports.iter().map(interface).collect();
    interfaces.sort_by_key(Value::to_string);
    Ok(interfaces)
}

async fn network_name(client: CallClient<'_>, id: &str) -> Result<Value, ApiError> {
    let request = Request::get(Service::Network, &["networks", id]).query("fields", "name");
    match client.send(request).await {
        Ok(reply) => Ok(reply.body["network"]["name"].clone()),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// Adds an interface. One that exists already, because a reply was lost, is a success.
async fn add(client: CallClient<'_>, id: &str, interface: &Value) -> Result<(), ApiError> {
    let member = |name: &str| interface[name].as_str().map(|id| json!({ name: id }));
    let body = member("port_id").or_else(|| member("subnet_id")).unwrap_or_default();
    let path = ["routers", id, "add_router_interface"];
    match client.send(Request::put(Service::Network, &path, body)).await {
        // An interface that was requested before may be in creation, and holds the address.
        Err(error) if error.kind == ErrorKind::Exists => Err(error.with_kind(ErrorKind::Conflict)),
        Err(error) if error.kind != ErrorKind::AlreadyDone => Err(error),
        _ => Ok(()),
    }
}

/// Removes an interface, and with it the port.
async fn remove(client: CallClient<'_>, id: &str, interface: &Value) -> Result<(), ApiError> {
    let path = ["routers", id, "remove_router_interface"];
    let body = json!({"port_id": interface["port_id"]});
    match client.send(Request::put(Service::Network, &path, body)).await {
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
    fn a_gateway_is_the_same_by_id_or_by_name_and_none_is_none() {
        let seen = json!({"external_gateway_info": {"network_id": "n", "network_name": "public"}});
        assert!(same_gateway(&seen, &json!({"network_id": "n"})));
        assert!(same_gateway(&seen, &json!({"network_id": "public"})));
        assert!(!same_gateway(&seen, &json!({"network_id": "other"})));
        assert!(!same_gateway(&seen, &Value::Null));
        assert!(same_gateway(&json!({"external_gateway_info": null}), &Value::Null));
    }
}
