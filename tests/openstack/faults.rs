//! Faults of the cloud itself. `STATEWARD_TEST_OPENSTACK_SCRIPT` names a script that causes them; these tests run one at
//! a time.

mod behind;
mod refused;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::cloud::Cloud;
use super::lifecycle::{configuration, manifest, unique};
use crate::harness::{Server, Setup, condition, text, until};
use crate::skip::skipped;

/// A server, the cloud, and the script that causes faults.
struct Breakable {
    setup: Setup,
    server: Server,
    cloud: Cloud,
    script: String,
}

impl Breakable {
    /// `None`, with the reason recorded, where no faults may be caused.
    async fn new(more: &str) -> Option<Self> {
        let cloud = Cloud::wanted().await?;
        let Ok(script) = std::env::var("STATEWARD_TEST_OPENSTACK_SCRIPT") else {
            skipped("STATEWARD_TEST_OPENSTACK_SCRIPT names no script");
            return None;
        };
        // The test before may have stopped in the middle.
        run(&script, "fault clear").await;
        let config = configuration(&cloud.name, &cloud.auth_url, "1s") + more;
        let setup = Setup::new(&config);
        let server = setup.start().await;
        Some(Self { setup, server, cloud, script })
    }

    async fn run(&self, arguments: &str) {
        run(&self.script, arguments).await;
    }

    /// Declares a volume and does not wait: its id.
    async fn volume(&self, name: &str) -> String {
        self.declare("volume", name, json!({ "name": name, "size": 1 })).await
    }

    /// Declares an entity and does not wait: its id.
    async fn declare(&self, kind: &str, name: &str, desired: Value) -> String {
        let declared = manifest(kind, &unique(name), desired);
        let client = &self.server.client;
        let reply = client.send(Method::POST, "/v1/entities", Some(&declared), &[]).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
        text(&reply.body["entity"]["id"])
    }

    /// Checks that exactly one object exists; then deletes the entity, and checks that nothing is left.
    async fn ends_well(&self, id: &str) {
        self.server.client.reaches(id, "ok").await;
        assert_eq!(self.cloud.marked(id).await.len(), 1, "one");
        let path = format!("/v1/entities/{id}");
        self.server.client.done(Method::DELETE, &path, Value::Null).await;
        assert_eq!(self.cloud.marked(id).await, Vec::<Value>::new(), "left behind");
    }
}

async fn run(script: &str, arguments: &str) {
    let done = Command::new("bash").arg(script).args(arguments.split(' ')).output().await;
    let done = done.unwrap();
    assert!(done.status.success(), "{arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_fails_again_and_again_is_erred_and_made_once_when_retried() {
    let Some(broken) = Breakable::new("").await else { return };
    broken.run("fault volume-create error").await;
    let id = broken.volume("fault-create").await;
    let entity = broken.server.client.reaches(&id, "erred").await;
    broken.run("fault clear").await;
    let why = entity["error"]["message"].to_string();
    assert!(why.contains(": "), "what the cloud itself says: {entity:#}");
    println!("{why}");
    let retry = format!("/v1/entities/{id}/actions/retry");
    broken.server.client.waited(Method::POST, &retry, Value::Null).await;
    broken.ends_well(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_waits_for_its_service_and_is_done_when_it_is_back() {
    let Some(broken) = Breakable::new("").await else { return };
    broken.run("stop cinder-volume").await;
    let id = broken.volume("fault-stopped").await;
    until("it is asked for", async || (broken.cloud.marked(&id).await.len() == 1).then_some(()))
        .await;
    assert_eq!(broken.server.client.entity(&id).await["state"], "creating");
    broken.run("start cinder-volume").await;
    broken.ends_well(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_asked_of_a_frozen_service_is_made_once() {
    let Some(broken) = Breakable::new("call_timeout = \"3s\"\n").await else { return };
    let (first, client) = (broken.volume("fault-warm").await, &broken.server.client);
    broken.ends_well(&first).await;
    broken.run("pause cinder-api").await;
    let id = broken.volume("fault-frozen").await;
    until("it gave up once", async || {
        let entity = client.entity(&id).await;
        (!entity["error"].is_null() || condition(&entity, "blocked")).then_some(())
    })
    .await;
    broken.run("resume cinder-api").await;
    broken.ends_well(&id).await;
    assert!(broken.setup.data().join("events.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_expire_in_the_middle_are_renewed_unnoticed() {
    let Some(broken) = Breakable::new("").await else { return };
    broken.run("token-ttl 5").await;
    let short = broken.setup.start_in(&broken.setup.folder.path().join("other")).await;
    let started = std::time::Instant::now();
    let mut number = 0;
    while started.elapsed().as_secs() < 12 {
        number += 1;
        let name = unique(&format!("fault-token-{number}"));
        let declared = manifest("network", &name, json!({ "name": name }));
        let made = short.client.done(Method::POST, "/v1/entities", declared).await;
        let path = format!("/v1/entities/{}", text(&made.body["entity"]["id"]));
        short.client.done(Method::DELETE, &path, Value::Null).await;
    }
    broken.run("token-ttl 3600").await;
}
