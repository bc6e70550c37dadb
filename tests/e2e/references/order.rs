//! Order without a value: what `depends_on` names is created before, and deleted after.

use super::*;
use crate::harness::reason;

fn after(name: &str, others: &[&str]) -> Value {
    let mut body = thing(name, json!({ "size": 1 }));
    body["depends_on"] = others.iter().map(|other| format!("fake.thing/{other}")).collect();
    body
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Value {
    let reply = client.send(method, path, Some(body), &[]).await.unwrap();
    assert!(reply.status.is_success(), "{body}: {:#}", reply.body);
    reply.body
}

async fn blocked(client: &Client, id: &str, why: &str) -> Value {
    until("it is blocked", async || {
        let entity = client.entity(id).await;
        (condition(&entity, "blocked") && reason(&entity, "blocked") == why).then_some(entity)
    })
    .await
}

fn message(entity: &Value) -> String {
    let conditions = entity["conditions"].as_array().unwrap();
    text(&conditions.iter().find(|it| it["type"] == "blocked").unwrap()["message"])
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_created_after_and_deleted_before_what_it_depends_on() {
    let (world, _setup, server) = start().await;
    let client = &server.client;
    let body = after("second", &["first"]);
    let second = text(&send(client, Method::POST, "/v1/entities", &body).await["entity"]["id"]);
    let waits = blocked(client, &second, "DependencyNotReady").await;
    assert_eq!(message(&waits), "waits for fake.thing/first");
    assert_eq!(waits["depends_on"], json!(["fake.thing/first"]));
    assert_eq!(world.counts().await.objects, 0);

    let unready = json!({ "size": 1, "_fake": { "pending_ms": 100, "unready": "it starts" } });
    let first = client.thing("first", unready).await;
    assert_eq!(world.counts().await.objects, 1, "what cannot be used yet is waited for");
    let path = format!("/v1/entities/{first}");
    client
        .done(Method::PUT, &path, json!({ "desired": { "size": 1, "_fake": { "unready": "" } } }))
        .await;
    client.reaches(&second, "ok").await;
    assert_eq!(client.entity(&first).await["referenced_by"][0]["id"], *second);

    client.send(Method::DELETE, &path, None, &[]).await.unwrap();
    let waits = blocked(client, &first, "InUse").await;
    assert_eq!(message(&waits), "is used by fake.thing/second");
    client.done(Method::DELETE, &format!("/v1/entities/{second}"), json!({})).await;
    client.reaches(&first, "deleted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_goes_on_once_it_depends_on_nothing() {
    let (_world, _setup, server) = start().await;
    let client = &server.client;
    let body = after("second", &["first"]);
    let second = text(&send(client, Method::POST, "/v1/entities", &body).await["entity"]["id"]);
    blocked(client, &second, "DependencyNotReady").await;
    let path = format!("/v1/entities/{second}");
    send(client, Method::PUT, &path, &json!({ "depends_on": [] })).await;
    client.reaches(&second, "ok").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_there_cannot_be_is_refused() {
    let (_world, _setup, server) = start().await;
    let client = &server.client;
    for (other, pointer) in [
        ("fake.thing/a", "/depends_on"),
        ("no.kind/x", "/depends_on"),
        ("fake.thing/..", "/depends_on"),
    ] {
        let mut body = thing("a", json!({ "size": 1 }));
        body["depends_on"] = json!([other]);
        let fault = refused(client, Method::POST, "/v1/entities", &body).await;
        assert_eq!(fault.0, pointer, "{other}: {}", fault.1);
    }
    let mut body = thing("a", json!({ "size": 1 }));
    body["depends_on"] = json!(["nothing"]);
    let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", reply.body);

    // Through a reference, and through another order.
    declare(client, "a", json!({ "size": 1, "next": to("b") })).await;
    send(client, Method::POST, "/v1/entities", &after("b", &["c"])).await;
    let c = declare(client, "c", json!({ "size": 1 })).await;
    let close = json!({ "depends_on": ["fake.thing/a"] });
    let (pointer, message) =
        refused(client, Method::PUT, &format!("/v1/entities/{c}"), &close).await;
    let expected =
        "would wait for itself: fake.thing/c -> fake.thing/a -> fake.thing/b -> fake.thing/c";
    assert_eq!((pointer.as_str(), message.as_str()), ("/depends_on", expected));
}
