//! The lifecycle of a tenant's first objects, through the real server on the real cloud.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::cloud::Cloud;
use crate::harness::{Client, Setup, text, until};

/// A server's configuration with short times; `auth_url` is the cloud's.
pub(crate) fn configuration(cloud: &str, auth_url: &str, drift_interval: &str) -> String {
    format!(
        "[workers]\nlease = \"5s\"\nlease_margin = \"1s\"\n\
         [backends.cloud]\ndriver = \"openstack\"\ncloud = \"{cloud}\"\nauth_url = \"{auth_url}\"\n\
         drift_interval = \"{drift_interval}\"\nservice_timeout = \"3s\"\nretry = {{ first = \"200ms\", max = \"2s\" }}\n"
    )
}

pub(crate) fn manifest(kind: &str, name: &str, desired: Value) -> Value {
    json!({ "kind": format!("openstack.{kind}"), "name": name, "backend": "cloud", "desired": desired })
}

/// A name that is unique among all tests in the project.
pub(crate) fn unique(name: &str) -> String {
    format!("stateward-{name}-{}", std::process::id())
}

/// Objects that the cloud must have already.
pub(crate) fn variable(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

/// A server that needs no network.
pub(crate) fn server(name: &str) -> Value {
    json!({
        "name": name, "flavorRef": variable("STATEWARD_TEST_FLAVOR", "m1.tiny"),
        "imageRef": variable("STATEWARD_TEST_IMAGE", "tiny"), "networks": "none",
    })
}

/// Waits until an entity is in `state`; a busy cloud may take up to `patience`.
pub(crate) async fn reaches(client: &Client, id: &str, state: &str, patience: Duration) -> Value {
    let began = Instant::now();
    loop {
        let entity = client.entity(id).await;
        if entity["state"] == state {
            return entity;
        }
        let over = entity["state"] == "erred" || began.elapsed() > patience;
        assert!(!over, "not {state} after {:.0?}: {entity:#}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Tenant {
    client: Client,
    cloud: Cloud,
    /// Entities, the newest last.
    made: Vec<String>,
}

impl Tenant {
    /// Declares an entity and waits for it; returns the cloud's id.
    async fn declare(&mut self, kind: &str, desired: Value) -> String {
        let manifest = manifest(kind, &unique(&format!("life-{kind}")), desired);
        let reply = self.client.done(Method::POST, "/v1/entities", manifest).await;
        let id = text(&reply.body["entity"]["id"]);
        let entity = self.client.reaches(&id, "ok").await;
        self.made.push(id);
        text(&entity["observed"]["external_id"])
    }

    /// Deletes everything, the newest first; then checks in the cloud that nothing is left.
    async fn deletes_all(&mut self) {
        while let Some(id) = self.made.pop() {
            let path = format!("/v1/entities/{id}");
            self.client.done(Method::DELETE, &path, Value::Null).await;
            assert_eq!(self.cloud.marked(&id).await, Vec::<Value>::new(), "left behind");
        }
    }

    /// Waits until a member of what the cloud shows is `wanted`.
    async fn shows(&self, service: &str, path: &str, pointer: &str, wanted: &Value) {
        until(&format!("{path}{pointer} is {wanted}"), async || {
            let shown = self.cloud.ask(Method::GET, service, path, Value::Null).await;
            (shown.pointer(pointer) == Some(wanted)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_s_objects_are_made_kept_adopted_and_leave_nothing() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let setup = Setup::new(&configuration(&cloud.name, &cloud.auth_url, "1s"));
    let running = setup.start().await;
    let mut tenant = Tenant { client: running.client.clone(), cloud, made: Vec::new() };

    let name = unique("life");
    let volume = json!({ "name": name, "size": 1, "metadata": { "tier": "db" } });
    let volume = tenant.declare("volume", volume).await;
    let network = tenant.declare("network", json!({ "name": name, "description": "ours" })).await;
    let subnet = json!({ "name": name, "network_id": network, "cidr": "10.96.0.0/24" });
    let subnet = tenant.declare("subnet", subnet).await;
    let ssh = json!({ "protocol": "tcp", "port_range_min": 22, "port_range_max": 22 });
    let group = json!({ "name": name, "description": "ours", "rules": [ssh] });
    let group = tenant.declare("security_group", group).await;
    let mut desired = server(&name);
    desired["networks"] = json!([{ "uuid": network }]);
    let server = tenant.declare("server", desired).await;
    for id in &tenant.made {
        assert_eq!(tenant.cloud.marked(id).await.len(), 1, "one each");
    }

    for (service, path, body, pointer, wanted) in [
        (
            "volume",
            format!("/volumes/{volume}"),
            json!({"volume": {"name": "x"}}),
            "/volume/name",
            &name,
        ),
        (
            "network",
            format!("/v2.0/networks/{network}"),
            json!({"network": {"name": "x"}}),
            "/network/name",
            &name,
        ),
        (
            "network",
            format!("/v2.0/subnets/{subnet}"),
            json!({"subnet": {"name": "x"}}),
            "/subnet/name",
            &name,
        ),
        (
            "network",
            format!("/v2.0/security-groups/{group}"),
            json!({"security_group": {"name": "x"}}),
            "/security_group/name",
            &name,
        ),
        (
            "compute",
            format!("/servers/{server}"),
            json!({"server": {"name": "x"}}),
            "/server/name",
            &name,
        ),
    ] {
        tenant.cloud.ask(Method::PUT, service, &path, body).await;
        tenant.shows(service, &path, pointer, &json!(wanted)).await;
    }
    tenant.deletes_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_made_is_adopted_changed_and_deleted_or_left_to_them() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let setup = Setup::new(&configuration(&cloud.name, &cloud.auth_url, "1s"));
    let running = setup.start().await;
    let client = &running.client;
    for (policy, lives) in [("delete", false), ("orphan", true)] {
        let network = cloud.network(&unique("theirs")).await;
        let mut declared = manifest("network", policy, json!({ "name": unique("ours") }));
        declared["external_id"] = json!(network);
        declared["deletion_policy"] = json!(policy);
        declared["management_policy"] = json!("full");
        let reply = client.done(Method::POST, "/v1/entities", declared).await;
        let id = text(&reply.body["entity"]["id"]);
        let entity = client.reaches(&id, "ok").await;
        assert_eq!(entity["observed"]["external_id"], json!(network), "{entity:#}");
        let path = format!("/v2.0/networks/{network}");
        let shown = cloud.ask(Method::GET, "network", &path, Value::Null).await;
        assert_eq!(shown["network"]["name"], json!(unique("ours")));
        client.done(Method::DELETE, &format!("/v1/entities/{id}"), Value::Null).await;
        let list = cloud.ask(Method::GET, "network", "/v2.0/networks", Value::Null).await;
        assert_eq!(list.to_string().contains(&network), lives, "{policy}");
        if lives {
            cloud.ask(Method::DELETE, "network", &path, Value::Null).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_the_cloud_does_not_have_is_refused_by_name() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let setup = Setup::new(&configuration(&cloud.name, &cloud.auth_url, "10m"));
    let running = setup.start().await;
    let mut desired = server(&unique("refused"));
    desired["flavorRef"] = json!("m1.tinny");
    let declared = manifest("server", &unique("refused"), desired);
    let reply = running.client.waited(Method::POST, "/v1/entities", declared).await;
    assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
    let failure = reply.body["operation"]["error"]["message"].to_string();
    assert!(failure.contains("m1.tiny"), "the nearest name is told: {:#}", reply.body);
    let id = text(&reply.body["entity"]["id"]);
    assert_eq!(cloud.marked(&id).await, Vec::<Value>::new());
}
