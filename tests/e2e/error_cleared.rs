//! The state `erred` ends when the world refutes it, and everything that is observed meanwhile shows.

use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, World, condition, reason, until};

async fn sandbox(world: &World) -> (Setup, Server) {
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\ndrift_interval = \"100ms\"\n\
         retry = {{ first = \"20ms\", max = \"200ms\" }}\n",
        world.url
    ));
    let server = setup.start().await;
    (setup, server)
}

/// What is desired: `times` updates are refused for good.
fn desired(times: u32) -> Value {
    json!({ "size": 1, "_fake": { "fail": { "update": "invalid" }, "times": times } })
}

/// An entity whose repair was refused for good, and its object, of size 9.
async fn unrepaired(world: &World, client: &Client, times: u32) -> (String, String) {
    let id = client.thing("crooked", desired(times)).await;
    let object = client.entity(&id).await["observed"]["external_id"].as_str().unwrap().to_owned();
    world.tamper(&object, &json!({ "size": 9 })).await;
    until("its repair is given up", async || {
        (client.entity(&id).await["state"] == "erred").then_some(())
    })
    .await;
    (id, object)
}

async fn events(client: &Client, id: &str) -> Vec<Value> {
    let body = client.get(&format!("/v1/entities/{id}/events?page_size=1000")).await.body;
    body["items"].as_array().expect("items").clone()
}

/// Waits until the object was observed several more times.
async fn several_observations(world: &World) {
    let before = world.counts().await.requests;
    until("it is observed", async || (world.counts().await.requests > before + 5).then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_as_desired_again_is_no_longer_erred() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let (id, object) = unrepaired(&world, client, 100).await;
    let entity = client.entity(&id).await;
    assert!(!condition(&entity, "synced") && condition(&entity, "drifted"), "{entity:#}");

    world.tamper(&object, &desired(100)).await;
    let entity = until("the error ends", async || {
        let entity = client.entity(&id).await;
        (entity["state"] == "ok").then_some(entity)
    })
    .await;
    assert!(condition(&entity, "synced") && !condition(&entity, "drifted"), "{entity:#}");
    let events = events(client, &id).await;
    let last = events.last().expect("events");
    assert_eq!(last["type"], "entity.error_cleared", "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_is_tried_again_once_the_object_changed_and_records_nothing_until_then() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let (id, object) = unrepaired(&world, client, 1).await;
    several_observations(&world).await;
    let recorded = events(client, &id).await.len();
    several_observations(&world).await;
    assert_eq!(events(client, &id).await.len(), recorded, "nothing changed");
    assert_eq!(client.entity(&id).await["state"], "erred");

    world.tamper(&object, &json!({ "size": 8 })).await;
    let entity = until("it is repaired", async || {
        let entity = client.entity(&id).await;
        (entity["state"] == "ok" && condition(&entity, "synced")).then_some(entity)
    })
    .await;
    assert_eq!(entity["observed"]["attributes"]["size"], 1, "{entity:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_is_what_the_kind_says_of_the_object() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let rests = json!({ "size": 1, "_fake": { "unready": "it rests" } });
    let id = client.thing("resting", rests.clone()).await;
    let entity = client.entity(&id).await;
    assert!(condition(&entity, "synced") && !condition(&entity, "ready"), "{entity:#}");
    assert_eq!(reason(&entity, "ready"), "NotReady");
    let object = entity["observed"]["external_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/entities/{id}");
    let report = json!({ "drift_policy": "report" });
    client.send(reqwest::Method::PUT, &path, Some(&report), &[]).await.unwrap();
    world.tamper(&object, &json!({ "size": 1 })).await;
    until("it is ready", async || condition(&client.entity(&id).await, "ready").then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_observed_of_an_erred_entity_shows() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let fake = json!({ "fail": { "update": "invalid" } });
    let id = client.thing("crooked", json!({ "size": 1 })).await;
    let object = client.entity(&id).await["observed"]["external_id"].as_str().unwrap().to_owned();
    let path = format!("/v1/entities/{id}");
    let body = json!({ "desired": { "size": 2, "_fake": fake } });
    client.send(reqwest::Method::PUT, &path, Some(&body), &[]).await.unwrap();
    until("the change is refused", async || {
        (client.entity(&id).await["state"] == "erred").then_some(())
    })
    .await;
    world.tamper(&object, &json!({ "size": 7 })).await;
    let entity = until("the observation shows", async || {
        let entity = client.entity(&id).await;
        (entity["observed"]["attributes"]["size"] == 7).then_some(entity)
    })
    .await;
    assert_eq!(entity["state"], "erred", "a user's change is not tried again: {entity:#}");
    assert!(condition(&entity, "drifted") && !condition(&entity, "synced"), "{entity:#}");
}
