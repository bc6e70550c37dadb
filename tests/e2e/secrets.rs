//! Secrets by reference: they reach the backend, and nothing else.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Server, Setup, World, condition, reason, text, thing, until};

const FIRST: &str = "correct-horse-battery";
const SECOND: &str = "staple-of-secrets";

fn digest(value: &str) -> String {
    Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn config(world: &World, secrets: &str) -> String {
    format!(
        "[namespaces.physics]\n[secrets]\n{secrets}\n\
         [backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\ndrift_interval = \"200ms\"\n\
         retry = {{ first = \"20ms\", max = \"200ms\" }}\n",
        world.url
    )
}

const ALL: &str = "first = { file = \"first.secret\" }\nsecond = { file = \"second.secret\" }\n\
                   physics = { file = \"second.secret\", namespaces = [\"physics\"] }";

/// A server that logs everything, with a world that exposes digests of the passwords it received.
async fn start() -> (World, Setup, Server) {
    let world = World::start().await;
    let setup = Setup::new(&config(&world, ALL));
    std::fs::write(setup.folder.path().join("first.secret"), FIRST).unwrap();
    std::fs::write(setup.folder.path().join("second.secret"), format!("{SECOND}\n")).unwrap();
    let mut command = setup.command();
    command.env("RUST_LOG", "trace");
    let server = setup.run(command).await.unwrap();
    (world, setup, server)
}

fn with(secret: &str) -> Value {
    json!({ "size": 1, "password": { "$secret": secret } })
}

async fn given(world: &World, entity: &Value) -> String {
    let id = text(&entity["observed"]["external_id"]);
    world.counts().await.passwords.get(&id).cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_reaches_the_backend_and_changes_with_its_reference() {
    let (world, _setup, server) = start().await;
    let client = &server.client;
    let id = client.thing("db", with("first")).await;
    let entity = client.entity(&id).await;
    assert_eq!(entity["desired"], with("first"), "the reference is what is kept");
    assert_eq!(given(&world, &entity).await, digest(FIRST));

    let path = format!("/v1/entities/{id}");
    let reply = client.done(Method::PUT, &path, json!({ "desired": with("second") })).await;
    assert_eq!(given(&world, &reply.body["entity"]).await, digest(SECOND));
    assert!(!condition(&reply.body["entity"], "drifted"));

    // Further rounds find nothing to do.
    client.done(Method::POST, &format!("{path}/actions/refresh"), json!({})).await;
    let version = client.entity(&id).await["version"].clone();
    client.done(Method::POST, &format!("{path}/actions/ping"), json!({})).await;
    let events = client.get(&format!("{path}/events?page_size=1000")).await.body;
    let drift = events["items"].as_array().unwrap().iter().filter(|event| {
        ["entity.drift_detected", "entity.observed_changed"].contains(&&*text(&event["type"]))
    });
    assert_eq!(drift.count(), 0, "after {version}: {events:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_values_unknown_names_and_those_of_others_are_refused() {
    let (_world, _setup, server) = start().await;
    let client = &server.client;
    for (desired, pointer) in [
        (json!({ "password": FIRST }), "/desired/password"),
        (json!({ "password": null }), "/desired/password"),
        (with("none"), "/desired/password"),
        (with("physics"), "/desired/password"),
        (json!({ "note": { "$secret": "first" } }), "/desired/note"),
        (json!({ "list": [{ "$secret": "first" }] }), "/desired/list/0"),
    ] {
        let body = thing("db", desired.clone());
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{desired}");
        assert_eq!(reply.body["errors"][0]["pointer"], pointer, "{:#}", reply.body);
        assert!(!reply.body.to_string().contains(FIRST), "the refusal repeats it");
    }
    let mut body = thing("db", with("physics"));
    body["namespace"] = "physics".into();
    client.done(Method::POST, "/v1/entities", body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_gone_blocks_its_entity_until_it_is_back() {
    let (world, setup, server) = start().await;
    let client = &server.client;
    let id = client.thing("db", with("first")).await;
    let reload = || client.send(Method::POST, "/v1/backends/reload", None, &[]);
    let write = |secrets: &str| setup.configure(&config(&world, secrets));
    write("second = { file = \"second.secret\" }");
    assert_eq!(reload().await.unwrap().status, StatusCode::OK);
    let update = json!({ "desired": { "size": 2, "password": { "$secret": "first" } } });
    let path = format!("/v1/entities/{id}");
    let refused = client.send(Method::PUT, &path, Some(&update), &[]).await.unwrap();
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "it is not there to refer to");

    // Declared while the secret was configured, and to be created while it is not.
    world.take_away(&text(&client.entity(&id).await["observed"]["external_id"])).await;
    client.send(Method::POST, &format!("{path}/actions/refresh"), None, &[]).await.unwrap();
    until("it is asked what to do", async || {
        let entity = client.entity(&id).await;
        (reason(&entity, "blocked") == "DecisionNeeded").then_some(())
    })
    .await;
    let decide = json!({ "decision": "create" });
    let act = format!("{path}/actions/decide");
    client.send(Method::POST, &act, Some(&decide), &[]).await.unwrap();
    until("it waits for the secret", async || {
        let entity = client.entity(&id).await;
        (reason(&entity, "blocked") == "SecretMissing").then_some(())
    })
    .await;
    // The object is observed all the same.
    let refresh = format!("{path}/actions/refresh");
    client.done(Method::POST, &refresh, json!({})).await;

    write(ALL);
    assert_eq!(reload().await.unwrap().status, StatusCode::OK);
    let entity = client.reaches(&id, "ok").await;
    assert_eq!(given(&world, &entity).await, digest(FIRST));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_value_is_anywhere_but_in_the_backend() {
    let (_world, setup, mut server) = start().await;
    let client = server.client.clone();
    for (name, steering) in [
        ("plain", json!({})),
        ("slow", json!({ "pending_ms": 50 })),
        ("told", json!({ "tell": "create", "times": 2 })),
        ("told-later", json!({ "tell": "update", "times": 2 })),
        ("failed", json!({ "fail": { "create": "invalid" }, "tell": "create" })),
        // The reason why the backend is closed is shown by every entity that waits for it.
        ("closes", json!({ "fail": { "create": "misconfigured" }, "tell": "create", "times": 3 })),
    ] {
        let desired = json!({ "password": { "$secret": "first" }, "_fake": steering });
        let body = thing(name, desired.clone());
        client
            .send(Method::POST, "/v1/entities", Some(&body), &[("Prefer", "wait=3")])
            .await
            .unwrap();
        let entities = client.get(&format!("/v1/entities?name={name}")).await.body;
        let path = format!("/v1/entities/{}", text(&entities["items"][0]["id"]));
        let mut changed = desired;
        changed["password"]["$secret"] = "second".into();
        let (change, poke) = (json!({ "desired": changed }), format!("{path}/actions/poke"));
        client.send(Method::PUT, &path, Some(&change), &[("Prefer", "wait=3")]).await.unwrap();
        client.send(Method::POST, &poke, None, &[("Prefer", "wait=3")]).await.unwrap();
    }
    let inline = thing("inline", json!({ "password": FIRST }));
    client.send(Method::POST, "/v1/entities", Some(&inline), &[]).await.unwrap();
    let mut answers = String::new();
    for path in [
        "/v1/entities",
        "/v1/operations",
        "/v1/events?page_size=1000",
        "/v1/backends",
        "/v1/kinds",
        "/v1/projections",
        "/v1/tokens",
        "/readyz",
    ] {
        answers.push_str(&client.get(path).await.body.to_string());
    }
    answers.push_str(&client.metrics().await);
    assert!(answers.contains("[secret] is too weak"), "the careless backend was not tried");
    assert!(server.terminate().await.success());
    for value in [FIRST, SECOND] {
        assert!(!answers.contains(value), "in an answer");
        assert!(!server.said().contains(value), "in the log: {}", server.said());
        assert_nowhere(&setup.data(), value.as_bytes());
    }
}

/// Checks that no file below `folder` contains `bytes`.
fn assert_nowhere(folder: &Path, bytes: &[u8]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nowhere(&path, bytes);
            continue;
        }
        let content = std::fs::read(&path).unwrap();
        let found = content.windows(bytes.len()).any(|window| window == bytes);
        assert!(!found, "{} holds a secret", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_the_reference() {
    let (_world, _setup, server) = start().await;
    let client = &server.client;
    let body = thing("db", with("first"));
    let path = "/v1/entities?dry_run=true";
    let reply = client.send(Method::POST, path, Some(&body), &[]).await.unwrap();
    assert_eq!(reply.body["plan"]["changes"][0]["to"], with("first"), "{:#}", reply.body);
}

/// A change of unknown outcome is reverted: the backend must end with the present desired state.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_may_have_been_written_is_written_over() {
    let (world, _setup, server) = start().await;
    let client = &server.client;
    let desired = |secret: &str, steering: Value| json!({ "desired": { "size": 1, "password": { "$secret": secret }, "_fake": steering } });
    // The update reaches the world, but its answer never arrives.
    let stubborn = json!({ "ignore_updates": true });
    for back in ["cancel", "again"] {
        let id = client.thing(back, desired("first", stubborn.clone())["desired"].clone()).await;
        let path = format!("/v1/entities/{id}");
        let mut change = desired("second", stubborn.clone());
        change["desired"]["size"] = 2.into();
        let reply = client.send(Method::PUT, &path, Some(&change), &[]).await.unwrap();
        until("the other value is there", async || {
            (given(&world, &client.entity(&id).await).await == digest(SECOND)).then_some(())
        })
        .await;
        let undone = if back == "cancel" {
            let operation = text(&reply.body["operation"]["id"]);
            client
                .send(Method::POST, &format!("/v1/operations/{operation}/cancel"), None, &[])
                .await
        } else {
            client.send(Method::PUT, &path, Some(&desired("first", stubborn.clone())), &[]).await
        };
        assert!(undone.unwrap().status.is_success());
        let entity = until("it is in sync", async || {
            let entity = client.entity(&id).await;
            condition(&entity, "synced").then_some(entity)
        })
        .await;
        assert_eq!(given(&world, &entity).await, digest(FIRST), "{back}: it only says so");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_adopted_gets_the_value_that_is_asked_for() {
    let (world, _setup, server) = start().await;
    let client = &server.client;
    let other = client.thing("other", with("second")).await;
    let object = text(&client.entity(&other).await["observed"]["external_id"]);
    client.done(Method::DELETE, &format!("/v1/entities/{other}?policy=orphan"), Value::Null).await;
    let mut body = thing("adopts", with("first"));
    body["external_id"] = object.into();
    body["management_policy"] = "full".into();
    let reply = client.done(Method::POST, "/v1/entities", body).await;
    assert_eq!(given(&world, &reply.body["entity"]).await, digest(FIRST));
}
