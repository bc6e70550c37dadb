//! Drift: changes by another client are reported or corrected, by policy.

use reqwest::Method;
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::lifecycle::{configuration, manifest, server, unique, variable};
use crate::harness::{Setup, condition, text, until};

/// An entity, and how another client changes its object: service, method, path, body; then the request and the member
/// that show the change.
struct Change {
    id: String,
    service: &'static str,
    path: String,
    row: &'static str,
}

/// Kind, desired state with `$KIND` for ids of those before, service, path without the id, row.
type Planned = (&'static str, Value, &'static str, &'static str, &'static str);

fn plans() -> Vec<Planned> {
    let external = variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public");
    let mut machine = server("server");
    machine["volumes"] = json!(["$volume"]);
    let image = json!({
        "name": "i", "disk_format": "raw", "container_format": "bare", "content": "c3RhdGV3YXJk",
    });
    vec![
        ("network", json!({"name": "n"}), "network", "/v2.0/networks", "network"),
        (
            "subnet",
            json!({"name": "s", "network_id": "$network", "cidr": "10.95.0.0/24"}),
            "network",
            "/v2.0/subnets",
            "subnet",
        ),
        (
            "security_group",
            json!({"name": "g"}),
            "network",
            "/v2.0/security-groups",
            "security_group",
        ),
        ("port", json!({"name": "p", "network_id": "$network"}), "network", "/v2.0/ports", "port"),
        ("router", json!({"name": "r"}), "network", "/v2.0/routers", "router"),
        (
            "floating_ip",
            json!({"description": "f", "floating_network_id": external}),
            "network",
            "/v2.0/floatingips",
            "floatingip",
        ),
        ("volume", json!({"name": "v", "size": 1}), "volume", "/volumes", "volume"),
        (
            "snapshot",
            json!({"name": "t", "volume_id": "$volume"}),
            "volume",
            "/snapshots",
            "snapshot",
        ),
        ("image", image, "image", "/v2/images", ""),
        ("server", machine, "compute", "/servers", "server"),
        (
            "backup",
            json!({"name": "b", "server_id": "$server"}),
            "volume",
            "/snapshots",
            "snapshot",
        ),
    ]
}

/// The desired state with the ids of the objects created before.
fn filled(desired: Value, made: &[(&str, String)]) -> Value {
    let text = made.iter().fold(desired.to_string(), |text, (kind, id)| {
        text.replace(&format!("\"${kind}\""), &format!("\"{id}\""))
    });
    serde_json::from_str(&text).unwrap()
}

impl Change {
    fn field(&self) -> &'static str {
        if matches!(self.row, "floatingip" | "project") { "description" } else { "name" }
    }

    async fn make(&self, cloud: &Cloud) {
        let (method, body) = if self.row.is_empty() {
            let change = json!({"op": "replace", "path": "/name", "value": "tampered"});
            (Method::PATCH, json!([change]))
        } else {
            let method = if self.row == "project" { Method::PATCH } else { Method::PUT };
            (method, json!({ self.row: { self.field(): "tampered" } }))
        };
        cloud.ask(method, self.service, &self.path, body).await;
    }

    async fn is_there(&self, cloud: &Cloud) -> bool {
        let shown = cloud.ask(Method::GET, self.service, &self.path, Value::Null).await;
        let row = if self.row.is_empty() { &shown } else { &shown[self.row] };
        row[self.field()] == "tampered"
    }
}

/// A change by another client stays while drift is only reported, and is corrected once the policy says so.
async fn reported_then_put_back(cloud: &Cloud, plans: Vec<Planned>) {
    let setup = Setup::new(&configuration(&cloud.name, &cloud.auth_url, "1s"));
    let running = setup.start().await;
    let client = &running.client;
    let (mut made, mut changes) = (Vec::new(), Vec::new());
    for (kind, desired, service, path, row) in plans {
        let mut declared =
            manifest(kind, &unique(&format!("report-{kind}")), filled(desired, &made));
        declared["drift_policy"] = json!("report");
        let reply = client.done(Method::POST, "/v1/entities", declared).await;
        let id = text(&reply.body["entity"]["id"]);
        let entity = client.reaches(&id, "ok").await;
        let external = text(&entity["observed"]["external_id"]);
        let part = match kind {
            "backup" => text(&entity["observed"]["attributes"]["snapshots"][0]["id"]),
            _ => external.clone(),
        };
        made.push((kind, external));
        changes.push(Change { id, service, path: format!("{path}/{part}"), row });
    }
    for change in &changes {
        change.make(cloud).await;
    }
    for Change { id, .. } in &changes {
        until("it is reported", async || {
            condition(&client.entity(id).await, "drifted").then_some(())
        })
        .await;
        let refresh = format!("/v1/entities/{id}/actions/refresh");
        client.done(Method::POST, &refresh, json!({})).await;
    }
    for change in &changes {
        assert!(change.is_there(cloud).await, "{}: it was put back", change.path);
        let path = format!("/v1/entities/{}", change.id);
        let policy = json!({ "drift_policy": "correct" });
        let headers = [("Content-Type", "application/merge-patch+json")];
        let reply = client.send(Method::PATCH, &path, Some(&policy), &headers).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
    }
    for change in &changes {
        until("it is put back", async || (!change.is_there(cloud).await).then_some(())).await;
    }
    while let Some(Change { id, .. }) = changes.pop() {
        client.reaches(&id, "ok").await;
        client.done(Method::DELETE, &format!("/v1/entities/{id}"), Value::Null).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drifts_is_only_reported_when_the_policy_says_so_and_put_back_when_it_says_that() {
    let Some(cloud) = Cloud::wanted().await else { return };
    reported_then_put_back(&cloud, plans()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_drifts_is_only_reported_when_the_policy_says_so() {
    if Cloud::wanted().await.is_none() {
        return;
    }
    let Some(cloud) = Cloud::admin().await else { return };
    let desired = json!({"name": unique("report"), "description": "d"});
    let project = ("project", desired, "identity", "/projects", "project");
    reported_then_put_back(&cloud, vec![project]).await;
}
