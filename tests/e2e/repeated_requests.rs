//! Repeated requests under an idempotency key, for other resources than entities.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Setup, World, text, until};

const ROUNDS: usize = 20;
const AT_ONCE: usize = 6;

const KEY: &str = "Idempotency-Key";

async fn send(
    client: &Client,
    method: Method,
    path: &str,
    body: &Value,
    key: &str,
) -> (StatusCode, Value) {
    let reply = client.send(method, path, Some(body), &[(KEY, key)]).await.unwrap();
    (reply.status, reply.body)
}

async fn events(client: &Client, types: &str) -> usize {
    let page = client.get(&format!("/v1/events?page_size=1000&type={types}")).await.body;
    page["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_made_and_deleted_once_for_one_key() {
    let setup = Setup::new("");
    let mut server = setup.start().await;
    let body = json!({ "name": "team", "require_reason": true });
    let first = send(&server.client, Method::POST, "/v1/namespaces", &body, "k1").await;
    assert_eq!(first.0, StatusCode::CREATED);
    server.kill_now().await;
    server = setup.start().await;
    let client = &server.client;
    assert_eq!(send(client, Method::POST, "/v1/namespaces", &body, "k1").await, first);
    let other = send(client, Method::POST, "/v1/namespaces", &json!({ "name": "t2" }), "k1").await;
    assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&other.1["type"]).ends_with("idempotency-key-reused"), "{:#}", other.1);
    let again = send(client, Method::POST, "/v1/namespaces", &body, "k2").await;
    assert_eq!(again.0, StatusCode::CONFLICT, "another key is another wish");
    assert_eq!(events(client, "access.namespace_declared").await, 1);

    let gone = send(client, Method::DELETE, "/v1/namespaces/team", &Value::Null, "k3").await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT);
    send(client, Method::POST, "/v1/namespaces", &json!({ "name": "team" }), "k5").await;
    let body = json!({
        "kind": "fake.thing", "name": "it", "namespace": "team", "backend": "sandbox", "desired": {},
    });
    client.done(Method::POST, "/v1/entities", body).await;
    let gone = send(client, Method::DELETE, "/v1/namespaces/team", &Value::Null, "k3").await;
    assert_eq!(gone.0, StatusCode::NO_CONTENT, "that was before somebody lived there again");
    let gone = send(client, Method::DELETE, "/v1/namespaces/team", &Value::Null, "k4").await;
    assert_eq!(gone.0, StatusCode::CONFLICT, "somebody lives there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_issued_once_for_one_key_and_its_value_shown_once() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let body = json!({ "actor": "ci", "grants": [{ "role": "viewer" }] });
    let ask = || send(client, Method::POST, "/v1/tokens", &body, "k1");
    let (made, refused) = (ask().await, ask().await);
    assert_eq!((made.0, refused.0), (StatusCode::CREATED, StatusCode::CONFLICT), "{}", refused.1);
    assert!(text(&refused.1["type"]).ends_with("shown-once"), "{}", refused.1);
    let id = text(&made.1["id"]);
    assert!(text(&refused.1["detail"]).contains(&id), "{}", refused.1);
    assert!(!refused.1.to_string().contains(&text(&made.1["value"])));
    assert_eq!(events(client, "access.token_issued").await, 1);

    let path = format!("/v1/tokens/{id}");
    for _ in 0..2 {
        let revoked = send(client, Method::DELETE, &path, &Value::Null, "k2").await;
        assert_eq!(revoked.0, StatusCode::NO_CONTENT);
    }
    assert_eq!(ask().await.0, StatusCode::CONFLICT, "it was issued, whatever came after");
    let verified = client.send(Method::POST, "/v1/audit/verify", None, &[]).await.unwrap();
    assert_eq!(verified.body["ok"], true, "{:#}", verified.body);
}

/// Like clients that gave up waiting for the first reply.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_at_once_one_is_carried_out() {
    let setup = Setup::new("[server]\nrate_per_token = 100000\n");
    let server = setup.start().await;
    let client = &server.client;
    let thing = client.thing("one", json!({ "size": 1 })).await;
    let poke = format!("/v1/entities/{thing}/actions/poke");
    let token = json!({ "actor": "ci", "grants": [{ "role": "viewer" }] });
    for round in 0..ROUNDS {
        let key = format!("k{round}");
        let (key, empty) = (&key, json!({}));
        let tokens = (0..AT_ONCE).map(|_| send(client, Method::POST, "/v1/tokens", &token, key));
        let made = join_all(tokens).await;
        let count = made.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
        assert_eq!(count, 1, "round {round}: {made:?}");
        let key = &format!("p{round}");
        let pokes = (0..AT_ONCE).map(|_| send(client, Method::POST, &poke, &empty, key));
        let answers = join_all(pokes).await;
        let operations: BTreeSet<_> =
            answers.iter().map(|(_, body)| text(&body["operation"]["id"])).collect();
        assert_eq!(operations.len(), 1, "round {round}: one operation for all: {answers:#?}");
    }
    assert_eq!(events(client, "access.token_issued").await, ROUNDS);
    assert_eq!(events(client, "entity.action_requested").await, ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_does_not_keep_several_removals_from_being_recorded() {
    let sandbox = "[backends.sandbox]\ndriver = \"fake\"\n";
    let more = "[backends.one]\ndriver = \"fake\"\n[backends.two]\ndriver = \"fake\"\n";
    let setup = Setup::new(&format!("{sandbox}{more}"));
    let server = setup.start().await;
    let client = &server.client;
    setup.configure(sandbox);
    for _ in 0..2 {
        let reload = send(client, Method::POST, "/v1/backends/reload", &Value::Null, "k1").await;
        assert_eq!(reload.0, StatusCode::OK, "{:#}", reload.1);
    }
    assert_eq!(events(client, "backend.removed").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_confirmed_of_one_world_is_not_said_of_the_next() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    let resume = "/v1/backends/sandbox/actions/resume";
    let pause = "/v1/backends/sandbox/actions/pause";
    for (path, key) in [(pause, "k1"), (resume, "k2")] {
        let done = send(&server.client, Method::POST, path, &json!({}), key).await;
        assert_eq!(done.0, StatusCode::OK, "{:#}", done.1);
    }
    assert!(server.terminate().await.success());
    let address = world.end().await;
    let other = World::start_at(&address).await;
    let server = setup.start().await;
    let client = &server.client;
    let again = send(client, Method::POST, resume, &json!({}), "k2").await;
    assert_eq!(again.0, StatusCode::OK, "{:#}", again.1);
    until("it is parked", async || {
        let backend = client.get("/v1/backends/sandbox").await.body;
        backend["closed"].to_string().contains("identity").then_some(())
    })
    .await;
    assert!(other.counts().await.creates.is_empty());
    let reply = send(client, Method::POST, resume, &json!({}), "k3").await;
    assert_eq!((reply.0, &reply.1["open"]), (StatusCode::OK, &json!(true)), "{:#}", reply.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_s_pause_that_is_sent_again_does_not_pause_it_again() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let act = async |verb: &str, key: &str| {
        let path = format!("/v1/backends/sandbox/actions/{verb}");
        let (status, backend) = send(client, Method::POST, &path, &json!({}), key).await;
        assert_eq!(status, StatusCode::OK, "{backend:#}");
        backend["paused"].as_bool().unwrap()
    };
    assert!(act("pause", "k1").await);
    assert!(!act("resume", "k2").await);
    assert!(act("pause", "k1").await, "it is answered as it was first");
    // Another node reads within a second that it was resumed.
    until("it goes on, though its pause was sent again", async || {
        let now = client.get("/v1/backends/sandbox").await.body;
        (now["paused"] == false).then_some(())
    })
    .await;
    assert_eq!(events(client, "backend.paused").await, 1);
    assert!(act("pause", "k3").await);
}
