//! Safeguards of a backend: identity, circuit breaker, limits, pauses.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, World, condition, text, thing, until};

async fn sandbox(world: &World, more: &str) -> (Setup, Server) {
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\ndrift_interval = \"500ms\"\n\
         retry = {{ first = \"20ms\", max = \"200ms\" }}\n\
         breaker = {{ failures = 5, probe_interval = \"200ms\" }}\n{more}",
        world.url
    ));
    let server = setup.start().await;
    (setup, server)
}

async fn backend(client: &Client) -> Value {
    client.get("/v1/backends/sandbox").await.body
}

async fn closed_for(client: &Client, cause: &str) {
    until(&format!("closed: {cause}"), async || {
        backend(client).await["closed"].to_string().contains(cause).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_world_under_the_same_name_is_not_touched() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world, "").await;
    let client = &server.client;
    let id = client.thing("kept", json!({ "size": 1 })).await;
    let address = world.end().await;
    let other = World::start_at(&address).await;

    closed_for(client, "identity").await;
    let update = json!({ "desired": { "size": 2 } });
    client.send(Method::PUT, &format!("/v1/entities/{id}"), Some(&update), &[]).await.unwrap();
    let body = thing("new", json!({ "size": 1 }));
    client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    until("what waits says why", async || {
        let entities = client.entities().await;
        entities.iter().all(|entity| condition(entity, "blocked")).then_some(())
    })
    .await;
    assert!(other.counts().await.creates.is_empty(), "something was made in the wrong world");

    let resume = "/v1/backends/sandbox/actions/resume";
    let reason = json!({ "reason": "the cloud was rebuilt" });
    let reply = client.send(Method::POST, resume, Some(&reason), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
    until("the new one is made there", async || {
        (other.counts().await.creates.len() == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_down_is_left_alone_and_comes_back_by_itself() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world, "").await;
    let client = &server.client;
    client.thing("before", json!({ "size": 1 })).await;
    world.down(true).await;
    let mut ids = Vec::new();
    for number in 0..10 {
        let body = thing(&format!("t{number}"), json!({ "size": 1 }));
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED, "wishes are accepted all the same");
        ids.push(text(&reply.body["entity"]["id"]));
    }
    closed_for(client, "breaker").await;
    world.down(false).await;
    for id in &ids {
        client.reaches(id, "ok").await;
    }
    until("the breaker is shut", async || (backend(client).await["open"] == true).then_some(()))
        .await;
    world.counts().await.assert_none_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_calls_at_once_than_allowed() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world, "concurrency = 4\n").await;
    world.latency(20).await;
    for number in 0..60 {
        let body = thing(&format!("t{number}"), json!({ "size": 1 }));
        server.client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    }
    let settled = server.client.settled().await;
    assert!(settled.iter().all(|entity| entity["state"] == "ok"));
    // The sweep and the identity check run beside the rounds.
    let most = world.counts().await.max_in_flight;
    assert!((2..=6).contains(&most), "{most} at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_backend_is_looked_at_and_not_changed() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world, "").await;
    let client = &server.client;
    let id = client.thing("kept", json!({ "size": 1 })).await;
    let pause = "/v1/backends/sandbox/actions/pause";
    let reply = client.send(Method::POST, pause, Some(&json!({})), &[]).await.unwrap();
    assert_eq!(reply.body["paused"], true, "{:#}", reply.body);

    let update = json!({ "desired": { "size": 2 } });
    client.send(Method::PUT, &format!("/v1/entities/{id}"), Some(&update), &[]).await.unwrap();
    let refresh = format!("/v1/entities/{id}/actions/refresh");
    let reply = client.done(Method::POST, &refresh, json!({})).await;
    assert_eq!(reply.body["entity"]["observed"]["attributes"]["size"], 1);
    assert_ne!(reply.body["entity"]["state"], "ok");

    let resume = "/v1/backends/sandbox/actions/resume";
    client.send(Method::POST, resume, Some(&json!({})), &[]).await.unwrap();
    let entity = client.reaches(&id, "ok").await;
    assert_eq!(entity["observed"]["attributes"]["size"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_entity_goes_on_where_it_stopped() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world, "").await;
    let client = &server.client;
    let id = client.thing("paused", json!({ "size": 1 })).await;
    let act = |verb: &str| format!("/v1/entities/{id}/actions/{verb}");
    let reply = client.send(Method::POST, &act("pause"), None, &[]).await.unwrap();
    assert!(condition(&reply.body["entity"], "paused"), "{:#}", reply.body);
    let update = json!({ "desired": { "size": 2 } });
    client.send(Method::PUT, &format!("/v1/entities/{id}"), Some(&update), &[]).await.unwrap();
    let reply = client.done(Method::POST, &act("refresh"), json!({})).await;
    assert_eq!(reply.body["entity"]["observed"]["attributes"]["size"], 1);
    client.send(Method::POST, &act("resume"), None, &[]).await.unwrap();
    client.reaches(&id, "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_changes_nothing() {
    let world = World::start().await;
    let (setup, mut server) = sandbox(&world, "").await;
    let id = server.client.thing("seen", json!({ "size": 1 })).await;
    assert!(server.terminate().await.success());

    let mut command = setup.command();
    command.arg("--observe-only");
    let server = setup.run(command).await.unwrap();
    let client = &server.client;
    assert_eq!(client.get("/readyz").await.body["observe_only"], true);
    let update = json!({ "desired": { "size": 2 } });
    client.send(Method::PUT, &format!("/v1/entities/{id}"), Some(&update), &[]).await.unwrap();
    let refresh = format!("/v1/entities/{id}/actions/refresh");
    let reply = client.done(Method::POST, &refresh, json!({})).await;
    assert_eq!(reply.body["entity"]["observed"]["attributes"]["size"], 1);
}
