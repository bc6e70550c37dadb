//! Hostile input: always a clear 4xx problem, nothing written, nothing broken.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, text};

async fn server() -> (Setup, Server, String) {
    let setup = Setup::new("");
    let server = setup.start().await;
    let id = server.client.file("f", "f", "x").await;
    (setup, server, id)
}

/// Sends raw bytes as a body; returns status and problem.
async fn raw(
    client: &Client,
    method: Method,
    path: &str,
    media: &str,
    body: &[u8],
) -> (StatusCode, Value) {
    let request = client.request(method, path).header("Content-Type", media).body(body.to_vec());
    let response = request.send().await.unwrap();
    let (status, media) = (response.status(), response.headers().get("content-type").cloned());
    let bytes = response.bytes().await.unwrap();
    if status.is_client_error() || status.is_server_error() {
        assert_eq!(media.unwrap(), "application/problem+json", "{path}");
        assert!(!String::from_utf8_lossy(&bytes).contains("src/"), "{path} shows the source");
    }
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

async fn events(client: &Client) -> usize {
    let body = client.get("/v1/events?page_size=1000").await.body;
    let all = body["items"].as_array().unwrap().iter();
    all.filter(|event| text(&event["type"]).starts_with("entity.")).count()
}

fn manifest(changes: Value) -> Vec<u8> {
    let mut document = json!({
        "kind": "local.file", "name": "new", "backend": "local",
        "desired": { "path": "new", "content": "x" },
    });
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    document.to_string().into_bytes()
}

/// A body, the expected status, and the end of the problem's type.
type Case = (Vec<u8>, u16, &'static str);

fn bodies() -> Vec<Case> {
    let deep = format!("{{\"desired\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    let long = "x".repeat(300);
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("l{n}"), json!("v"))).collect();
    let file = |desired: Value| manifest(json!({ "desired": desired }));
    vec![
        (b"".to_vec(), 400, "bad-json"),
        (b"{".to_vec(), 400, "bad-json"),
        (b"[]".to_vec(), 422, "bad-document"),
        (b"null".to_vec(), 422, "bad-document"),
        (b"{\"kind\": NaN}".to_vec(), 400, "bad-json"),
        (b"{\"kind\": 1e400}".to_vec(), 400, "bad-json"),
        (b"{\"kind\": \"\xff\"}".to_vec(), 400, "bad-json"),
        (b"{\"kind\": \"a\0b\"}".to_vec(), 400, "bad-json"),
        (b"{\"kind\": \"a\", \"kind\": \"b\"}".to_vec(), 400, "bad-json"),
        (deep.into_bytes(), 400, "bad-json"),
        (manifest(json!({ "colour": "red" })), 422, "bad-document"),
        (manifest(json!({ "kind": "no.such" })), 422, "unknown-kind"),
        (manifest(json!({ "kind": 7 })), 422, "bad-document"),
        (manifest(json!({ "backend": "none" })), 422, "unknown-backend"),
        (manifest(json!({ "backend": "sandbox" })), 422, "unknown-backend"),
        (manifest(json!({ "namespace": "none" })), 422, "unknown-namespace"),
        (manifest(json!({ "name": "" })), 422, "bad-document"),
        (manifest(json!({ "name": "a/b" })), 422, "bad-document"),
        (manifest(json!({ "name": "a\u{0}b" })), 422, "bad-document"),
        (manifest(json!({ "name": "a\u{202e}b" })), 422, "bad-document"),
        (manifest(json!({ "name": long })), 422, "bad-document"),
        (manifest(json!({ "labels": { "stateward.x": "y" } })), 422, "bad-document"),
        (manifest(json!({ "labels": { "a": "b\u{7}" } })), 422, "bad-document"),
        (manifest(json!({ "labels": many })), 422, "bad-document"),
        (manifest(json!({ "ignore_fields": ["content"] })), 422, "bad-document"),
        (manifest(json!({ "ignore_fields": ["/~2"] })), 422, "bad-document"),
        (manifest(json!({ "ignore_fields": ["/modes"] })), 422, "bad-document"),
        (manifest(json!({ "ignore_fields": ["/content/*"] })), 422, "bad-document"),
        (manifest(json!({ "drift_policy": "sometimes" })), 422, "bad-document"),
        (manifest(json!({ "external_id": "" })), 422, "bad-document"),
        (file(json!(7)), 422, "invalid"),
        (file(json!({ "path": "new" })), 422, "invalid"),
        (file(json!({ "path": "new", "content": 7 })), 422, "invalid"),
        (file(json!({ "path": "new", "content": "x", "more": 1 })), 422, "invalid"),
        (file(json!({ "path": "new", "content": "x", "mode": "9999" })), 422, "invalid"),
        (file(json!({ "path": "../x", "content": "x" })), 422, "invalid"),
        (file(json!({ "path": "a\u{0}b", "content": "x" })), 422, "invalid"),
        (manifest(json!({ "name": "f" })), 409, "name-taken"),
        (file(json!({ "path": "f", "content": "x" })), 409, "identity-taken"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_declarations_are_refused_and_nothing_is_written() {
    let (_setup, server, _) = server().await;
    let client = &server.client;
    let before = events(client).await;
    for (body, status, name) in bodies() {
        let what = String::from_utf8_lossy(&body[..body.len().min(120)]).into_owned();
        let (answered, problem) =
            raw(client, Method::POST, "/v1/entities", "application/json", &body).await;
        assert_eq!(answered.as_u16(), status, "{what}: {problem:#}");
        assert_eq!(text(&problem["type"]), format!("urn:stateward:problem:{name}"), "{what}");
    }
    let media = raw(client, Method::POST, "/v1/entities", "text/plain", b"{}").await;
    assert_eq!(media.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let big = vec![b' '; 8 * 1024 * 1024];
    let large = raw(client, Method::POST, "/v1/entities", "application/json", &big).await;
    assert_eq!(large.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(events(client).await, before, "something was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_document_is_named() {
    let (_setup, server, _) = server().await;
    let body = manifest(json!({
        "name": "a b", "labels": { "stateward.x": "y" }, "ignore_fields": ["x"],
    }));
    let (_, problem) =
        raw(&server.client, Method::POST, "/v1/entities", "application/json", &body).await;
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|e| text(&e["pointer"])).collect();
    assert_eq!(pointers, ["/name", "/labels/stateward.x", "/ignore_fields/0"]);
    let body = manifest(json!({ "desired": { "path": 1, "content": 2, "more": 3 } }));
    let (_, problem) =
        raw(&server.client, Method::POST, "/v1/entities", "application/json", &body).await;
    assert!(problem["errors"].as_array().unwrap().len() >= 3, "{problem:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_changes_parameters_and_headers_are_refused() {
    let (_setup, server, id) = server().await;
    let client = &server.client;
    let before = events(client).await;
    let path = format!("/v1/entities/{id}");
    let json = "application/json";
    let merged = "application/merge-patch+json";
    let patched = "application/json-patch+json";
    for (method, path, media, body, status) in [
        (Method::PUT, path.clone(), json, "{\"desired\":{\"path\":\"g\",\"content\":\"x\"}}", 422),
        (Method::PUT, path.clone(), json, "{\"name\":\"other\"}", 422),
        (Method::PUT, path.clone(), json, "7", 422),
        (Method::PATCH, path.clone(), json, "{}", 415),
        (Method::PATCH, path.clone(), merged, "7", 422),
        (Method::PATCH, path.clone(), merged, "{\"kind\":\"x\"}", 422),
        (Method::PATCH, path.clone(), patched, "[{\"op\":\"remove\",\"path\":\"/none\"}]", 422),
        (Method::PATCH, path.clone(), patched, "{}", 422),
        (Method::POST, format!("{path}/actions/none"), json, "{}", 404),
        (Method::POST, format!("{path}/actions/refresh"), json, "{\"x\":1}", 422),
        (Method::POST, format!("{path}/actions/decide"), json, "{\"decision\":\"x\"}", 422),
        (Method::POST, format!("{path}/actions/decide"), json, "{\"decision\":\"create\"}", 409),
        (Method::POST, format!("{path}/actions/retry"), json, "{}", 409),
        (Method::POST, format!("{path}/actions/adopt"), json, "{\"external_id\":\"\"}", 422),
        (Method::PUT, "/v1/entities/none".to_owned(), json, "{}", 404),
        (Method::POST, "/v1/none".to_owned(), json, "{}", 404),
        (Method::POST, "/v1/kinds".to_owned(), json, "{}", 405),
    ] {
        let (answered, problem) = raw(client, method, &path, media, body.as_bytes()).await;
        assert_eq!(answered.as_u16(), status, "{path} {body}: {problem:#}");
    }
    for query in [
        "colour=red",
        "page_size=x",
        "page_size=-1",
        "page_token=forged",
        "state=asleep",
        "drifted=perhaps",
        "label=x",
        "selector=",
        "selector=a%3Db%3Dc",
        "selector=a%3E1",
        "wait_for=nonsense",
        "kind=a&kind=b",
        "page_token=%00",
    ] {
        let reply = client.get(&format!("/v1/entities?{query}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}: {:#}", reply.body);
    }
    for at in ["0", "99", "yesterday", "-1"] {
        let status = client.get(&format!("{path}?at={at}")).await.status;
        assert!(status.is_client_error(), "at={at}: {status}");
    }
    for (name, value, status) in [
        ("If-Match", "\"99\"", 412),
        ("If-Match", "99", 400),
        ("Prefer", "wait=soon", 400),
        ("Idempotency-Key", "", 400),
        ("Stateward-Reason", &"x".repeat(501), 400),
    ] {
        let body = json!({ "desired": { "path": "f", "content": "y" } });
        let reply = client.send(Method::PUT, &path, Some(&body), &[(name, value)]).await.unwrap();
        assert_eq!(reply.status.as_u16(), status, "{name}: {value}: {:#}", reply.body);
    }
    assert_eq!(events(client).await, before, "something was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_for_one_request() {
    let (_setup, server, _) = server().await;
    let client = &server.client;
    let send = |name: &'static str| async move {
        let body = json!({
            "kind": "local.file", "name": name, "backend": "local",
            "desired": { "path": name, "content": "x" },
        });
        let headers = [("Idempotency-Key", "k1")];
        client.send(Method::POST, "/v1/entities", Some(&body), &headers).await.unwrap()
    };
    let first = send("one").await;
    let again = send("one").await;
    assert_eq!(first.body["entity"]["id"], again.body["entity"]["id"]);
    assert_eq!(first.body["operation"]["id"], again.body["operation"]["id"]);
    assert_eq!(first.body["position"], again.body["position"]);
    let other = send("two").await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&other.body["type"]).ends_with("idempotency-key-reused"));
}

/// Sends bytes that no client library would send; returns the status line, empty when the connection was closed.
fn shouted(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The server may close before everything is sent: that is a refusal too.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut piece = [0; 4_096];
    while let Ok(length) = stream.read(&mut piece) {
        if length == 0 || answer.len() > 16_384 {
            break;
        }
        answer.extend_from_slice(&piece[..length]);
        if answer.windows(2).any(|pair| pair == b"\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn smuggled_oversized_and_slow_requests_harm_no_other_caller() {
    let (_setup, server, _) = server().await;
    let address = server.client.url.trim_start_matches("http://").to_owned();
    let before = events(&server.client).await;
    let heads = [
        "POST /v1/entities HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET",
        "POST /v1/entities HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "POST /v1/entities HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /v1/entities HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        "GET /v1/entities HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        "\r\n\r\n\0\0\0\0",
    ];
    for head in heads {
        let (address, bytes) = (address.clone(), head.as_bytes().to_vec());
        let line = tokio::task::spawn_blocking(move || shouted(&address, &bytes)).await.unwrap();
        let refused = line.is_empty() || line.contains(" 4") || line.contains(" 501");
        assert!(refused, "{head:?}: {line}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(400_000));
    let target = address.clone();
    let line =
        tokio::task::spawn_blocking(move || shouted(&target, long.as_bytes())).await.unwrap();
    assert!(line.is_empty() || line.contains(" 4"), "{line}");

    // A body that never arrives: the server times out, and serves others meanwhile.
    let head =
        "POST /v1/entities HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nAuthorization: Bearer";
    let slow = format!("{head} {}\r\n\r\n{{", server.client.token).into_bytes();
    let target = address.clone();
    let waiting = tokio::task::spawn_blocking(move || shouted(&target, &slow));
    assert_eq!(server.client.get("/livez").await.status, StatusCode::OK);
    let line = waiting.await.unwrap();
    assert!(line.contains(" 408"), "{line}");
    assert_eq!(events(&server.client).await, before);
    assert_eq!(server.client.get("/readyz").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_at_the_edge_are_kept_as_they_were_written() {
    let (_setup, server, _) = server().await;
    for (name, number) in [
        ("a", "9223372036854775808"),
        ("b", "-9223372036854775808"),
        ("c", "18446744073709551615"),
        ("d", "9007199254740993"),
        ("e", "0.1"),
    ] {
        let body = format!(
            "{{\"kind\":\"fake.thing\",\"name\":\"{name}\",\"backend\":\"sandbox\",\"desired\":{{\"n\":{number}}}}}"
        );
        let (status, reply) =
            raw(&server.client, Method::POST, "/v1/entities", "application/json", body.as_bytes())
                .await;
        assert_eq!(status, StatusCode::ACCEPTED, "{number}: {reply:#}");
        let entity = server.client.reaches(&text(&reply["entity"]["id"]), "ok").await;
        assert_eq!(entity["desired"]["n"].to_string(), number);
        assert_eq!(entity["observed"]["attributes"]["n"].to_string(), number);
    }
}
