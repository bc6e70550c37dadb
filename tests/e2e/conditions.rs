//! Conditional requests and HEAD: `If-Match`, `If-None-Match`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Setup, text};

/// The readable paths of the document, with a value for each parameter.
fn readable(document: &serde_json::Value, names: &[(&str, &str)]) -> Vec<String> {
    let paths = document["paths"].as_object().unwrap().iter();
    let readable = paths.filter(|(_, methods)| methods["get"].is_object());
    let filled = |path: &String| {
        names.iter().fold(path.clone(), |path, (name, value)| path.replace(name, value))
    };
    readable.map(|(path, _)| filled(path)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_can_be_asked_for_its_headers_alone() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("one", json!({ "size": 1 })).await;
    let operations = client.get("/v1/operations").await.body;
    let operation = text(&operations["items"][0]["id"]);
    let document = client.get("/openapi.json").await.body;
    let names = [
        ("entities/{id}", &*format!("entities/{id}")),
        ("operations/{id}", &*format!("operations/{operation}")),
        ("{kind}", "fake.thing"),
        ("{name}/objects", "sandbox/objects?kind=fake.thing"),
        ("{name}", "sandbox"),
    ];
    let paths = readable(&document, &names);
    assert!(paths.len() > 15, "{paths:?}");
    let more =
        ["/openapi.json", "/docs/", "/v1/entities?page_size=x", "/v1/none", "/v1/kinds/none"];
    let exported = "/v1/events?type=system.audit_exported";
    for path in paths.iter().map(String::as_str).chain(more) {
        let before = client.get(exported).await.body;
        let head = client.request(Method::HEAD, path).send().await.unwrap();
        assert_eq!(client.get(exported).await.body, before, "{path}: HEAD left something behind");
        let get = client.request(Method::GET, path).send().await.unwrap();
        assert_eq!(head.status(), get.status(), "{path}");
        for name in ["content-type", "etag"] {
            assert_eq!(head.headers().get(name), get.headers().get(name), "{path}: {name}");
        }
        assert!(head.bytes().await.unwrap().is_empty(), "{path}");
    }
    let refused = client.request(Method::HEAD, "/v1/audit/verify").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED);
    let refused = client.request(Method::POST, "/livez").send().await.unwrap();
    assert_eq!(refused.headers()["allow"], "GET, HEAD");
    let stranger = client.with_token("none");
    let refused = stranger.request(Method::HEAD, "/v1/entities").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

/// On one connection: a body after the head would be read as the next response.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_the_headers_not_even_of_a_stream() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let address = server.client.url.trim_start_matches("http://").to_owned();
    let token = &server.client.token;
    let head = |path: &str, more: &str| {
        format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
    };
    let stream = head("/v1/events", "Accept: text/event-stream\r\n");
    let last = head("/livez", "Connection: close\r\n");
    let requests = [head("/livez", ""), head("/v1/entities", ""), stream, last].concat();
    let said = tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        connection.write_all(requests.as_bytes()).unwrap();
        let mut said = String::new();
        connection.read_to_string(&mut said).unwrap();
        said
    });
    let said = said.await.unwrap();
    let answers: Vec<_> = said.split("\r\n\r\n").collect();
    assert_eq!(answers.len(), 5, "{said}");
    assert!(answers[..4].iter().all(|answer| answer.starts_with("HTTP/1.1 200 OK\r\n")), "{said}");
    assert!(answers[0].contains("content-length: 3"), "as long as the body would be: {said}");
    assert!(answers[2].contains("text/event-stream"), "{said}");
    assert_eq!(answers[4], "", "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_may_name_the_revisions_that_it_is_meant_for() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("one", json!({ "size": 1 })).await;
    let path = format!("/v1/entities/{id}");
    let merge = ("Content-Type", "application/merge-patch+json");
    let mut size = 1;
    for (tags, status) in [
        ("\"9\"", 412),
        ("W/\"9\", \"8\"", 412),
        ("\"abc\"", 412),
        ("*, \"1\"", 400),
        ("1", 400),
        ("\"1\"", 202),
        ("W/\"2\"", 202),
        ("\"9\", \"3\"", 202),
        ("\"9\", W/\"4\" ,\"7\"", 202),
        ("*", 202),
    ] {
        size += 1;
        let body = json!({ "desired": { "size": size } });
        // By GET and by HEAD: both refuse the same.
        let (method, media) = if size % 2 == 0 {
            (Method::PUT, ("Content-Type", "application/json"))
        } else {
            (Method::PATCH, merge)
        };
        let headers = [("If-Match", tags), media];
        let reply = client.send(method, &path, Some(&body), &headers).await.unwrap();
        assert_eq!(reply.status.as_u16(), status, "{tags}: {:#}", reply.body);
    }
    let stale = client.send(Method::DELETE, &path, None, &[("If-Match", "\"1\", \"2\"")]).await;
    assert_eq!(stale.unwrap().status, StatusCode::PRECONDITION_FAILED);
    let entity = client.entity(&id).await;
    let list = format!("\"1\", W/\"{}\"", entity["revision"]);
    let gone = client.send(Method::DELETE, &path, None, &[("If-Match", &list)]).await.unwrap();
    assert_eq!(gone.status, StatusCode::ACCEPTED, "{:#}", gone.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_seen_the_revision_gets_304() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("one", json!({ "size": 1 })).await;
    let path = format!("/v1/entities/{id}");
    let get = async |tags: &str| {
        let request = client.request(Method::GET, &path).header("If-None-Match", tags);
        let response = request.send().await.unwrap();
        let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        (response.status().as_u16(), tag, response.bytes().await.unwrap().len())
    };
    let tag = Some("\"1\"".to_owned());
    for same in ["\"1\"", "W/\"1\"", "\"7\", \"1\"", "*"] {
        assert_eq!(get(same).await, (304, tag.clone(), 0), "{same}");
    }
    for other in ["\"2\"", "\"11\"", "\"a\", W/\"0\""] {
        let (status, found, length) = get(other).await;
        assert_eq!((status, found.as_ref(), length > 0), (200, tag.as_ref(), true), "{other}");
    }
    assert_eq!(get("1").await.0, 400);
    // No cache may keep it: the state changes under the same tag.
    let response = client.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    client.send(Method::PUT, &path, Some(&json!({ "desired": { "size": 2 } })), &[]).await.unwrap();
    assert_eq!(get("\"1\"").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_holds_what_a_schema_allows() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let file = |name: &str, content: String| {
        json!({
            "kind": "local.file", "name": name, "backend": "local",
            "desired": { "path": name, "content": content },
        })
    };
    let mib = 1024 * 1024;
    // Each of them takes six bytes in a body.
    let escaped = file("escaped", "\u{1}".repeat(mib));
    let id = text(&client.done(Method::POST, "/v1/entities", escaped).await.body["entity"]["id"]);
    let written = std::fs::read(setup.data().join("managed/escaped")).unwrap();
    assert!(written.len() == mib && written.iter().all(|byte| *byte == 1));
    let events = client.get(&format!("/v1/entities/{id}/events")).await.body;
    let content = events["items"][0]["data"]["desired"]["content"].as_str();
    assert_eq!(content.map(str::len), Some(mib));
    let longer = file("longer", "x".repeat(mib + 1));
    let reply = client.send(Method::POST, "/v1/entities", Some(&longer), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "the schema says no, not the limit");
}
