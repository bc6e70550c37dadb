//! Another tool works in the project of a stack: what it changes is put back or reported, as the policy says; what it
//! plugs in is reported and left; nothing is destroyed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::lifecycle::{configuration, manifest, reaches, unique, variable};
use crate::harness::{Client, Server, Setup, condition, reason, text};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/openstack");
/// For the whole stack, and for each change that is put back.
const PATIENCE: Duration = Duration::from_mins(3);

/// The stack of the example and five objects more, under names of its own.
fn manifests() -> Vec<Value> {
    let mut manifests = Vec::new();
    for file in ["network.yaml", "security.yaml", "servers.yaml"] {
        let text = std::fs::read_to_string(format!("{EXAMPLE}/{file}")).unwrap();
        let external = variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public");
        let text = text
            .replace("shop-", &unique("foreign-"))
            .replace("10.40.", "10.41.")
            .replace("flavorRef: m1.tiny", &variable_of("flavorRef", "FLAVOR", "m1.tiny"))
            .replace("imageRef: tiny", &variable_of("imageRef", "IMAGE", "tiny"))
            .replace("network_id: public", &format!("network_id: {external}"));
        for document in serde_norway::Deserializer::from_str(&text) {
            let mut manifest = Value::deserialize(document).unwrap();
            manifest["backend"] = "cloud".into();
            manifests.push(manifest);
        }
    }
    for number in 1..=5 {
        let name = unique(&format!("foreign-more-{number}"));
        manifests.push(manifest("network", &name, json!({ "name": name })));
    }
    manifests
}

fn variable_of(field: &str, name: &str, usual: &str) -> String {
    format!("{field}: {}", variable(&format!("STATEWARD_TEST_{name}"), usual))
}

/// A stack, and the cloud as the other tool reaches it.
struct Stack {
    client: Client,
    cloud: Cloud,
    /// Our ids, by kind and name.
    ids: BTreeMap<String, String>,
    _server: Server,
    _setup: Setup,
}

impl Stack {
    async fn made(cloud: Cloud) -> Self {
        let config = configuration(&cloud.name, &cloud.auth_url, "2s") + "concurrency = 16\n";
        let setup = Setup::new(&config);
        let server = setup.start().await;
        let client = server.client.clone();
        let mut ids = BTreeMap::new();
        for manifest in manifests() {
            let made =
                client.send(Method::POST, "/v1/entities", Some(&manifest), &[]).await.unwrap();
            assert!(made.status.is_success(), "{:#}", made.body);
            let kind = text(&manifest["kind"]).replace("openstack.", "");
            let key = format!("{kind}/{}", text(&manifest["name"]));
            ids.insert(key, text(&made.body["entity"]["id"]));
        }
        for id in ids.values() {
            reaches(&client, id, "ok", PATIENCE).await;
        }
        Self { client, cloud, ids, _server: server, _setup: setup }
    }

    async fn entity(&self, key: &str) -> Value {
        self.client.entity(&self.ids[key]).await
    }

    /// The cloud's id of an entity's object.
    async fn object(&self, key: &str) -> String {
        text(&self.entity(key).await["observed"]["external_id"])
    }

    async fn objects(&self) -> BTreeMap<String, String> {
        let mut objects = BTreeMap::new();
        for key in self.ids.keys() {
            objects.insert(key.clone(), self.object(key).await);
        }
        objects
    }

    async fn ask(&self, method: Method, service: &str, path: &str, body: Value) -> Value {
        self.cloud.ask(method, service, path, body).await
    }

    /// Waits until an entity's JSON satisfies `is`.
    async fn shows(&self, key: &str, what: &str, is: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        loop {
            let entity = self.entity(key).await;
            if is(&entity) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{key} is not {what}: {entity:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the cloud shows what `is` wants.
    async fn cloud_shows(
        &self,
        service: &str,
        path: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) {
        let began = Instant::now();
        loop {
            let shown = self.ask(Method::GET, service, path, Value::Null).await;
            if is(&shown) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{path}: not {what}: {shown:#}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn nics(&self, server: &str) -> Vec<String> {
        let path = format!("/v2.0/ports?device_id={server}");
        let ports = self.ask(Method::GET, "network", &path, Value::Null).await;
        ports["ports"].as_array().unwrap().iter().map(|port| text(&port["id"])).collect()
    }
}

/// Whether an entity reports `field` as added by others.
fn is_left(entity: &Value, field: &str) -> bool {
    let drift = entity["drift"].as_array().into_iter().flatten();
    condition(entity, "drifted")
        && drift.into_iter().any(|it| it["field"] == field && it["addition"] == true)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_tool_does_to_a_stack_destroys_nothing() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let stack = Stack::made(cloud).await;
    assert_eq!(stack.ids.len(), 25);
    let before = stack.objects().await;

    // It plugs a NIC, a volume, an interface and an address in: reported, and left.
    let (server, back) = (stack.object("server/web-1").await, stack.object("network/back").await);
    let body = json!({ "interfaceAttachment": { "net_id": back } });
    let path = format!("/servers/{server}/os-interface");
    stack.ask(Method::POST, "compute", &path, body).await;
    let group = stack.object("security_group/web").await;
    let volume = json!({ "volume": { "name": unique("foreign-volume"), "size": 1 } });
    let volume = stack.ask(Method::POST, "volume", "/volumes", volume).await;
    let volume = text(&volume["volume"]["id"]);
    let disk = format!("/volumes/{volume}");
    let is_in = |status: &'static str| move |it: &Value| it["volume"]["status"] == status;
    stack.cloud_shows("volume", &disk, "available", is_in("available")).await;
    let db = stack.object("server/db").await;
    let body = json!({ "volumeAttachment": { "volumeId": volume } });
    let path = format!("/servers/{db}/os-volume_attachments");
    stack.ask(Method::POST, "compute", &path, body).await;
    let port = stack.object("port/web-2").await;
    let port_path = format!("/v2.0/ports/{port}");
    let shown = stack.ask(Method::GET, "network", &port_path, Value::Null).await;
    let mut addresses = shown["port"]["fixed_ips"].as_array().unwrap().clone();
    addresses.push(json!({ "subnet_id": addresses[0]["subnet_id"] }));
    let body = json!({ "port": { "fixed_ips": addresses } });
    stack.ask(Method::PUT, "network", &port_path, body).await;

    // It renames, adds a rule, unplugs ours, and tags: put back, and a foreign tag is none of ours.
    let network = stack.object("network/front").await;
    let body = json!({ "network": { "name": "renamed" } });
    let network_path = format!("/v2.0/networks/{network}");
    stack.ask(Method::PUT, "network", &network_path, body).await;
    stack.ask(Method::PUT, "network", &format!("{network_path}/tags/theirs"), Value::Null).await;
    let rule = json!({ "security_group_rule": {
        "security_group_id": group, "direction": "ingress", "ethertype": "IPv4",
        "protocol": "tcp", "port_range_min": 6666, "port_range_max": 6666,
    }});
    stack.ask(Method::POST, "network", "/v2.0/security-group-rules", rule).await;
    let (app, own) = (stack.object("server/app").await, stack.object("port/app").await);
    let path = format!("/servers/{app}/os-interface/{own}");
    stack.ask(Method::DELETE, "compute", &path, Value::Null).await;

    stack.shows("server/web-1", "left", |it| is_left(it, "/networks")).await;
    stack.shows("server/db", "left", |it| is_left(it, "/volumes")).await;
    stack.shows("port/web-2", "left", |it| is_left(it, "/fixed_ips")).await;
    let renamed = |it: &Value| it["network"]["name"] != "renamed";
    stack.cloud_shows("network", &network_path, "put back", renamed).await;
    let group_path = format!("/v2.0/security-groups/{group}");
    let without = |it: &Value| !it["security_group"].to_string().contains("6666");
    stack.cloud_shows("network", &group_path, "put back", without).await;
    let plugged = |it: &Value| it["port"]["device_id"] == app.as_str();
    let own_path = format!("/v2.0/ports/{own}");
    stack.cloud_shows("network", &own_path, "plugged in again", plugged).await;
    stack.shows("server/app", "in sync", |it| condition(it, "synced")).await;

    // A change by us leaves it where it is, too.
    let name = unique("foreign-web-1b");
    let path = format!("/v1/entities/{}", stack.ids["server/web-1"]);
    let patch = json!({ "desired": { "name": name } });
    let entity = stack.entity("server/web-1").await;
    let mut desired = entity["desired"].clone();
    desired["name"] = patch["desired"]["name"].clone();
    let body = json!({ "desired": desired });
    let reply = stack.client.send(Method::PUT, &path, Some(&body), &[]).await.unwrap();
    assert!(reply.status.is_success(), "{:#}", reply.body);
    let server_path = format!("/servers/{server}");
    let named = |it: &Value| it["server"]["name"] == name.as_str();
    stack.cloud_shows("compute", &server_path, "renamed by us", named).await;
    stack.shows("server/web-1", "left", |it| is_left(it, "/networks")).await;

    assert_eq!(stack.nics(&server).await.len(), 2, "the foreign NIC is still there");
    let disk_is = stack.ask(Method::GET, "volume", &disk, Value::Null).await;
    assert_eq!(disk_is["volume"]["attachments"][0]["server_id"], db.as_str());
    let shown = stack.ask(Method::GET, "network", &port_path, Value::Null).await;
    assert_eq!(shown["port"]["fixed_ips"].as_array().unwrap().len(), 2);
    let shown = stack.ask(Method::GET, "network", &network_path, Value::Null).await;
    assert!(shown["network"]["tags"].to_string().contains("theirs"));
    assert_eq!(stack.objects().await, before, "each object is the one that it was");
    for key in stack.ids.keys() {
        assert_ne!(stack.entity(key).await["state"], "erred", "{key}");
    }
    ends(&stack, &volume).await;
}

/// The stack is deleted around a port of the other tool: it waits, says for what, and goes on by itself.
async fn ends(stack: &Stack, volume: &str) {
    let front = stack.object("network/front").await;
    let body = json!({ "port": { "network_id": front, "name": unique("foreign-port") } });
    let port = stack.ask(Method::POST, "network", "/v2.0/ports", body).await;
    let port = text(&port["port"]["id"]);
    for id in stack.ids.values() {
        let path = format!("/v1/entities/{id}");
        stack.client.send(Method::DELETE, &path, None, &[]).await.unwrap();
    }
    let waits = |entity: &Value| {
        reason(entity, "blocked") == "InUse"
            && entity["error"]["message"].to_string().contains(&port)
    };
    stack.shows("subnet/front", "blocked by the port", waits).await;
    let path = format!("/v2.0/ports/{port}");
    stack.ask(Method::DELETE, "network", &path, Value::Null).await;
    for (key, id) in &stack.ids {
        reaches(&stack.client, id, "deleted", PATIENCE).await;
        assert_eq!(stack.cloud.marked(id).await, Vec::<Value>::new(), "{key}: left behind");
    }
    let path = format!("/volumes/{volume}");
    let free = |it: &Value| it["volume"]["status"] == "available";
    stack.cloud_shows("volume", &path, "free and still there", free).await;
    stack.ask(Method::DELETE, "volume", &path, Value::Null).await;
}
