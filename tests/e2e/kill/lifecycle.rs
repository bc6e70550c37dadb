//! A lifecycle that makes every sort of call, driven by a client that repeats unanswered requests.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Lost, Server, Setup, World, condition, text, thing, until};

/// A server that may die once at a crash point, and is restarted without one.
pub(super) struct Lifecycle {
    setup: Setup,
    pub(super) world: World,
    server: Server,
    /// Whether it died.
    pub(super) died: bool,
    operations: Vec<String>,
}

/// How often a request is repeated before the test gives up.
const TRIES: usize = 4;

impl Lifecycle {
    /// Starts with `crash_points` set.
    pub(super) async fn begin(crash_points: &str) -> Self {
        let world = World::start().await;
        let setup = Setup::with_world(&world.url);
        let (server, died) = match setup.start_with(crash_points).await {
            Ok(server) => (server, false),
            Err(_) => (setup.start().await, true),
        };
        Self { setup, world, server, died, operations: Vec::new() }
    }

    fn client(&self) -> &Client {
        &self.server.client
    }

    /// Restarts a server that died at its crash point; an alive one stays.
    async fn restart_if_dead(&mut self) {
        if self.server.is_dead() {
            self.died = true;
            self.server = self.setup.start().await;
        }
    }

    /// Kills the server; the next one has no crash points.
    async fn kill(&mut self) {
        self.died |= self.server.is_dead();
        self.server.kill_now().await;
        self.server = self.setup.start().await;
    }

    /// Sends a request, repeated under the same idempotency key until it is answered; returns the reply's body.
    async fn send(&mut self, method: Method, path: &str, body: Value, wait: bool) -> Value {
        let key = format!("{method} {path} {}", self.operations.len());
        let mut headers = vec![("Idempotency-Key", key.as_str())];
        if wait {
            headers.push(("Prefer", "wait=30"));
        }
        for _ in 0..TRIES {
            match self.client().send(method.clone(), path, Some(&body), &headers).await {
                Ok(reply) if reply.status == StatusCode::SERVICE_UNAVAILABLE => {}
                Ok(reply) => {
                    assert!(reply.status.is_success(), "{method} {path}: {:#}", reply.body);
                    let operation = text(&reply.body["operation"]["id"]);
                    self.operations.push(operation);
                    return reply.body;
                }
                Err(Lost) => {}
            }
            // The connection breaks a moment before the process is gone.
            if tokio::time::timeout(std::time::Duration::from_secs(2), self.server.ended())
                .await
                .is_ok()
            {
                self.restart_if_dead().await;
            }
        }
        panic!("{method} {path} was not answered");
    }

    async fn declare(&mut self, name: &str, desired: Value, wait: bool) -> (String, String) {
        let body = self.send(Method::POST, "/v1/entities", thing(name, desired), wait).await;
        (text(&body["entity"]["id"]), text(&body["operation"]["id"]))
    }

    /// Runs the whole lifecycle.
    pub(super) async fn run(&mut self) {
        let (a, _) = self.declare("a", json!({ "size": 1 }), true).await;
        self.declare("slow", json!({ "_fake": { "pending_ms": 100 } }), true).await;
        let doubt = json!({ "_fake": { "fail": { "create": "ambiguous" }, "times": 1 } });
        self.declare("doubtful", doubt, true).await;
        let file = json!({
            "kind": "local.file", "name": "file", "backend": "local",
            "desired": { "path": "file", "content": "x" },
        });
        self.send(Method::POST, "/v1/entities", file, true).await;

        for action in ["test", "pause", "resume"] {
            let path = format!("/v1/backends/sandbox/actions/{action}");
            self.send(Method::POST, &path, json!({}), false).await;
        }
        for projection in ["sync_queue", "entities"] {
            let path = format!("/v1/projections/{projection}/rebuild");
            self.send(Method::POST, &path, json!({}), false).await;
        }
        let path = format!("/v1/entities/{a}");
        // Longer than a third of a lease, so that the lease is renewed.
        self.world.latency(400).await;
        self.send(Method::PUT, &path, json!({ "desired": { "size": 2 } }), true).await;
        self.world.latency(0).await;
        self.send(Method::POST, &format!("{path}/actions/poke"), json!({}), true).await;

        let (other, _) = self.declare("other", json!({ "immutable": "old" }), true).await;
        let replace = format!("/v1/entities/{other}?replace=true");
        self.send(Method::PUT, &replace, json!({ "desired": { "immutable": "new" } }), true).await;

        let (gone, _) = self.declare("gone", json!({ "size": 3 }), true).await;
        self.send(Method::DELETE, &format!("/v1/entities/{gone}"), json!({}), true).await;
        self.delete_a_used_one().await;
        self.cancel_a_long_one().await;
        self.send(Method::PUT, &path, json!({ "desired": { "size": 4 } }), false).await;
    }

    /// Deletes what something outside uses at first.
    async fn delete_a_used_one(&mut self) {
        let used = json!({ "_fake": { "used_by": "port p" } });
        let (id, _) = self.declare("used", used, true).await;
        let path = format!("/v1/entities/{id}");
        let body = self.send(Method::DELETE, &path, json!({}), false).await;
        let object = text(&body["entity"]["observed"]["external_id"]);
        self.shows(&path, |entity| condition(entity, "blocked")).await;
        self.world.tamper(&object, &json!({})).await;
        self.shows(&path, |entity| entity["state"] == "deleted").await;
    }

    /// Waits until the entity at `path` satisfies `is`, also if the server dies meanwhile.
    async fn shows(&mut self, path: &str, is: impl Fn(&Value) -> bool + Sync + Send) {
        // A restarted server has no crash point.
        for _ in 0..2 {
            until(path, async || {
                let reply = self.client().send(Method::GET, path, None, &[]).await;
                let Ok(reply) = reply else { return Some(()) };
                is(&reply.body).then_some(())
            })
            .await;
            self.restart_if_dead().await;
        }
    }

    /// Starts a creation that takes a minute, and cancels it once the backend works on it.
    async fn cancel_a_long_one(&mut self) {
        let long = json!({ "_fake": { "pending_ms": 60_000 } });
        let (id, operation) = self.declare("long", long, false).await;
        until("the long creation runs", async || {
            let events = format!("/v1/entities/{id}/events");
            let reply = self.client().send(Method::GET, &events, None, &[]).await;
            let Ok(reply) = reply else { return Some(()) };
            reply.body.to_string().contains("entity.sync_progressed").then_some(())
        })
        .await;
        self.restart_if_dead().await;
        self.send(Method::POST, &format!("/v1/operations/{operation}/cancel"), json!({}), false)
            .await;
        until("the long creation has been taken back", async || {
            let path = format!("/v1/operations/{operation}");
            let reply = self.client().send(Method::GET, &path, None, &[]).await;
            let Ok(reply) = reply else { return Some(()) };
            (reply.body["done"] == true).then_some(())
        })
        .await;
        self.restart_if_dead().await;
    }

    /// Checks that every acknowledged operation has ended, and that the world has exactly the expected things.
    pub(super) async fn verify(&mut self) {
        self.kill().await;
        let entities = self.client().settled().await;
        for id in self.operations.iter().filter(|id| !id.is_empty()) {
            until(&format!("operation {id} has ended"), async || {
                let operation = self.client().get(&format!("/v1/operations/{id}")).await;
                assert_eq!(operation.status, StatusCode::OK, "acknowledged, then forgotten");
                (operation.body["done"] == true).then_some(())
            })
            .await;
        }
        let mut names: Vec<_> = entities.iter().map(|entity| text(&entity["name"])).collect();
        names.sort();
        assert_eq!(names, ["a", "doubtful", "file", "other", "slow"], "{entities:#?}");
        for entity in &entities {
            assert_eq!(entity["state"], "ok", "{entity:#}");
            assert!(condition(entity, "synced"), "{entity:#}");
        }
        let a = entities.iter().find(|entity| entity["name"] == "a").expect("listed above");
        assert_eq!(a["observed"]["attributes"]["size"], 4);
        let other = entities.iter().find(|entity| entity["name"] == "other").expect("listed above");
        assert_eq!(other["observed"]["attributes"]["immutable"], "new");
        let counts = self.world.counts().await;
        counts.assert_none_twice();
        assert_eq!(counts.objects, 4, "{counts:?}");
        assert!(counts.actions.values().all(|count| *count == 1), "poked twice: {counts:?}");
        let file = std::fs::read_to_string(self.setup.managed().join("file"));
        assert_eq!(file.expect("the file is there"), "x");
    }
}
