//! Quotas of a project, which three services keep, each in its own format.

use serde_json::{Map, Value, json};

use crate::openstack::client::{ApiError, CallClient, ErrorKind, Request};
use crate::openstack::service::Service;

/// Services that have quotas: name, service, path, wrapper.
const PLACES: &[(&str, Service, &str, &str)] = &[
    ("compute", Service::Compute, "os-quota-sets", "quota_set"),
    ("volume", Service::Volume, "os-quota-sets", "quota_set"),
    ("network", Service::Network, "quotas", "quota"),
];

/// Whether the desired state can name a quota. A quota that it cannot name is never written.
fn is_declarable(service: &str, quota: &str) -> bool {
    match service {
        "compute" => COMPUTE.contains(&quota),
        "network" => NETWORK.contains(&quota),
        _ => true,
    }
}

const COMPUTE: &[&str] = &[
    "cores",
    "ram",
    "instances",
    "key_pairs",
    "metadata_items",
    "server_groups",
    "server_group_members",
];
const NETWORK: &[&str] = &[
    "network",
    "subnet",
    "port",
    "router",
    "floatingip",
    "security_group",
    "security_group_rule",
    "rbac_policy",
    "subnetpool",
];

/// All quotas of a project, by service.
pub(super) async fn read(client: CallClient<'_>, project: &str) -> Result<Value, ApiError> {
    let mut quotas = Map::new();
    for (name, service, path, wrapper) in PLACES {
        let reply = client.send(Request::get(*service, &[path, project])).await?;
        let mut set = reply.body[*wrapper].as_object().cloned().unwrap_or_default();
        set.retain(|quota, value| value.is_i64() && is_declarable(name, quota));
        quotas.insert((*name).to_owned(), Value::Object(set));
    }
    Ok(Value::Object(quotas))
}

/// Writes only the quotas that are named.
pub(super) async fn write(
    client: CallClient<'_>,
    project: &str,
    wanted: &Value,
) -> Result<(), ApiError> {
    for (name, service, path, wrapper) in PLACES {
        let Some(set) = wanted[*name].as_object().filter(|set| !set.is_empty()) else { continue };
        let mut set = set.clone();
        if *service == Service::Compute {
            // Nova refuses a quota below the present usage without it; the others accept one.
            set.insert("force".to_owned(), Value::Bool(true));
        }
        let body = json!({ *wrapper: set });
        client.send(Request::put(*service, &[path, project], body)).await?;
    }
    Ok(())
}

/// Resets all quotas to the defaults. Neutron answers 404 if they are the defaults already.
pub(super) async fn reset(client: CallClient<'_>, project: &str) -> Result<(), ApiError> {
    for (_, service, path, _) in PLACES {
        match client.send(Request::delete(*service, &[path, project])).await {
            Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether each named quota has the wanted value.
pub(super) fn same(observed: &Value, wanted: &Value) -> bool {
    let mut services = wanted.as_object().into_iter().flatten();
    services.all(|(service, set)| {
        let mut set = set.as_object().into_iter().flatten();
        set.all(|(name, value)| observed["quotas"][service.as_str()][name.as_str()] == *value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_quotas_that_are_named_are_compared() {
        let seen = json!({"quotas": {"compute": {"cores": 20, "ram": 1}, "network": {"port": -1}}});
        assert!(same(&seen, &json!({"compute": {"cores": 20}})));
        assert!(same(&seen, &json!({"network": {"port": -1}, "volume": {}})));
        assert!(!same(&seen, &json!({"compute": {"cores": 21}})));
        assert!(!same(&seen, &json!({"volume": {"gigabytes": 1}})));
    }
}
