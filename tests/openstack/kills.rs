//! The server is killed after each single request of an object's lifecycle, before it gets the reply: there is exactly
//! one object all the time, and none at the end.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::lifecycle::{configuration, manifest, server, unique, variable};
use super::proxy::Proxy;
use crate::harness::{Server, Setup, WAIT_MAX, text, until};

/// More requests than any lifecycle has: a longer one fails the test.
const LONGEST: usize = 80;

/// A server behind the proxy, restarted whenever it was killed.
struct Mortal {
    setup: Setup,
    cloud: Cloud,
    proxy: Proxy,
    server: Server,
}

impl Mortal {
    async fn new(cloud: Cloud) -> Self {
        let proxy = Proxy::before(&cloud).await;
        let setup = Setup::new(&configuration(&cloud.name, &proxy.auth_url, "10m"));
        let server = setup.start().await;
        proxy.trap.watch(Some(server.pid()));
        Self { setup, cloud, proxy, server }
    }

    /// Restarts it if it is dead.
    async fn revive(&mut self) {
        if self.server.is_dead() {
            self.proxy.trap.watch(None);
            self.server = self.setup.start().await;
            self.proxy.trap.watch(Some(self.server.pid()));
        }
    }

    /// A request that is repeated, under one idempotency key, until it is answered.
    async fn ask(&mut self, method: Method, path: &str, body: &Value, key: &str) -> Value {
        let body = (!body.is_null()).then_some(body);
        let started = std::time::Instant::now();
        loop {
            assert!(started.elapsed() < WAIT_MAX, "{method} {path} is never answered");
            self.revive().await;
            let headers = [("Idempotency-Key", key)];
            let headers = if method == Method::GET { &[][..] } else { &headers };
            let client = self.server.client.clone();
            match client.send(method.clone(), path, body, headers).await {
                Ok(reply) if reply.status != StatusCode::SERVICE_UNAVAILABLE => {
                    assert!(reply.status.is_success(), "{method} {path}: {:#}", reply.body);
                    return reply.body;
                }
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }

    async fn reaches(&mut self, id: &str, state: &str) {
        let started = std::time::Instant::now();
        loop {
            let entity =
                self.ask(Method::GET, &format!("/v1/entities/{id}"), &Value::Null, "").await;
            if entity["state"] == state {
                return;
            }
            assert!(started.elapsed() < WAIT_MAX, "not {state}: {entity:#}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Objects of an entity in the cloud.
    async fn count(&self, kind: &str, id: &str, name: &str) -> usize {
        match kind {
            "keypair" => self.cloud.keypairs(name).await,
            "project" => self.cloud.projects(id).await,
            _ => self.cloud.marked(id).await.len(),
        }
    }

    /// Declares an entity while no kill is armed; returns our id and the cloud's.
    async fn made(&mut self, kind: &str, desired: Value) -> (String, String) {
        let name = unique(&format!("kill-with-{kind}"));
        let declared = manifest(kind, &name, desired);
        let reply = self.ask(Method::POST, "/v1/entities", &declared, &name).await;
        let id = text(&reply["entity"]["id"]);
        self.reaches(&id, "ok").await;
        let path = format!("/v1/entities/{id}");
        let entity = self.ask(Method::GET, &path, &Value::Null, "").await;
        (id, text(&entity["observed"]["external_id"]))
    }

    /// Deletes it again.
    async fn unmade(&mut self, id: &str) {
        let path = format!("/v1/entities/{id}");
        self.ask(Method::DELETE, &path, &Value::Null, &format!("{id}-d")).await;
        self.reaches(id, "deleted").await;
    }

    /// One lifecycle in which the server dies after the `n`th request; returns whether it had that many.
    async fn lifecycle(&mut self, kind: &str, desired: &Value, n: usize) -> bool {
        let name = unique(&format!("kill-{kind}-{n}"));
        let mut desired = desired.clone();
        desired[if kind == "floating_ip" { "description" } else { "name" }] = json!(name);
        self.proxy.trap.arm(n);
        let declared = manifest(kind, &name, desired);
        let reply = self.ask(Method::POST, "/v1/entities", &declared, &format!("{name}-c")).await;
        let id = text(&reply["entity"]["id"]);
        self.reaches(&id, "ok").await;
        assert_eq!(self.count(kind, &id, &name).await, 1, "{kind}, killed after {n}");
        let path = format!("/v1/entities/{id}");
        self.ask(Method::DELETE, &path, &Value::Null, &format!("{name}-d")).await;
        self.reaches(&id, "deleted").await;
        let killed = self.proxy.trap.disarm();
        assert_eq!(self.count(kind, &id, &name).await, 0, "{kind}, killed after {n}: left");
        killed.0
    }

    /// All lifecycles, until one ends before its `n`th request.
    async fn lives(&mut self, kind: &str, desired: Value) {
        for n in 1..LONGEST {
            if !self.lifecycle(kind, &desired, n).await {
                println!("{kind}: killed after each of {} requests", n - 1);
                assert!(n > 4, "{kind}: nothing went through the proxy");
                return;
            }
        }
        panic!("{kind}: more than {LONGEST} requests in one lifecycle");
    }
}

macro_rules! kills {
    ($($test:ident, $kind:literal: $desired:expr;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let Some(cloud) = Cloud::wanted().await else { return };
                Mortal::new(cloud).await.lives($kind, $desired).await;
            }
        )*
    };
}

kills! {
    a_volume_is_made_once_whenever_the_server_dies, "volume": json!({ "size": 1 });
    a_network_is_made_once_whenever_the_server_dies, "network": json!({ "description": "ours" });
    a_security_group_is_made_once_whenever_the_server_dies, "security_group": json!({
        "rules": [{ "protocol": "tcp", "port_range_min": 22, "port_range_max": 22 }],
    });
    a_keypair_is_made_once_whenever_the_server_dies, "keypair": json!({
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVmjp6nmRYdQeCFqfbkmfP8zPPCuUt5LXyFQxdJZhlG",
    });
    a_server_is_made_once_whenever_the_server_dies, "server": server("");
    a_router_is_made_once_whenever_the_server_dies, "router": json!({
        "external_gateway_info": { "network_id": outside() },
    });
    a_floating_ip_is_made_once_whenever_the_server_dies, "floating_ip": json!({
        "floating_network_id": outside(),
    });
    a_server_group_is_made_once_whenever_the_server_dies, "server_group": json!({
        "policy": "soft-anti-affinity",
    });
    an_image_is_made_once_whenever_the_server_dies, "image": json!({
        "disk_format": "raw", "container_format": "bare", "content": "c3RhdGV3YXJk",
    });
}

fn outside() -> String {
    variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_a_network_is_made_once_whenever_the_server_dies() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let mut mortal = Mortal::new(cloud).await;
    let network = mortal.cloud.network(&unique("kill-network")).await;
    mortal.lives("port", json!({ "network_id": network })).await;
    mortal.lives("subnet", json!({ "network_id": network, "cidr": "10.97.0.0/24" })).await;
    let path = format!("/v2.0/networks/{network}");
    mortal.cloud.ask(Method::DELETE, "network", &path, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_made_once_whenever_the_server_dies() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let mut mortal = Mortal::new(cloud).await;
    let body = json!({ "volume": { "name": unique("kill-snapshot"), "size": 1 } });
    let volume = mortal.cloud.ask(Method::POST, "volume", "/volumes", body).await;
    let volume = text(&volume["volume"]["id"]);
    let path = format!("/volumes/{volume}");
    until("the volume can be used", async || {
        let shown = mortal.cloud.ask(Method::GET, "volume", &path, Value::Null).await;
        (shown["volume"]["status"] == "available").then_some(())
    })
    .await;
    mortal.lives("snapshot", json!({ "volume_id": volume })).await;
    mortal.cloud.ask(Method::DELETE, "volume", &path, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_made_once_whenever_the_server_dies() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let mut mortal = Mortal::new(cloud).await;
    let (volume, disk) = mortal.made("volume", json!({ "size": 1 })).await;
    let mut desired = server(&unique("kill-backup"));
    desired["volumes"] = json!([disk]);
    let (machine, of) = mortal.made("server", desired).await;
    mortal.lives("backup", json!({ "server_id": of })).await;
    mortal.unmade(&machine).await;
    mortal.unmade(&volume).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_made_once_whenever_the_server_dies() {
    if Cloud::wanted().await.is_none() {
        return;
    }
    let Some(cloud) = Cloud::admin().await else { return };
    let quotas = json!({ "quotas": { "volume": { "volumes": 3 } } });
    Mortal::new(cloud).await.lives("project", quotas).await;
}
