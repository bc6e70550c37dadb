//! A cloud that answers creations only after the caller gave up: of each entity there is one object at any time, by the
//! cloud's own lists.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::lifecycle::{configuration, manifest, reaches, server, unique, variable};
use super::proxy::Proxy;
use crate::harness::{Server, Setup, text};

/// Longer than the call, and than any settle time that is counted from its beginning.
const HELD: Duration = Duration::from_secs(13);
const SLOW: &str = "call_timeout = \"3s\"\nconcurrency = 16\n";
/// Entities that were declared: each has a name of its own.
static DECLARED: AtomicUsize = AtomicUsize::new(0);
/// For a creation that is held, and what follows it.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server behind the proxy.
struct Slow {
    setup: Setup,
    cloud: Arc<Cloud>,
    proxy: Proxy,
    server: Server,
}

impl Slow {
    async fn new(cloud: Cloud) -> Self {
        let proxy = Proxy::before(&cloud).await;
        let config = configuration(&cloud.name, &proxy.auth_url, "10m");
        // With less than what is left of `HELD` after the call, each test finds second objects. The rest is for the cloud, to
        // which all held creations come at once.
        let service = variable("STATEWARD_TEST_SERVICE_TIMEOUT", "30s");
        let config =
            config.replace("service_timeout = \"3s\"", &format!("service_timeout = \"{service}\""));
        let setup = Setup::new(&(config + SLOW));
        let server = setup.start().await;
        Self { setup, cloud: Arc::new(cloud), proxy, server }
    }

    /// Declares an entity and does not wait: its id.
    async fn declare(&self, kind: &str, desired: Value) -> String {
        let number = DECLARED.fetch_add(1, Ordering::SeqCst);
        let declared = manifest(kind, &unique(&format!("slow-{number}")), desired);
        let client = &self.server.client;
        let reply = client.send(Method::POST, "/v1/entities", Some(&declared), &[]).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
        text(&reply.body["entity"]["id"])
    }

    /// Declares an entity and waits for it: our id and the cloud's.
    async fn made(&self, kind: &str, desired: Value) -> (String, String) {
        let id = self.declare(kind, desired).await;
        let entity = reaches(&self.server.client, &id, "ok", PATIENCE).await;
        (id, text(&entity["observed"]["external_id"]))
    }

    async fn unmade(&self, id: &str) {
        let path = format!("/v1/entities/{id}");
        let client = &self.server.client;
        client.send(Method::DELETE, &path, None, &[]).await.unwrap();
        reaches(client, id, "deleted", PATIENCE).await;
        assert_eq!(self.cloud.marked(id).await, Vec::<Value>::new(), "left behind");
    }

    /// Reads the cloud's own lists every second; ends with the objects of an entity of `ids` that had two.
    fn watch(&self, ids: &[(String, String)]) -> tokio::task::JoinHandle<Vec<Value>> {
        // Other tests use the project at the same time, and wait less long for a lost creation.
        let ids: BTreeSet<_> = ids.iter().map(|(_, id)| id.clone()).collect();
        let cloud = Arc::clone(&self.cloud);
        tokio::spawn(async move {
            loop {
                let marks = cloud.marks().await;
                if let Some((id, _)) =
                    marks.iter().find(|(id, count)| **count > 1 && ids.contains(*id))
                {
                    return cloud.marked(id).await;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        })
    }

    /// Waits for all of `ids`, while no mark may have a second object.
    async fn each_is_made_once(&self, ids: &[(String, String)]) {
        let watch = self.watch(ids);
        for (kind, id) in ids {
            reaches(&self.server.client, id, "ok", PATIENCE).await;
            println!("{kind}: made");
        }
        // What was asked for a second time comes last.
        while !self.proxy.trap.is_idle() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        watch.abort();
        // It ends by itself once it saw two.
        let twice = match watch.await {
            Ok(objects) => objects,
            Err(ended) => {
                assert!(ended.is_cancelled(), "the lists could not be read: {ended}");
                Vec::new()
            }
        };
        assert!(twice.is_empty(), "an entity had two objects: {twice:#?}");
        let marks = self.cloud.marks().await;
        for (kind, id) in ids.iter().filter(|(kind, _)| kind != "keypair") {
            assert_eq!(marks.get(id), Some(&1), "{kind}");
        }
    }
}

fn outside() -> Value {
    json!({ "network_id": variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public") })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_is_made_once_though_its_creation_is_answered_late() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let slow = Slow::new(cloud).await;
    let (network, net) = slow.made("network", json!({ "name": unique("slow-ground") })).await;
    let (volume, disk) = slow.made("volume", json!({ "size": 1 })).await;
    let mut machine = server(&unique("slow-ground"));
    machine["volumes"] = json!([disk]);
    let (machine, of) = slow.made("server", machine).await;
    slow.proxy.trap.hold_creations(HELD);
    let mut ids = Vec::new();
    for (kind, desired) in [
        ("network", json!({ "name": unique("slow") })),
        ("subnet", json!({ "network_id": net, "cidr": "10.94.0.0/24" })),
        ("port", json!({ "network_id": net })),
        ("router", json!({ "name": unique("slow"), "external_gateway_info": outside() })),
        ("floating_ip", json!({ "floating_network_id": outside()["network_id"] })),
        ("security_group", json!({ "name": unique("slow") })),
        ("volume", json!({ "size": 1 })),
        ("snapshot", json!({ "volume_id": disk, "name": unique("slow") })),
        ("backup", json!({ "server_id": of, "name": unique("slow") })),
        ("server_group", json!({ "name": unique("slow"), "policy": "soft-affinity" })),
        (
            "keypair",
            json!({
                "name": unique("slow"),
                "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVmjp6nmRYdQeCFqfbkmfP8zPPCuUt5LXyFQxdJZhlG",
            }),
        ),
        (
            "image",
            json!({ "name": unique("slow"), "disk_format": "raw", "container_format": "bare" }),
        ),
        ("server", server(&unique("slow"))),
    ] {
        ids.push((kind.to_owned(), slow.declare(kind, desired).await));
    }
    slow.each_is_made_once(&ids).await;
    assert!(slow.proxy.trap.creations() >= ids.len(), "each was held");
    slow.proxy.trap.hold_creations(Duration::ZERO);
    for (_, id) in ids.iter().rev() {
        slow.unmade(id).await;
    }
    for id in [machine, volume, network] {
        slow.unmade(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_a_creation_is_held_makes_no_second_object() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let mut slow = Slow::new(cloud).await;
    let (network, net) = slow.made("network", json!({ "name": unique("slow-killed") })).await;
    slow.proxy.trap.hold_creations(HELD);
    let mut ids = Vec::new();
    for (kind, desired) in [
        ("port", json!({ "network_id": net, "name": unique("slow-killed") })),
        ("security_group", json!({ "name": unique("slow-killed") })),
        ("volume", json!({ "size": 1 })),
    ] {
        ids.push((kind.to_owned(), slow.declare(kind, desired).await));
    }
    while slow.proxy.trap.creations() < ids.len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    slow.server.kill_now().await;
    slow.server = slow.setup.start().await;
    slow.each_is_made_once(&ids).await;
    slow.proxy.trap.hold_creations(Duration::ZERO);
    for (_, id) in &ids {
        slow.unmade(id).await;
    }
    slow.unmade(&network).await;
}
