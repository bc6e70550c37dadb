//! Replacement: a field that cannot change in place replaces the object, only where it is allowed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, World, condition, reason, text, until};

async fn start() -> (World, Setup, Server) {
    let world = World::start().await;
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\ndrift_interval = \"200ms\"\n\
         retry = {{ first = \"20ms\", max = \"200ms\" }}\n",
        world.url
    ));
    let server = setup.start().await;
    (world, setup, server)
}

fn fixed(value: &str) -> Value {
    json!({ "desired": { "immutable": value } })
}

/// Message of the only fault of a refused change.
async fn refused(client: &Client, path: &str, body: &Value) -> String {
    let reply = client.send(Method::PUT, path, Some(body), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", reply.body);
    assert_eq!(reply.body["errors"][0]["pointer"], "/desired/immutable", "{:#}", reply.body);
    text(&reply.body["errors"][0]["detail"])
}

async fn external_id(client: &Client, id: &str) -> String {
    text(&client.entity(id).await["observed"]["external_id"])
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_may_replace_and_the_log_says_who_allowed_it() {
    let (world, _setup, server) = start().await;
    let client = &server.client;
    let id = client.thing("t", json!({ "immutable": "old" })).await;
    let (path, old) = (format!("/v1/entities/{id}"), external_id(client, &id).await);
    let message = refused(client, &path, &fixed("new")).await;
    assert!(message.contains("replace: allowed") && message.contains("--replace"), "{message}");

    let plan = format!("{path}?dry_run=true&replace=true");
    let plan = client.send(Method::PUT, &plan, Some(&fixed("new")), &[]).await.unwrap().body;
    assert_eq!(plan["plan"]["action"], "replace", "{plan:#}");
    assert_eq!(plan["plan"]["replaces"], json!(["/immutable"]), "{plan:#}");
    assert_eq!(external_id(client, &id).await, old, "a plan replaced it");

    client.done(Method::PUT, &format!("{path}?replace=true"), fixed("new")).await;
    let entity = client.reaches(&id, "ok").await;
    assert!(condition(&entity, "synced"), "{entity:#}");
    assert_eq!(entity["observed"]["attributes"]["immutable"], "new");
    assert_ne!(text(&entity["observed"]["external_id"]), old);
    let counts = world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, 1, "the old one is gone: {counts:?}");

    let events = client.get(&format!("{path}/events")).await.body;
    let events = events["items"].as_array().unwrap();
    let asked = events.iter().find(|event| event["type"] == "entity.update_requested").unwrap();
    assert_eq!(asked["data"].to_string().matches("\"replace\":true").count(), 1, "{asked:#}");
    refused(client, &path, &fixed("newer")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_deleted_is_not_replaced() {
    let (_world, _setup, server) = start().await;
    let client = &server.client;
    for (name, member, value, word) in [
        ("a", "protected", json!(true), "protected"),
        ("b", "deletion_policy", json!("orphan"), "orphan"),
        ("c", "management_policy", json!("observe_only"), "observe_only"),
    ] {
        let id = client.thing(name, json!({ "immutable": "old" })).await;
        let path = format!("/v1/entities/{id}");
        let settings = json!({ "replace": "allowed", member: value });
        let reply = client.send(Method::PUT, &path, Some(&settings), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
        assert_eq!(client.entity(&id).await["replace"], "allowed");
        let message = refused(client, &format!("{path}?replace=true"), &fixed("new")).await;
        assert!(message.contains("replacing is refused") && message.contains(word), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_cannot_be_put_back_in_place_is_replaced_only_where_that_is_allowed() {
    let (world, _setup, server) = start().await;
    let client = &server.client;
    let id = client.thing("t", json!({ "immutable": "old" })).await;
    let old = external_id(client, &id).await;
    world.tamper(&old, &json!({ "immutable": "otherwise" })).await;
    let entity = client.reaches(&id, "erred").await;
    let message = text(&entity["error"]["message"]);
    assert!(message.starts_with("/immutable cannot change in place"), "{message}");
    assert_eq!(external_id(client, &id).await, old);
    let path = format!("/v1/entities/{id}");
    let allow = json!({ "replace": "allowed" });
    client.send(Method::PUT, &path, Some(&allow), &[]).await.unwrap();
    until("another is there", async || {
        let entity = client.entity(&id).await;
        (condition(&entity, "synced") && entity["observed"]["attributes"]["immutable"] == "old")
            .then_some(())
    })
    .await;
    assert_ne!(external_id(client, &id).await, old);
    assert_eq!(world.counts().await.objects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_half_that_fails_says_so_and_can_be_repaired() {
    let (world, _setup, server) = start().await;
    let client = &server.client;
    let id = client.thing("t", json!({ "immutable": "old" })).await;
    let path = format!("/v1/entities/{id}");
    let full = json!({ "desired": {
        "immutable": "new", "_fake": { "fail": { "create": "quota_exceeded" } },
    }});
    let replace = format!("{path}?replace=true");
    let reply = client.send(Method::PUT, &replace, Some(&full), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
    let between = until("the second half fails", async || {
        let entity = client.entity(&id).await;
        (entity["error"]["class"] == "quota_exceeded").then_some(entity)
    })
    .await;
    assert_eq!(reason(&between, "synced"), "Replacing", "{between:#}");
    let told = between["conditions"][0]["message"].to_string();
    assert!(told.contains("the old object is gone"), "{told}");
    assert_eq!(world.counts().await.objects, 0);

    // Reverting needs no permission: no object exists that would be deleted.
    client.done(Method::PUT, &path, fixed("old")).await;
    let entity = client.reaches(&id, "ok").await;
    assert_eq!(entity["observed"]["attributes"]["immutable"], "old");
    let counts = world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_between_the_halves_ends_it() {
    let (world, _setup, server) = start().await;
    let client = &server.client;
    let id = client.thing("t", json!({ "immutable": "old" })).await;
    let path = format!("/v1/entities/{id}");
    let full = json!({ "desired": {
        "immutable": "new", "_fake": { "fail": { "create": "quota_exceeded" } },
    }});
    client.send(Method::PUT, &format!("{path}?replace=true"), Some(&full), &[]).await.unwrap();
    until("the second half fails", async || {
        (client.entity(&id).await["error"]["class"] == "quota_exceeded").then_some(())
    })
    .await;
    client.done(Method::DELETE, &path, Value::Null).await;
    assert_eq!(client.entity(&id).await["state"], "deleted");
    assert_eq!(world.counts().await.objects, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_get_the_new_id() {
    let (_world, _setup, server) = start().await;
    let client = &server.client;
    let net = client.thing("net", json!({ "immutable": "old" })).await;
    let on = json!({ "$ref": "fake.thing/net" });
    let user = client.thing("user", json!({ "on": on })).await;
    let old = external_id(client, &net).await;
    client.done(Method::PUT, &format!("/v1/entities/{net}?replace=true"), fixed("new")).await;
    let new = external_id(client, &net).await;
    assert_ne!(new, old);
    let refresh = format!("/v1/entities/{user}/actions/refresh");
    client.send(Method::POST, &refresh, Some(&json!({})), &[]).await.unwrap();
    until("the user follows", async || {
        (client.entity(&user).await["observed"]["attributes"]["on"] == new.as_str()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_the_object_is_never_replaced() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let id = server.client.file("f", "one", "x").await;
    let path = format!("/v1/entities/{id}?replace=true");
    let other = json!({ "desired": { "path": "two", "content": "x" } });
    let reply = server.client.send(Method::PUT, &path, Some(&other), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", reply.body);
    assert!(text(&reply.body["errors"][0]["detail"]).contains("declare another"));
}
