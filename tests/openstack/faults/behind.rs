//! Changes by others: an object is gone, or the credentials lead to another project.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::super::cloud::Cloud;
use super::super::lifecycle::{configuration, manifest, unique};
use super::{Breakable, text};
use crate::harness::{Setup, condition, reason, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_another_client_deleted_is_made_anew_only_after_a_decision() {
    let Some(broken) = Breakable::new("").await else { return };
    let id = broken.volume("fault-lost").await;
    let client = &broken.server.client;
    let entity = client.reaches(&id, "ok").await;
    let first = text(&entity["observed"]["external_id"]);
    broken.cloud.ask(Method::DELETE, "volume", &format!("/volumes/{first}"), Value::Null).await;
    until("it asks", async || {
        let entity = client.entity(&id).await;
        (reason(&entity, "blocked") == "DecisionNeeded").then_some(())
    })
    .await;
    assert_eq!(broken.cloud.marked(&id).await, Vec::<Value>::new(), "nobody decided yet");
    let decide = format!("/v1/entities/{id}/actions/decide");
    let body = json!({ "decision": "create" });
    let decided = client.send(Method::POST, &decide, Some(&body), &[]).await.unwrap();
    assert!(decided.status.is_success(), "{:#}", decided.body);
    let entity = client.reaches(&id, "ok").await;
    assert_ne!(text(&entity["observed"]["external_id"]), first, "{entity:#}");
    broken.ends_well(&id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keypair_that_another_client_deleted_is_made_anew() {
    let Some(broken) = Breakable::new("").await else { return };
    let name = unique("fault-keypair");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVmjp6nmRYdQeCFqfbkmfP8zPPCuUt5LXyFQxdJZhlG";
    let desired = json!({ "name": name, "public_key": key });
    let id = broken.declare("keypair", "fault-keypair", desired).await;
    broken.server.client.reaches(&id, "ok").await;
    let path = format!("/os-keypairs/{name}");
    broken.cloud.ask(Method::DELETE, "compute", &path, Value::Null).await;
    until("it is there again", async || (broken.cloud.keypairs(&name).await == 1).then_some(()))
        .await;
    let client = &broken.server.client;
    client.reaches(&id, "ok").await;
    client.done(Method::DELETE, &format!("/v1/entities/{id}"), Value::Null).await;
    assert_eq!(broken.cloud.keypairs(&name).await, 0);
}

/// Networks that carry the mark of any entity.
async fn networks(cloud: &Cloud) -> usize {
    let path = format!("/v2.0/networks?project_id={}", cloud.project());
    let list = cloud.ask(Method::GET, "network", &path, Value::Null).await;
    list["networks"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_project_under_the_same_name_is_not_touched_and_nothing_counts_as_lost() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let Some(other) = Cloud::admin().await else { return };
    let config = |cloud: &Cloud| configuration(&cloud.name, &cloud.auth_url, "1s");
    let setup = Setup::new(&config(&cloud));
    let mut server = setup.start().await;
    let name = unique("fault-project");
    let volume = manifest("volume", &name, json!({ "name": name, "size": 1 }));
    let made = server.client.done(Method::POST, "/v1/entities", volume).await;
    let id = text(&made.body["entity"]["id"]);
    let file = setup.folder.path().join("stateward.toml");
    let before = networks(&other).await;

    assert!(server.terminate().await.success());
    std::fs::write(&file, config(&other)).unwrap();
    let mut server = setup.start().await;
    until("the backend is closed", async || {
        let backend = server.client.get("/v1/backends/cloud").await.body;
        backend["closed"].to_string().contains("identity").then_some(())
    })
    .await;
    let update = json!({ "desired": { "name": "changed", "size": 1 } });
    let path = format!("/v1/entities/{id}");
    server.client.send(Method::PUT, &path, Some(&update), &[]).await.unwrap();
    let network = manifest("network", &name, json!({ "name": name }));
    let reply = server.client.send(Method::POST, "/v1/entities", Some(&network), &[]).await;
    let new = text(&reply.unwrap().body["entity"]["id"]);
    for id in [&id, &new] {
        until("it waits", async || {
            let entity = server.client.entity(id).await;
            (reason(&entity, "blocked") == "BackendUnavailable").then_some(())
        })
        .await;
    }
    assert!(!condition(&server.client.entity(&id).await, "lost"));
    assert_eq!(networks(&other).await, before, "something was made in the wrong project");

    // Back in the right project, work continues without a restart once a person has confirmed it.
    std::fs::write(&file, config(&cloud)).unwrap();
    let reload = server.client.send(Method::POST, "/v1/backends/reload", None, &[]).await.unwrap();
    assert_eq!(reload.status, StatusCode::OK, "{:#}", reload.body);
    let resume = "/v1/backends/cloud/actions/resume";
    let why = json!({ "reason": "it is the right one again" });
    let resumed = server.client.send(Method::POST, resume, Some(&why), &[]).await.unwrap();
    assert_eq!(resumed.status, StatusCode::OK, "{:#}", resumed.body);
    for id in [&id, &new] {
        server.client.reaches(id, "ok").await;
        assert_eq!(cloud.marked(id).await.len(), 1, "one");
        server.client.done(Method::DELETE, &format!("/v1/entities/{id}"), Value::Null).await;
        assert_eq!(cloud.marked(id).await, Vec::<Value>::new(), "left behind");
    }
    assert!(server.terminate().await.success());
}
