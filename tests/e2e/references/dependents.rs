//! A target stays while it has dependents, and dependents follow its changes.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{declare, patient, to, waits};
use crate::harness::{Client, condition, reason, text, thing, until};

/// Requests the deletion of an entity without waiting for it; returns the operation.
pub(super) async fn delete(client: &Client, id: &str) -> String {
    let path = format!("/v1/entities/{id}");
    let reply = client.send(Method::DELETE, &path, None, &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
    text(&reply.body["operation"]["id"])
}

/// Waits until an entity waits for `dependent` to let go of it.
pub(super) async fn is_held(client: &Client, id: &str, dependent: &str) {
    let message = format!("is used by fake.thing/{dependent}");
    until(&format!("{id} {message}"), async || {
        let entity = client.entity(id).await;
        (reason(&entity, "blocked") == "InUse" && entity["error"]["message"] == message)
            .then_some(())
    })
    .await;
}

async fn replied(client: &Client, id: &str, attribute: &str, value: &Value) -> Value {
    until(&format!("{attribute} of {id} is {value}"), async || {
        let entity = client.entity(id).await;
        (entity["observed"]["attributes"][attribute] == *value && entity["state"] == "ok")
            .then_some(entity)
    })
    .await
}

async fn event_types(client: &Client, id: &str) -> Vec<String> {
    let events = client.get(&format!("/v1/entities/{id}/events")).await.body;
    events["items"].as_array().unwrap().iter().map(|event| text(&event["type"])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_under_its_dependents() {
    let (world, _setup, server) = patient().await;
    let client = &server.client;
    let net = client.thing("net", json!({ "size": 1 })).await;
    let dependent = client.thing("dependent", json!({ "to": to("net") })).await;
    let path = format!("/v1/entities/{net}");
    let events =
        client.get(&format!("{path}/events")).await.body["items"].as_array().unwrap().len();
    delete(client, &net).await;
    is_held(client, &net, "dependent").await;
    assert_eq!(world.counts().await.objects, 2);
    assert!(!condition(&client.entity(&dependent).await, "blocked"), "nothing happened to it yet");

    // A later dependent waits for the target that is being deleted.
    let late = declare(client, "late", json!({ "to": to("net") })).await;
    waits(client, &late, "net").await;
    delete(client, &late).await;
    client.reaches(&late, "deleted").await;
    let more = client.get(&format!("{path}/events")).await.body["items"].as_array().unwrap().len();
    assert!(
        more - events < 8,
        "it says so when there is something to say: {} events",
        more - events
    );

    delete(client, &dependent).await;
    client.reaches(&net, "deleted").await;
    client.reaches(&dependent, "deleted").await;
    assert_eq!(world.counts().await.objects, 0);
    let started = async |id: &str| {
        let events = client.get(&format!("/v1/entities/{id}/events")).await.body;
        let events = events["items"].as_array().unwrap().clone();
        let of = |event: &&Value| event["data"]["step"] == "delete";
        text(&events.iter().rev().find(of).unwrap()["position"])
    };
    assert!(started(&dependent).await < started(&net).await, "the dependent went first");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_the_reference() {
    let (_world, _setup, server) = patient().await;
    let client = &server.client;
    let size = json!({ "$ref": "fake.thing/net", "field": "observed.attributes.size" });
    let net = client.thing("net", json!({ "size": 1 })).await;
    let dependent = client.thing("dependent", json!({ "to": [to("net")], "size": size })).await;
    let reference = |pointer: &str, field: &str| json!({ "pointer": pointer, "kind": "fake.thing", "name": "net", "field": field });
    let entity = client.entity(&dependent).await;
    let both = [
        reference("/size", "observed.attributes.size"),
        reference("/to/0", "observed.external_id"),
    ];
    assert_eq!(entity["references"], json!(both));
    assert_eq!(entity["referenced_by"], json!([]));
    let named = json!([{ "id": dependent, "kind": "fake.thing", "name": "dependent" }]);
    let used_by = async |dependents: &Value| {
        until(&format!("it is used by {dependents}"), async || {
            let entity = client.entity(&net).await;
            assert!(entity["references"].is_null(), "{entity:#}");
            (entity["referenced_by"] == *dependents).then_some(())
        })
        .await;
    };
    used_by(&named).await;
    for entity in client.entities().await {
        assert!(entity["referenced_by"].is_null(), "a list asks nobody: {entity:#}");
    }
    client.done(Method::DELETE, &format!("/v1/entities/{dependent}"), Value::Null).await;
    used_by(&json!([])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependent_that_turned_to_another_target_releases_the_first() {
    let (_world, _setup, server) = patient().await;
    let client = &server.client;
    let (a, _) = (client.thing("a", json!({})).await, client.thing("b", json!({})).await);
    let dependent = client.thing("dependent", json!({ "to": to("a") })).await;
    delete(client, &a).await;
    is_held(client, &a, "dependent").await;
    let turn = json!({ "desired": { "to": to("b") } });
    client.done(Method::PUT, &format!("/v1/entities/{dependent}"), turn).await;
    client.reaches(&a, "deleted").await;

    // A dependent without an object releases the target once its desired state refers to another one.
    let c = client.thing("c", json!({})).await;
    let both = json!({ "to": to("c"), "and": to("nobody") });
    let waiting = declare(client, "waiting", both).await;
    waits(client, &waiting, "nobody").await;
    delete(client, &c).await;
    is_held(client, &c, "waiting").await;
    let turn = json!({ "desired": { "and": to("nobody") } });
    let path = format!("/v1/entities/{waiting}");
    client.send(Method::PUT, &path, Some(&turn), &[]).await.unwrap();
    client.reaches(&c, "deleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_what_is_used_can_be_taken_back() {
    let (world, _setup, server) = patient().await;
    let client = &server.client;
    let net = client.thing("net", json!({ "size": 1 })).await;
    client.thing("dependent", json!({ "to": to("net") })).await;
    let operation = delete(client, &net).await;
    is_held(client, &net, "dependent").await;
    let path = format!("/v1/operations/{operation}/cancel");
    let reply = client.send(Method::POST, &path, Some(&json!({})), &[]).await.unwrap();
    assert!(reply.status.is_success(), "{:#}", reply.body);
    let net = client.reaches(&net, "ok").await;
    assert!(!condition(&net, "blocked"), "{net:#}");
    assert_eq!(world.counts().await.objects, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_follow_a_change_of_their_target() {
    let (_world, _setup, server) = patient().await;
    let client = &server.client;
    let size = json!({ "$ref": "fake.thing/net", "field": "observed.attributes.size" });
    let net = client.thing("net", json!({ "size": 1 })).await;
    let mut body = thing("dependent", json!({ "net_size": size }));
    body["drift_policy"] = "report".into();
    let dependent = client.done(Method::POST, "/v1/entities", body).await.body;
    let dependent = text(&dependent["entity"]["id"]);
    let chained =
        json!({ "$ref": "fake.thing/dependent", "field": "observed.attributes.net_size" });
    let last = client.thing("last", json!({ "chained": chained })).await;
    for size in [2, 3, 4] {
        let change = json!({ "desired": { "size": size } });
        client.done(Method::PUT, &format!("/v1/entities/{net}"), change).await;
        let dependent = replied(client, &dependent, "net_size", &json!(size)).await;
        assert_eq!(dependent["generation"], 1, "what was asked for is the same");
        replied(client, &last, "chained", &json!(size)).await;
    }
    let types = event_types(client, &dependent).await;
    assert!(!types.iter().any(|kind| kind.contains("drift")), "{types:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependent_without_its_target_is_blocked_until_the_name_exists_again() {
    let (_world, _setup, server) = patient().await;
    let client = &server.client;
    let net = client.thing("net", json!({ "size": 1 })).await;
    let dependent = client.thing("dependent", json!({ "to": to("net") })).await;
    let path = format!("/v1/entities/{net}?policy=orphan");
    client.done(Method::DELETE, &path, Value::Null).await;
    waits(client, &dependent, "net").await;
    let other = client.thing("net", json!({ "size": 2 })).await;
    let other = text(&client.entity(&other).await["observed"]["external_id"]);
    let dependent = replied(client, &dependent, "to", &json!(other)).await;
    assert!(!condition(&dependent, "blocked") && dependent["error"].is_null(), "{dependent:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_of_a_lost_object_follow_the_new_one() {
    let (world, _setup, server) = patient().await;
    let client = &server.client;
    let net = client.thing("net", json!({ "size": 1 })).await;
    let dependent = client.thing("dependent", json!({ "to": to("net") })).await;
    let before = text(&client.entity(&net).await["observed"]["external_id"]);
    world.take_away(&before).await;
    let path = format!("/v1/entities/{net}");
    let _ = client.waited(Method::POST, &format!("{path}/actions/refresh"), json!({})).await;
    waits(client, &dependent, "net").await;
    let decide = json!({ "decision": "create" });
    client.done(Method::POST, &format!("{path}/actions/decide"), decide).await;
    let after = client.entity(&net).await["observed"]["external_id"].clone();
    assert_ne!(after, before);
    replied(client, &dependent, "to", &after).await;
}
