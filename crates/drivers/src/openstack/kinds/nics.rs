//! The NICs of a server, changed while it exists.

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::{Value, json};

use super::Remaining;
use super::foreign_additions::nic_fits;
use crate::openstack::client::{ApiError, CallClient, ErrorKind, NamedResource, Request};
use crate::openstack::cloud_time;
use crate::openstack::name_resolution::is_uuid;
use crate::openstack::service::Service;

/// The tag of a port that Nova made because we plugged a NIC in.
const OWN: &str = "stateward-nic";
/// A server's first NICs are made within this time, on whichever clock.
const MADE_WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// Bound on how far the clocks of the services differ. Small: what another tool plugs in right after the launch must not
/// count as ours, and be unplugged; one of ours that is missed stays.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// The ports that are plugged into a server, the oldest first, so that ours come before what was plugged in later.
async fn plugged(client: CallClient<'_>, server: &str) -> Result<Vec<Value>, ApiError> {
    let mut ports = super::neutron::ports(client, &[("device_id", server)]).await?;
    ports.sort_by_key(|port| port["created_at"].as_str().map(str::to_owned));
    Ok(ports)
}

fn nic(port: &Value) -> Value {
    json!({"port": port["id"], "uuid": port["network_id"]})
}

/// The observed NICs, the oldest first.
pub(super) async fn observed(client: CallClient<'_>, server: &str) -> Result<Vec<Value>, ApiError> {
    Ok(plugged(client, server).await?.iter().map(nic).collect())
}

/// The observed NICs of the server in `row`, and the ports of those that it was made with or that we plugged in.
pub(super) async fn observed_with_own(
    client: CallClient<'_>,
    row: &Value,
) -> Result<(Vec<Value>, Vec<Value>), ApiError> {
    let server = row["id"].as_str().unwrap_or_default();
    let ports = plugged(client, server).await?;
    let made = made_without_answer(client, server, &ports);
    let own = ports.iter().filter(|port| {
        is_own(port, row) || made.iter().any(|own| port["id"].as_str() == Some(own))
    });
    let own = own.map(|port| port["id"].clone()).collect();
    Ok((ports.iter().map(nic).collect(), own))
}

/// The ports that requests of ours made whose answer was lost.
fn made_without_answer(client: CallClient<'_>, server: &str, ports: &[Value]) -> Vec<String> {
    let text = |port: &Value, member: &str| port[member].as_str().unwrap_or_default().to_owned();
    // A tagged one is known, and is not the one of a lost answer.
    let untagged = ports.iter().filter(|port| !is_tagged(port));
    let there: Vec<_> = untagged.map(|port| (text(port, "id"), text(port, "network_id"))).collect();
    client.shared.lost_plugs.made(server, &there, client.now())
}

fn is_tagged(port: &Value) -> bool {
    port["tags"].as_array().is_some_and(|tags| tags.iter().any(|tag| tag == OWN))
}

/// Whether a port was made with its server, or because we plugged a NIC in. Without times every port may be.
fn is_own(port: &Value, server: &Value) -> bool {
    if is_tagged(port) {
        return true;
    }
    let time = |row: &Value, member: &str| row[member].as_str().and_then(cloud_time::parsed);
    let (made, began) = (time(port, "created_at"), time(server, "created"));
    let (Some(made), Some(began)) = (made, began) else { return true };
    let latest = began + MADE_WITHIN;
    let ready = time(server, "OS-SRV-USG:launched_at").map_or(latest, |time| time.min(latest));
    (began - SKEW..=ready + SKEW).contains(&made)
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
    let ports = plugged(client, server).await?;
    let there: Vec<Value> = ports.iter().map(nic).collect();
    for port in made_without_answer(client, server, &ports) {
        tag(client, &port).await?;
    }
    let (missing, mut extra) = compared(&there, wanted);
    let planned_from = planned_from.as_array().map(Vec::as_slice).unwrap_or_default();
    let (_, planned) = compared(planned_from, wanted);
    extra.retain(|nic| planned.iter().any(|planned| planned["port"] == nic["port"]));
    let makes_port = |nic: &Value| !nic["port"].is_string();
    // Nova makes a port for each request, also for a repeated one.
    if missing.iter().any(makes_port) && client.change_may_run(Service::Compute) {
        return Ok(Remaining::Working(vec!["/networks".to_owned()]));
    }
    for nic in &missing {
        plug(client, server, nic, &there).await?;
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

/// Plugs a NIC into a server that has those of `there`.
async fn plug(
    client: CallClient<'_>,
    server: &str,
    nic: &Value,
    there: &[Value],
) -> Result<(), ApiError> {
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
    let network = body["interfaceAttachment"]["net_id"].as_str().map(str::to_owned);
    let reply = match (client.send(Request::post(Service::Compute, &path, body)).await, network) {
        (Err(error), Some(network)) if error.kind == ErrorKind::Ambiguous => {
            let before = there.iter().filter_map(|nic| nic["port"].as_str()).map(str::to_owned);
            client.shared.lost_plugs.note(server, &network, before.collect(), client.now());
            return Err(error);
        }
        (reply, _) => reply?,
    };
    match reply.body["interfaceAttachment"]["port_id"].as_str() {
        Some(port) if !nic["port"].is_string() => tag(client, port).await,
        _ => Ok(()),
    }
}

/// Records that a port was made for a NIC of ours. One that is gone by then needs no record.
async fn tag(client: CallClient<'_>, port: &str) -> Result<(), ApiError> {
    let request = Request::new(Service::Network, Method::PUT, &["ports", port, "tags", OWN]);
    match client.send(request).await {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
        outcome => outcome.map(drop),
    }
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
    fn a_nic_is_ours_by_its_record_or_by_the_server_s_creation() {
        let server = json!({
            "created": "2026-01-01T10:00:00Z", "OS-SRV-USG:launched_at": "2026-01-01T10:02:00.000000",
        });
        let port = |made: &str, tags: Value| json!({"created_at": made, "tags": tags});
        for (made, tags, own) in [
            ("2026-01-01T10:01:00Z", json!([]), true),
            ("2026-01-01T10:02:04Z", json!([]), true),
            ("2026-01-01T10:02:30Z", json!([]), false),
            ("2026-01-01T10:09:00Z", json!([]), false),
            ("2026-01-01T10:09:00Z", json!(["x", OWN]), true),
            ("2026-01-01T09:50:00Z", json!([]), false),
        ] {
            assert_eq!(is_own(&port(made, tags.clone()), &server), own, "{made} {tags}");
        }
        let rebuilt = json!({
            "created": "2026-01-01T10:00:00Z", "OS-SRV-USG:launched_at": "2026-02-01T10:00:00Z",
        });
        assert!(!is_own(&port("2026-01-20T10:00:00Z", json!([])), &rebuilt));
        assert!(is_own(&json!({}), &server), "no time is known");
    }

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
