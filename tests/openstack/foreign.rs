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
    let (name, of) =
        (unique("foreign-more"), |kind: &str| json!({ "$ref": format!("openstack.{kind}/more") }));
    for (kind, desired) in [
        ("network", json!({ "name": name })),
        ("port", json!({ "name": name, "network_id": of("network") })),
        ("volume", json!({ "name": name, "size": 1 })),
        ("snapshot", json!({ "name": name, "volume_id": of("volume") })),
        (
            "image",
            json!({ "name": name, "disk_format": "raw", "container_format": "bare", "content": "c3RhdGV3YXJk" }),
        ),
    ] {
        manifests.push(manifest(kind, "more", desired));
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

    /// Changes a field of the desired state.
    async fn puts(&self, key: &str, field: &str, value: Value) {
        let mut desired = self.entity(key).await["desired"].clone();
        desired[field] = value;
        let path = format!("/v1/entities/{}", self.ids[key]);
        let body = json!({ "desired": desired });
        let reply = self.client.send(Method::PUT, &path, Some(&body), &[]).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
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

/// What another tool adds to a stack.
struct Additions {
    network: String,
    subnet: String,
    volume: String,
    port: String,
}

/// Plugs a NIC, a volume, an address, an interface and a port in, and tags.
async fn plugs_in(stack: &Stack) -> Additions {
    let server = stack.object("server/web-1").await;
    let back = stack.object("network/back").await;
    let body = json!({ "interfaceAttachment": { "net_id": back } });
    stack.ask(Method::POST, "compute", &format!("/servers/{server}/os-interface"), body).await;

    let volume = json!({ "volume": { "name": unique("foreign-volume"), "size": 1 } });
    let volume = stack.ask(Method::POST, "volume", "/volumes", volume).await;
    let volume = text(&volume["volume"]["id"]);
    let available = |it: &Value| it["volume"]["status"] == "available";
    stack.cloud_shows("volume", &format!("/volumes/{volume}"), "available", available).await;
    let db = stack.object("server/db").await;
    let body = json!({ "volumeAttachment": { "volumeId": volume } });
    let path = format!("/servers/{db}/os-volume_attachments");
    stack.ask(Method::POST, "compute", &path, body).await;

    let path = format!("/v2.0/ports/{}", stack.object("port/web-2").await);
    let shown = stack.ask(Method::GET, "network", &path, Value::Null).await;
    let mut addresses = shown["port"]["fixed_ips"].as_array().unwrap().clone();
    addresses.push(json!({ "subnet_id": addresses[0]["subnet_id"] }));
    let body = json!({ "port": { "fixed_ips": addresses } });
    stack.ask(Method::PUT, "network", &path, body).await;

    let network = stack.cloud.network(&unique("foreign-theirs")).await;
    let body =
        json!({ "subnet": { "network_id": network, "cidr": "10.41.9.0/24", "ip_version": 4 } });
    let subnet = stack.ask(Method::POST, "network", "/v2.0/subnets", body).await;
    let subnet = text(&subnet["subnet"]["id"]);
    let edge = format!("/v2.0/routers/{}/add_router_interface", stack.object("router/edge").await);
    stack.ask(Method::PUT, "network", &edge, json!({ "subnet_id": subnet })).await;

    let more = stack.object("network/more").await;
    let front = stack.object("network/front").await;
    let body = json!({ "port": { "network_id": front, "name": unique("foreign-port") } });
    let port = stack.ask(Method::POST, "network", "/v2.0/ports", body).await;
    for path in [
        format!("/v2.0/networks/{more}"),
        format!("/v2.0/ports/{port}", port = stack.object("port/db").await),
    ] {
        stack.ask(Method::PUT, "network", &format!("{path}/tags/theirs"), Value::Null).await;
    }
    let tag = format!("/servers/{server}/tags/theirs");
    stack.ask(Method::PUT, "compute", &tag, Value::Null).await;
    Additions { network, subnet, volume, port: text(&port["port"]["id"]) }
}

/// Everything that was added is reported where it is part of an object, and is still there.
async fn additions_are_left(stack: &Stack, additions: &Additions) {
    stack.shows("server/web-1", "left", |it| is_left(it, "/networks")).await;
    stack.shows("server/db", "left", |it| is_left(it, "/volumes")).await;
    stack.shows("port/web-2", "left", |it| is_left(it, "/fixed_ips")).await;
    stack.shows("router/edge", "left", |it| is_left(it, "/interfaces")).await;
    let (server, db) = (stack.object("server/web-1").await, stack.object("server/db").await);
    assert_eq!(stack.nics(&server).await.len(), 2, "the foreign NIC is still there");
    let disk = format!("/volumes/{}", additions.volume);
    let disk = stack.ask(Method::GET, "volume", &disk, Value::Null).await;
    assert_eq!(disk["volume"]["attachments"][0]["server_id"], db.as_str());
    let path = format!("/v2.0/ports/{}", stack.object("port/web-2").await);
    let shown = stack.ask(Method::GET, "network", &path, Value::Null).await;
    assert_eq!(shown["port"]["fixed_ips"].as_array().unwrap().len(), 2);
    let path = format!("/v2.0/ports?device_id={}", stack.object("router/edge").await);
    let shown = stack.ask(Method::GET, "network", &path, Value::Null).await;
    assert!(shown.to_string().contains(&additions.subnet), "{shown:#}");
    let path = format!("/v2.0/ports/{}", additions.port);
    stack.ask(Method::GET, "network", &path, Value::Null).await;
    for key in ["network/more", "port/db"] {
        let path = format!("/v2.0/{}s/{}", key.split('/').next().unwrap(), stack.object(key).await);
        let shown = stack.ask(Method::GET, "network", &path, Value::Null).await;
        assert!(shown.to_string().contains("\"theirs\""), "{key}: {shown:#}");
    }
    let tags =
        stack.ask(Method::GET, "compute", &format!("/servers/{server}/tags"), Value::Null).await;
    assert!(tags.to_string().contains("\"theirs\""), "{tags}");
}

/// Renames, adds a rule, clears tags, and unplugs a NIC, a volume and an interface: each is put back.
async fn changes_are_put_back(stack: &Stack) {
    for (key, service, path, row) in [
        ("network/front", "network", "/v2.0/networks", "network"),
        ("router/edge", "network", "/v2.0/routers", "router"),
        ("volume/more", "volume", "/volumes", "volume"),
        ("server/web-2", "compute", "/servers", "server"),
    ] {
        let path = format!("{path}/{}", stack.object(key).await);
        let body = json!({ row: { "name": "renamed" } });
        stack.ask(Method::PUT, service, &path, body).await;
        let back = |it: &Value| it[row]["name"] != "renamed";
        stack.cloud_shows(service, &path, "put back", back).await;
    }
    let group = stack.object("security_group/web").await;
    let rule = json!({ "security_group_rule": {
        "security_group_id": group, "direction": "ingress", "ethertype": "IPv4",
        "protocol": "tcp", "port_range_min": 6666, "port_range_max": 6666,
    }});
    stack.ask(Method::POST, "network", "/v2.0/security-group-rules", rule).await;
    let (app, own) = (stack.object("server/app").await, stack.object("port/app").await);
    let path = format!("/servers/{app}/os-interface/{own}");
    stack.ask(Method::DELETE, "compute", &path, Value::Null).await;
    let (db, disk) = (stack.object("server/db").await, stack.object("volume/db").await);
    let path = format!("/servers/{db}/os-volume_attachments/{disk}");
    stack.ask(Method::DELETE, "compute", &path, Value::Null).await;
    let (edge, back) = (stack.object("router/edge").await, stack.object("subnet/back").await);
    let path = format!("/v2.0/routers/{edge}/remove_router_interface");
    stack.ask(Method::PUT, "network", &path, json!({ "subnet_id": back })).await;
    let marked = format!("/v2.0/networks/{}", stack.object("network/front").await);
    stack.ask(Method::PUT, "network", &format!("{marked}/tags"), json!({ "tags": [] })).await;

    let without = |it: &Value| !it["security_group"].to_string().contains("6666");
    let path = format!("/v2.0/security-groups/{group}");
    stack.cloud_shows("network", &path, "put back", without).await;
    let plugged = |it: &Value| it["port"]["device_id"] == app.as_str();
    let path = format!("/v2.0/ports/{own}");
    stack.cloud_shows("network", &path, "plugged in again", plugged).await;
    let attached = |it: &Value| it["volume"]["attachments"][0]["server_id"] == db.as_str();
    stack.cloud_shows("volume", &format!("/volumes/{disk}"), "attached again", attached).await;
    let routed = |it: &Value| it.to_string().contains(&back);
    let path = format!("/v2.0/ports?device_id={edge}");
    stack.cloud_shows("network", &path, "an interface again", routed).await;
    let again = |it: &Value| it["network"]["tags"].to_string().contains("managed-entity.");
    stack.cloud_shows("network", &marked, "marked again", again).await;
    for key in ["server/app", "network/front", "volume/db", "security_group/web"] {
        stack.shows(key, "in sync", |it| condition(it, "synced") && it["state"] == "ok").await;
    }
}

/// Ours is unplugged, and not the one that the other tool plugged into the same network before.
async fn our_nic_goes(stack: &Stack) {
    let (server, back) = (stack.object("server/web-2").await, stack.object("network/back").await);
    let own = stack.entity("server/web-2").await["desired"]["networks"][0].clone();
    let body = json!({ "interfaceAttachment": { "net_id": back } });
    let path = format!("/servers/{server}/os-interface");
    let theirs = stack.ask(Method::POST, "compute", &path, body).await;
    stack.shows("server/web-2", "left", |it| is_left(it, "/networks")).await;
    for wanted in [json!([own, { "uuid": back }, { "uuid": back }]), json!([own])] {
        stack.puts("server/web-2", "networks", wanted).await;
        stack.shows("server/web-2", "changed", |it| it["state"] == "ok").await;
    }
    let theirs = text(&theirs["interfaceAttachment"]["port_id"]);
    let path = format!("/v2.0/ports?device_id={server}");
    let two = |it: &Value| it["ports"].as_array().is_some_and(|ports| ports.len() == 2);
    stack.cloud_shows("network", &path, "without ours", two).await;
    assert!(stack.nics(&server).await.contains(&theirs), "theirs went");
}

/// Objects fail and heal by the hand of an administrator: each entity shows the first, and is well after the second.
async fn failures_are_shown_and_end(stack: &Stack) {
    let Some(admin) = Cloud::admin().await else { return };
    for (key, service, path, action, well) in [
        ("volume/more", "volume", "/volumes", "os-reset_status", "available"),
        ("snapshot/more", "volume", "/snapshots", "os-reset_status", "available"),
        ("volume/db", "volume", "/volumes", "os-reset_status", "in-use"),
        ("server/app", "compute", "/servers", "os-resetState", "active"),
    ] {
        let id = stack.object(key).await;
        // An administrator's address has another project in it.
        let path = format!("{path}/{id}/action");
        let member = if service == "volume" { "status" } else { "state" };
        let to = |status: &str| json!({ action: { member: status } });
        admin.ask(Method::POST, service, &path, to("error")).await;
        stack.shows(key, "shown as failed", |it| !condition(it, "ready")).await;
        admin.ask(Method::POST, service, &path, to(well)).await;
        let is_well = |it: &Value| {
            condition(it, "ready")
                && condition(it, "synced")
                && it["state"] == "ok"
                && it["error"].is_null()
        };
        stack.shows(key, "well again", is_well).await;
        assert_eq!(stack.object(key).await, id, "{key}: it was made anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_tool_does_to_a_stack_destroys_nothing() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let stack = Stack::made(cloud).await;
    assert_eq!(stack.ids.len(), 25);
    let before = stack.objects().await;
    let additions = plugs_in(&stack).await;
    changes_are_put_back(&stack).await;
    additions_are_left(&stack, &additions).await;

    // A change by us leaves what was added where it is, too.
    let name = unique("foreign-web-1b");
    stack.puts("server/web-1", "name", json!(name)).await;
    let path = format!("/servers/{}", stack.object("server/web-1").await);
    let named = |it: &Value| it["server"]["name"] == name.as_str();
    stack.cloud_shows("compute", &path, "renamed by us", named).await;
    additions_are_left(&stack, &additions).await;

    our_nic_goes(&stack).await;
    failures_are_shown_and_end(&stack).await;
    assert_eq!(stack.objects().await, before, "each object is the one that it was");
    for key in stack.ids.keys() {
        assert_ne!(stack.entity(key).await["state"], "erred", "{key}");
    }
    ends(&stack, additions).await;
}

/// The stack is deleted around a port of the other tool: it waits, says for what, and goes on by itself.
async fn ends(stack: &Stack, additions: Additions) {
    let Additions { network, volume, port, .. } = additions;
    for id in stack.ids.values() {
        let path = format!("/v1/entities/{id}");
        stack.client.send(Method::DELETE, &path, None, &[]).await.unwrap();
    }
    let waits = |entity: &Value| {
        reason(entity, "blocked") == "InUse"
            && entity["error"]["message"].to_string().contains(&port)
    };
    stack.shows("subnet/front", "blocked by the port", waits).await;
    let version = stack.entity("subnet/front").await["version"].clone();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(stack.entity("subnet/front").await["version"], version, "recorded again");
    let path = format!("/v2.0/ports/{port}");
    stack.ask(Method::DELETE, "network", &path, Value::Null).await;
    for (key, id) in &stack.ids {
        reaches(&stack.client, id, "deleted", PATIENCE).await;
        assert_eq!(stack.cloud.marked(id).await, Vec::<Value>::new(), "{key}: left behind");
    }
    let path = format!("/v2.0/networks/{network}");
    stack.ask(Method::DELETE, "network", &path, Value::Null).await;
    let path = format!("/volumes/{volume}");
    let free = |it: &Value| it["volume"]["status"] == "available";
    stack.cloud_shows("volume", &path, "free and still there", free).await;
    stack.ask(Method::DELETE, "volume", &path, Value::Null).await;
}
