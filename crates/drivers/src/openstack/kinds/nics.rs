//! The NICs of a server, changed while it exists.

use serde_json::{Value, json};

use super::Remaining;
use super::foreign_additions::nic_fits;
use crate::openstack::client::{ApiError, CallClient, ErrorKind, NamedResource, Request};
use crate::openstack::name_resolution::is_uuid;
use crate::openstack::service::Service;

/// The observed NICs, the oldest first, so that ours come before what was plugged in later.
pub(super) async fn observed(client: CallClient<'_>, server: &str) -> Result<Vec<Value>, ApiError> {
    let mut ports = super::neutron::ports(client, &[("device_id", server)]).await?;
    ports.sort_by_key(|port| port["created_at"].as_str().map(str::to_owned));
    let nic = |port: &Value| json!({"port": port["id"], "uuid": port["network_id"]});
    Ok(ports.iter().map(nic).collect())
}

/// The wanted entries that are missing, and the NICs that are not wanted. `auto` takes what is there, `none` nothing.
pub(super) fn compared(there: &[Value], wanted: &Value) -> (Vec<Value>, Vec<Value>) {
    let mut extra = there.to_vec();
    let mut wanted: Vec<_> = match wanted {
        Value::String(all) if all == "auto" => return (Vec::new(), Vec::new()),
        wanted => wanted.as_array().cloned().unwrap_or_default(),
    };
    // The most specific entries are matched first.
    wanted.sort_by_key(|nic| {
        (nic["port"].is_null(), nic["uuid"].as_str().is_some_and(|network| !is_uuid(network)))
    });
    wanted.retain(|nic| match extra.iter().position(|seen| nic_fits(seen, nic)) {
        Some(index) => {
            extra.remove(index);
            false
        }
        None => true,
    });
    (wanted, extra)
}

/// Plugs in what is missing, then unplugs what is not wanted and is in `planned_from`, the NICs that the change was
/// planned from: one that was plugged in later is another's. Unplugging ends later; see [`move_on`].
pub(super) async fn set(
    client: CallClient<'_>,
    server: &str,
    wanted: &Value,
    planned_from: &Value,
) -> Result<Remaining, ApiError> {
    let (missing, mut extra) = compared(&observed(client, server).await?, wanted);
    let planned_from = planned_from.as_array().map(Vec::as_slice).unwrap_or_default();
    let (_, planned) = compared(planned_from, wanted);
    extra.retain(|nic| planned.iter().any(|planned| planned["port"] == nic["port"]));
    let makes_port = |nic: &Value| !nic["port"].is_string();
    // Nova makes a port for each request, also for a repeated one.
    if missing.iter().any(makes_port) && client.change_may_run(Service::Compute) {
        return Ok(Remaining::Working(vec!["/networks".to_owned()]));
    }
    for nic in &missing {
        plug(client, server, nic).await?;
    }
    for port in extra.iter().filter_map(|nic| nic["port"].as_str()) {
        let request = Request::delete(Service::Compute, &["servers", server, "os-interface", port]);
        match client.send(request).await {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            outcome => drop(outcome?),
        }
        client.shared.unplugged.note(server, port, client.now());
    }
    Ok(Remaining::Working(Vec::new()))
}

async fn plug(client: CallClient<'_>, server: &str, nic: &Value) -> Result<(), ApiError> {
    let mut attachment = match (nic["port"].as_str(), nic["uuid"].as_str()) {
        (Some(port), _) => json!({ "port_id": port }),
        (None, Some(network)) => {
            json!({ "net_id": client.resolve_id(NamedResource::Network, network).await? })
        }
        (None, None) => return Ok(()),
    };
    if let Some(address) = nic["fixed_ip"].as_str().filter(|_| !nic["port"].is_string()) {
        attachment["fixed_ips"] = json!([{ "ip_address": address }]);
    }
    if let Some(tag) = nic["tag"].as_str() {
        attachment["tag"] = Value::from(tag);
    }
    let path = ["servers", server, "os-interface"];
    let body = json!({ "interfaceAttachment": attachment });
    client.send(Request::post(Service::Compute, &path, body)).await.map(drop)
}

/// Whether a NIC that was unplugged is still there, and may still go.
pub(super) async fn move_on(client: CallClient<'_>, server: &str) -> Result<bool, ApiError> {
    let going = client.shared.unplugged.going(server, client.now());
    if going.is_empty() {
        return Ok(false);
    }
    let there = observed(client, server).await?;
    Ok(there.iter().any(|nic| going.iter().any(|port| nic["port"] == port.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nics_are_matched_by_ports_before_networks() {
        let net = "9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d4";
        let there = [json!({"port": "p", "uuid": net}), json!({"port": "q", "uuid": net})];
        let none = (Vec::new(), Vec::new());
        assert_eq!(compared(&there, &json!([{"uuid": net}, {"port": "p"}])), none);
        assert_eq!(compared(&there, &json!([{"uuid": "a name"}, {"port": "p"}])), none);
        assert_eq!(compared(&there, &json!("auto")), none);
        let one = compared(&there, &json!([{"uuid": net}]));
        assert_eq!(one, (Vec::new(), vec![there[1].clone()]), "one too many");
        let other = compared(&there, &json!([{"port": "r"}, {"port": "p"}]));
        assert_eq!(other, (vec![json!({"port": "r"})], vec![there[1].clone()]));
        assert_eq!(compared(&there, &json!("none")), (Vec::new(), there.to_vec()));
    }
}
