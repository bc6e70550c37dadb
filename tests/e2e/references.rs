//! References between entities: which ones are accepted, and their effects.

mod dependents;
mod order;
mod stack;
mod unfinished_attempts;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, World, condition, text, thing, until};

async fn start() -> (World, Setup, Server) {
    let world = World::start().await;
    let setup = Setup::new(&format!(
        "[namespaces.physics]\n[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\n\
         retry = {{ first = \"20ms\", max = \"200ms\" }}\n",
        world.url
    ));
    let server = setup.start().await;
    (world, setup, server)
}

fn to(name: &str) -> Value {
    json!({ "$ref": format!("fake.thing/{name}") })
}

/// Declares a thing without waiting for it; returns its id.
async fn declare(client: &Client, name: &str, desired: Value) -> String {
    let body = thing(name, desired);
    let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
    text(&reply.body["entity"]["id"])
}

/// The only fault of a refused request: its pointer and its message.
async fn refused(client: &Client, method: Method, path: &str, body: &Value) -> (String, String) {
    let reply = client.send(method, path, Some(body), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {:#}", reply.body);
    let faults = reply.body["errors"].as_array().unwrap();
    assert_eq!(faults.len(), 1, "told once: {faults:#?}");
    (text(&faults[0]["pointer"]), text(&faults[0]["detail"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_is_kept_as_it_was_written() {
    let (_world, _setup, server) = start().await;
    let desired = json!({
        "size": 1, "network": to("nobody"), "immutable": to("nobody"), "_fake": { "times": to("n") },
        "ports": [{ "$ref": "fake.thing/nobody", "field": "observed.attributes.port" }],
    });
    let id = declare(&server.client, "dependent", desired.clone()).await;
    assert_eq!(server.client.entity(&id).await["desired"], desired);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_never_be_resolved_is_refused_with_its_pointer() {
    let (_world, _setup, server) = start().await;
    let many = vec![to("x"); 65];
    for (desired, pointer) in [
        (to("x"), "/desired"),
        (json!({ "a": { "$ref": "fake.thing/x", "more": 1 } }), "/desired/a"),
        (json!({ "a": { "$ref": "fake.thing" } }), "/desired/a"),
        (json!({ "a": { "$ref": ["fake.thing/x"] } }), "/desired/a"),
        (json!({ "a": { "$ref": "fake.thing/x", "field": "desired.size" } }), "/desired/a"),
        (json!({ "a": [{ "$ref": "no.kind/x" }] }), "/desired/a/0"),
        (json!({ "a": { "$ref": "fake.thing/x/y" } }), "/desired/a"),
        (json!({ "a": { "$ref": "fake.thing/.." } }), "/desired/a"),
        (json!({ "a": { "$ref": format!("fake.thing/{}", "x".repeat(254)) } }), "/desired/a"),
        (json!({ "password": to("x") }), "/desired/password"),
        (json!({ "_fake": { "times": 0, "on": to("x") } }), "/desired/_fake/times"),
        (json!({ "many": many }), "/desired"),
    ] {
        let body = thing("dependent", desired);
        let fault = refused(&server.client, Method::POST, "/v1/entities", &body).await;
        assert_eq!(fault.0, pointer, "{}", fault.1);
        let dry = "/v1/entities?dry_run=true";
        assert_eq!(refused(&server.client, Method::POST, dry, &body).await, fault);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_wait_for_itself_is_refused() {
    let (_world, _setup, server) = start().await;
    let client = &server.client;
    let itself = thing("a", json!({ "me": [to("a")] }));
    let (pointer, message) = refused(client, Method::POST, "/v1/entities", &itself).await;
    assert_eq!(pointer, "/desired/me/0");
    assert_eq!(message, "would wait for itself: fake.thing/a -> fake.thing/a");

    declare(client, "a", json!({ "size": 1, "other": to("x"), "next": to("b") })).await;
    let b = declare(client, "b", json!({ "size": 1 })).await;
    let c = thing("c", json!({ "fine": to("d"), "first": to("a") }));
    client.send(Method::POST, "/v1/entities", Some(&c), &[]).await.unwrap();
    let path = format!("/v1/entities/{b}");
    let close = json!({ "desired": { "size": 2, "last": to("c") } });
    let expected =
        "would wait for itself: fake.thing/b -> fake.thing/c -> fake.thing/a -> fake.thing/b";
    for path in [path.clone(), format!("{path}?dry_run=true")] {
        let fault = refused(client, Method::PUT, &path, &close).await;
        assert_eq!(fault, ("/desired/last".to_owned(), expected.to_owned()));
    }
    assert_eq!(client.entity(&b).await["desired"], json!({ "size": 1 }), "nothing was changed");

    // The same names in another namespace are other entities.
    let mut elsewhere = thing("b", json!({ "last": to("c") }));
    elsewhere["namespace"] = "physics".into();
    let reply = client.send(Method::POST, "/v1/entities", Some(&elsewhere), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
}

/// A server that retries nothing by itself for the duration of a test.
async fn patient() -> (World, Setup, Server) {
    let world = World::start().await;
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\n\
         retry = {{ first = \"1h\", max = \"1h\" }}\n",
        world.url
    ));
    let server = setup.start().await;
    (world, setup, server)
}

async fn waits(client: &Client, id: &str, on: &str) {
    let blocked = until(&format!("{id} waits"), async || {
        let entity = client.entity(id).await;
        let conditions = entity["conditions"].as_array()?;
        let blocked = conditions.iter().find(|condition| condition["type"] == "blocked")?;
        (blocked["status"] == true).then(|| blocked.clone())
    })
    .await;
    assert_eq!(blocked["reason"], "DependencyNotReady", "{blocked:#}");
    assert_eq!(blocked["message"], format!("waits for fake.thing/{on}"), "{blocked:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_declared_backwards_is_made_forwards() {
    let (world, _setup, server) = patient().await;
    let client = &server.client;
    let attribute = json!({ "$ref": "fake.thing/net", "field": "observed.attributes.size" });
    let c = declare(client, "c", json!({ "on": [to("b")], "size": attribute })).await;
    let b = declare(client, "b", json!({ "network": to("net") })).await;
    waits(client, &c, "b").await;
    waits(client, &b, "net").await;
    assert_eq!(world.counts().await.objects, 0, "nothing is made before what it needs");

    let net = client.thing("net", json!({ "size": 7 })).await;
    let c = client.reaches(&c, "ok").await;
    let (b, net) = (client.entity(&b).await, client.entity(&net).await);
    assert_eq!(b["observed"]["attributes"]["network"], net["observed"]["external_id"]);
    assert_eq!(c["observed"]["attributes"]["on"], json!([b["observed"]["external_id"]]));
    assert_eq!(c["observed"]["attributes"]["size"], 7);
    assert_eq!(b["desired"]["network"], to("net"), "what was asked for is what is kept");
    for entity in [&b, &c] {
        assert!(!condition(entity, "blocked") && !condition(entity, "drifted"), "{entity:#}");
        let path = format!("/v1/entities/{}", text(&entity["id"]));
        let refresh = format!("{path}/actions/refresh");
        let seen = client.done(Method::POST, &refresh, json!({})).await;
        assert!(!condition(&seen.body["entity"], "drifted"), "the values are what it has");
    }
    world.counts().await.assert_none_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attribute_that_appears_later_wakes_the_dependents() {
    let (_world, _setup, server) = patient().await;
    let client = &server.client;
    let address = json!({ "$ref": "fake.thing/net", "field": "observed.attributes.address" });
    let net = client.thing("net", json!({ "size": 1 })).await;
    let dependent = declare(client, "dependent", json!({ "to": address })).await;
    waits(client, &dependent, "net, which has no observed.attributes.address").await;
    let change = json!({ "desired": { "size": 1, "address": "10.0.0.1" } });
    client.done(Method::PUT, &format!("/v1/entities/{net}"), change).await;
    let dependent = client.reaches(&dependent, "ok").await;
    assert_eq!(dependent["observed"]["attributes"]["to"], "10.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_kind_does_not_accept_is_an_error_before_any_call() {
    let (world, _setup, server) = patient().await;
    let client = &server.client;
    client.thing("net", json!({ "size": 1 })).await;
    let dependent = declare(client, "dependent", json!({ "_fake": { "times": to("net") } })).await;
    let dependent = client.reaches(&dependent, "erred").await;
    assert_eq!(dependent["error"]["class"], "invalid", "{dependent:#}");
    let message = text(&dependent["error"]["message"]);
    assert!(message.contains("/_fake/times") && message.contains("references"), "{message}");
    assert_eq!(world.counts().await.objects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_dependent_can_be_deleted() {
    let (_world, _setup, server) = patient().await;
    let client = &server.client;
    let dependent = declare(client, "dependent", json!({ "to": to("nobody") })).await;
    waits(client, &dependent, "nobody").await;
    client.done(Method::DELETE, &format!("/v1/entities/{dependent}"), Value::Null).await;
}
