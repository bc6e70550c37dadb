//! Deletions that something outside stands in the way of.

use reqwest::Method;
use serde_json::json;

use crate::harness::{Setup, World, reason, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_uses_an_object_outside_is_recorded_once_and_its_end_is_noticed() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let server = setup.start().await;
    let client = &server.client;
    let used = json!({ "size": 1, "_fake": { "used_by": "port p" } });
    let id = client.thing("a", used).await;
    let external = text(&client.entity(&id).await["observed"]["external_id"]);
    let path = format!("/v1/entities/{id}");
    client.send(Method::DELETE, &path, None, &[]).await.unwrap();
    until("it is blocked", async || {
        (reason(&client.entity(&id).await, "blocked") == "InUse").then_some(())
    })
    .await;
    let version = client.entity(&id).await["version"].clone();
    let requests = world.counts().await.requests;
    until("it was observed often", async || {
        (world.counts().await.requests > requests + 12).then_some(())
    })
    .await;
    let entity = client.entity(&id).await;
    assert_eq!(entity["version"], version, "recorded again: {entity:#}");

    world.tamper(&external, &json!({ "size": 1, "_fake": { "used_by": "volume v" } })).await;
    until("the other is named", async || {
        let entity = client.entity(&id).await;
        (entity["error"]["message"] == "volume v uses it").then_some(())
    })
    .await;
    world.tamper(&external, &json!({ "size": 1 })).await;
    client.reaches(&id, "deleted").await;
}
