//! An entity whose attempt is unfinished keeps the reference values that it was created with, and is found by them.

use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use super::dependents::{delete, is_held};
use super::{declare, patient, to, waits};
use crate::harness::{Setup, World, condition, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_without_an_owner_key_waits_as_well() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let server = setup.start().await;
    let client = &server.client;
    let body = json!({
        "kind": "local.file", "name": "motd", "backend": "local",
        "desired": { "path": "motd", "content": { "$ref": "fake.thing/net" } },
    });
    let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    let file = text(&reply.body["entity"]["id"]);
    waits(client, &file, "net").await;
    let net = client.thing("net", json!({ "size": 1 })).await;
    client.reaches(&file, "ok").await;
    let id = text(&client.entity(&net).await["observed"]["external_id"]);
    assert_eq!(std::fs::read_to_string(setup.managed().join("motd")).unwrap(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_made_from_another_holds_it() {
    let (world, _setup, server) = patient().await;
    let client = &server.client;
    let a = client.thing("a", json!({})).await;
    // It is unknown whether the object was created.
    let fails = json!({ "fail": { "create": "ambiguous" }, "times": 1 });
    let dependent = declare(client, "dependent", json!({ "to": to("a"), "_fake": fails })).await;
    until("the creation is in doubt", async || {
        (client.entity(&dependent).await["error"]["class"] == "ambiguous").then_some(())
    })
    .await;
    let path = format!("/v1/entities/{dependent}");
    let say = async |method: Method, path: &str, body: Value| {
        let reply = client.send(method, path, Some(&body), &[]).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
    };
    say(Method::POST, &format!("{path}/actions/pause"), json!({})).await;
    say(Method::PUT, &path, json!({ "desired": { "to": "elsewhere" } })).await;
    delete(client, &a).await;
    is_held(client, &a, "dependent").await;
    say(Method::POST, &format!("{path}/actions/resume"), json!({})).await;
    client.reaches(&dependent, "ok").await;
    client.reaches(&a, "deleted").await;
    world.counts().await.assert_none_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependent_that_holds_up_a_deletion_stays_managed() {
    let (_world, _setup, server) = patient().await;
    let client = &server.client;
    let net = client.thing("net", json!({ "size": 1 })).await;
    let dependent = client.thing("dependent", json!({ "to": to("net"), "size": 1 })).await;
    delete(client, &net).await;
    is_held(client, &net, "dependent").await;
    let path = format!("/v1/entities/{dependent}");
    for action in ["refresh", "poke"] {
        client.done(Method::POST, &format!("{path}/actions/{action}"), json!({})).await;
    }
    let entity = client.entity(&dependent).await;
    assert!(!condition(&entity, "blocked") && entity["error"].is_null(), "{entity:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_goes_on_ends_although_its_target_is_to_go() {
    let (_world, _setup, server) = patient().await;
    let client = &server.client;
    let net = client.thing("net", json!({ "size": 1 })).await;
    let slow = json!({ "to": to("net"), "_fake": { "pending_ms": 1500 } });
    let dependent = declare(client, "dependent", slow).await;
    client.reaches(&dependent, "creating").await;
    delete(client, &net).await;
    let dependent = client.reaches(&dependent, "ok").await;
    assert!(!condition(&dependent, "blocked"), "{dependent:#}");
    is_held(client, &net, "dependent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_dependent_of_a_deleted_target_is_left_alone() {
    let world = World::start().await;
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\ndrift_interval = \"100ms\"\n",
        world.url
    ));
    let server = setup.start().await;
    let client = &server.client;
    let net = client.thing("net", json!({ "size": 1 })).await;
    let dependent = client.thing("dependent", json!({ "to": to("net") })).await;
    let path = format!("/v1/entities/{net}?policy=orphan");
    client.done(Method::DELETE, &path, Value::Null).await;
    waits(client, &dependent, "net").await;
    let pause = format!("/v1/entities/{dependent}/actions/pause");
    client.send(Method::POST, &pause, Some(&json!({})), &[]).await.unwrap();
    let other = client.thing("other", json!({ "size": 1 })).await;
    let object = text(&client.entity(&other).await["observed"]["external_id"]);
    let asked = async || world.counts().await.requests;
    let (before, began) = (asked().await, Instant::now());
    // As many checks as another entity needs to find ten changes by others.
    for size in 2..12 {
        let version = client.entity(&other).await["version"].as_u64();
        world.tamper(&object, &json!({ "size": size })).await;
        until("the other's drift is corrected", async || {
            let entity = client.entity(&other).await;
            (entity["version"].as_u64() > version && condition(&entity, "synced")).then_some(())
        })
        .await;
    }
    let more = asked().await - before;
    // Ten corrections with up to six requests each, and per interval up to three requests of each entity.
    let intervals = u64::try_from(began.elapsed().as_millis() / 100).expect("a short time");
    let most = 60 + 6 * (intervals + 1);
    assert!(more < most, "{more} requests, at most {most}, about something that only waits");
}
