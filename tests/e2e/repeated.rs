//! Requests beside entities that are sent again under their idempotency key.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Setup, text};

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

    for _ in 0..2 {
        let gone = send(client, Method::DELETE, "/v1/namespaces/team", &Value::Null, "k3").await;
        assert_eq!(gone.0, StatusCode::NO_CONTENT);
    }
    let gone = send(client, Method::DELETE, "/v1/namespaces/team", &Value::Null, "k4").await;
    assert_eq!(gone.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_issued_once_for_one_key_and_its_value_told_once() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let body = json!({ "actor": "ci", "grants": [{ "role": "viewer" }] });
    let ask = || send(client, Method::POST, "/v1/tokens", &body, "k1");
    // Two at once, as a client does that gave up waiting for the first answer.
    let (one, other) = tokio::join!(ask(), ask());
    let (made, refused) = if one.0 == StatusCode::CREATED { (one, other) } else { (other, one) };
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
    assert!(!act("pause", "k1").await, "that was done before it went on");
    assert_eq!(events(client, "backend.paused").await, 1);
    assert!(act("pause", "k3").await);
}
