//! Who may come in holds on every node.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Nodes;
use crate::harness::{Client, Database, Setup, WAIT_MAX, text};
use crate::watch::{Seen, listen};

/// Issues a token over a node; its id and its value.
async fn issued(client: &Client) -> (String, String) {
    let body = json!({ "actor": "ci", "grants": [{ "role": "viewer" }] });
    let reply = client.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::CREATED, "{:#}", reply.body);
    (text(&reply.body["id"]), text(&reply.body["value"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_and_ends_on_every_node_when_the_reply_arrives() {
    let Some(nodes) = Nodes::start(3).await else { return };
    for round in 0..5 {
        let (id, value) = issued(nodes.client(round)).await;
        for node in 0..3 {
            let caller = nodes.client(node).with_token(&value);
            assert_eq!(caller.get("/v1/kinds").await.status, StatusCode::OK, "node {node}");
        }
        let path = format!("/v1/tokens/{id}");
        let revoked = nodes.client(round + 1).send(Method::DELETE, &path, None, &[]).await.unwrap();
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
        for node in 0..3 {
            let caller = nodes.client(node).with_token(&value);
            let status = caller.get("/v1/kinds").await.status;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "node {node}");
        }
    }
}

/// A node that does not read, because it is frozen, must not let a token in that was revoked meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_refuses_issued_tokens_until_it_has_read_what_happened() {
    let Some(nodes) = Nodes::start(2).await else { return };
    let (id, value) = issued(nodes.client(0)).await;
    let frozen = nodes.servers[1].pid();
    rustix::process::kill_process(frozen, rustix::process::Signal::STOP).unwrap();
    let path = format!("/v1/tokens/{id}");
    let began = tokio::time::Instant::now();
    let revoked = nodes.client(0).send(Method::DELETE, &path, None, &[]).await.unwrap();
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    assert!(began.elapsed().as_secs() < 10, "answered after {:?}", began.elapsed());
    rustix::process::kill_process(frozen, rustix::process::Signal::CONT).unwrap();
    let caller = nodes.client(1).with_token(&value);
    let status = caller.get("/v1/kinds").await.status;
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::SERVICE_UNAVAILABLE];
    assert!(refused.contains(&status), "{status}");
}

/// A watch on a node that was frozen while its token was revoked sends nothing that happened after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_a_revoked_token_ends_on_a_frozen_node_before_what_followed() {
    let Some(nodes) = Nodes::start(2).await else { return };
    let (id, value) = issued(nodes.client(0)).await;
    let first = nodes.declare(0, "before", json!({ "size": 1 })).await.1;
    let watcher = nodes.client(1).with_token(&value);
    let query = format!("type=entity.create_requested&after={first}");
    let watch = tokio::spawn(async move {
        let mut seen = Seen::default();
        listen(&watcher, &query, &mut seen, usize::MAX).await;
        seen.names
    });
    nodes.declare(0, "shown", json!({ "size": 1 })).await;
    let frozen = nodes.servers[1].pid();
    rustix::process::kill_process(frozen, rustix::process::Signal::STOP).unwrap();
    let path = format!("/v1/tokens/{id}");
    let revoked = nodes.client(0).send(Method::DELETE, &path, None, &[]).await.unwrap();
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    for number in 0..20 {
        nodes.declare(0, &format!("secret-{number}"), json!({ "size": 1 })).await;
    }
    rustix::process::kill_process(frozen, rustix::process::Signal::CONT).unwrap();
    let shown = tokio::time::timeout(WAIT_MAX, watch).await.expect("the watch ends").unwrap();
    assert!(shown.iter().all(|name| !name.starts_with("secret")), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_was_made_on_one_node_is_used_on_another_at_once() {
    let Some(nodes) = Nodes::start(2).await else { return };
    let body = json!({ "name": "physics" });
    let made = nodes.client(0).send(Method::POST, "/v1/namespaces", Some(&body), &[]).await;
    assert_eq!(made.unwrap().status, StatusCode::CREATED);
    let manifest = json!({
        "kind": "fake.thing", "name": "a", "namespace": "physics", "backend": "sandbox",
        "desired": { "size": 1 },
    });
    nodes.client(1).done(Method::POST, "/v1/entities", manifest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_was_deleted_on_one_node_takes_nothing_on_another() {
    let Some(nodes) = Nodes::start(3).await else { return };
    for round in 0..6 {
        let name = format!("n{round}");
        let body = json!({ "name": name });
        let made = nodes.client(round).send(Method::POST, "/v1/namespaces", Some(&body), &[]).await;
        assert_eq!(made.unwrap().status, StatusCode::CREATED);
        let path = format!("/v1/namespaces/{name}");
        let deleted = nodes.client(round + 1).send(Method::DELETE, &path, None, &[]).await.unwrap();
        assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{:#}", deleted.body);
        for node in 0..3 {
            let manifest = json!({
                "kind": "fake.thing", "name": "a", "namespace": name, "backend": "sandbox",
                "desired": { "size": 1 },
            });
            let over = nodes.client(round + node);
            let late = over.send(Method::POST, "/v1/entities", Some(&manifest), &[]).await.unwrap();
            assert!(late.status.is_client_error(), "node {node}: {:#}", late.body);
        }
    }
}

/// Without a configured token, the one that the first node made counts on all, and the others write none.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_nodes_token_holds_on_all_of_them() {
    let Some(database) = Database::shared() else { return };
    let first = Setup::sharing(&database, "", None);
    let one = first.start().await;
    let second = Setup::sharing(&database, "", Some(&one.client.token));
    let two = second.start().await;
    assert_eq!(two.client.get("/v1/tokens").await.status, StatusCode::OK);
    assert!(!second.data().join("admin.token").exists(), "a token that would let nobody in");
    drop(one);
    drop(two);
    // A node that has another file says so, and does not accept what it holds.
    std::fs::write(second.data().join("admin.token"), "stw_another").unwrap();
    let again = second.start().await;
    assert_eq!(again.client.get("/v1/tokens").await.status, StatusCode::OK);
    let other = again.client.with_token("stw_another").get("/v1/tokens").await;
    assert_eq!(other.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_with_what_they_run_and_differing_configurations_are_named() {
    let Some(mut nodes) = Nodes::start(1).await else { return };
    nodes.join("api").await;
    nodes.join("worker").await;
    nodes.know_each_other().await;
    let list = nodes.client(1).get("/v1/nodes").await.body;
    let items = list["items"].as_array().unwrap();
    let roles: Vec<_> = items.iter().map(|node| text(&node["role"])).collect();
    assert_eq!(roles, ["all", "api", "worker"]);
    let answering: Vec<_> = items.iter().filter(|node| node["answers"] == true).collect();
    assert_eq!(answering.len(), 1);
    assert_eq!(answering[0]["role"], "api");
    let ready = nodes.client(0).get("/readyz").await.body;
    assert_eq!(check(&ready, "nodes")["ok"], true, "{ready:#}");
    let other = Setup::sharing(
        &nodes.database,
        &format!(
            "[server]\nadmin_token = {{ env = \"PATH\" }}\n\
             [backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\nconcurrency = 1\n",
            nodes.world.url
        ),
        Some(&std::env::var("PATH").unwrap()),
    );
    let _server = other.start().await;
    crate::harness::until("the difference is shown", async || {
        let ready = nodes.client(0).get("/readyz").await.body;
        let shown = check(&ready, "nodes");
        (shown["ok"] == false && text(&shown["detail"]).contains("sandbox")).then_some(())
    })
    .await;
}

fn check<'a>(ready: &'a Value, name: &str) -> &'a Value {
    let checks = ready["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).expect("the check")
}
