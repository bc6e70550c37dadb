//! Small requests with large costs: memory, depth, time, places. Each is answered at once, and others are served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, World, condition, text, thing, until};

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const MIB: usize = 1024 * 1024;

async fn patch(client: &Client, id: &str, media: &str, patch: &Value) -> (StatusCode, Value) {
    let request = client.request(Method::PATCH, &format!("/v1/entities/{id}"));
    let request = request.header("Content-Type", media).body(patch.to_string());
    let response = request.send().await.expect("an answer");
    (response.status(), response.json().await.expect("JSON"))
}

/// Peak memory of the server, in bytes.
fn peak(server: &Server) -> usize {
    let path = format!("/proc/{}/status", server.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a number");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

fn copies(times: usize) -> Value {
    Value::from(vec![json!({ "op": "copy", "from": "/desired", "path": "/desired/a" }); times])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_a_patch_is_bounded() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let id = server.client.thing("t", json!({ "size": 1 })).await;
    let before = peak(&server);
    let doubled = (0..27).map(
        |number| json!({ "op": "copy", "from": "/desired", "path": format!("/desired/{number}") }),
    );
    for wide in [copies(126), copies(2_500), copies(15_000), doubled.collect()] {
        let (status, problem) = patch(&server.client, &id, JSON_PATCH, &wide).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem:#}");
        assert!(text(&problem["type"]).ends_with("patch-failed"), "{problem:#}");
    }
    let piece = vec![0; 30_000];
    let (mut status, mut size) = (StatusCode::ACCEPTED, 0);
    while status == StatusCode::ACCEPTED && size < 12 {
        let grown = json!({ "desired": { (size.to_string()): piece } });
        (status, _) = patch(&server.client, &id, MERGE_PATCH, &grown).await;
        size += 1;
    }
    assert_eq!(
        (status, size),
        (StatusCode::UNPROCESSABLE_ENTITY, 4),
        "100,000 values are the most"
    );
    assert!(peak(&server) - before < 300 * MIB, "{}", peak(&server) - before);
    let changed = json!({ "desired": { "size": 2 } });
    let path = format!("/v1/entities/{id}");
    server.client.done(Method::PUT, &path, changed).await;
    assert_eq!(server.client.entity(&id).await["observed"]["attributes"], json!({ "size": 2 }));
    server.client.done(Method::DELETE, &path, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_backend_answers_is_cut_off_and_the_entity_says_so() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    let id = server.client.thing("t", json!({ "size": 1 })).await;
    let external_id = text(&server.client.entity(&id).await["observed"]["external_id"]);
    let deep = (0..124).fold(json!(1), |inner, _| json!({ "a": inner }));
    world.tamper(&external_id, &json!({ "size": 1, "deep": deep })).await;
    let refresh = format!("/v1/entities/{id}/actions/refresh");
    server.client.done(Method::POST, &refresh, Value::Null).await;
    let said = |entity: &Value| {
        let conditions = entity["conditions"].as_array().unwrap().clone();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "ready").unwrap();
        text(&ready["message"])
    };
    let entity = server.client.entity(&id).await;
    assert!(said(&entity).contains("left out (at /deep/a/"), "{entity:#}");
    assert!(condition(&entity, "ready") && condition(&entity, "synced"), "{entity:#}");
    assert!(server.terminate().await.success());
    // It can be read back.
    let server = setup.start().await;
    assert!(said(&server.client.entity(&id).await).contains("left out"));
    assert_eq!(server.client.entities().await.len(), 1);
    let path = format!("/v1/entities/{id}");
    // A client cannot send back the omitted part.
    let cut = json!({ "desired": server.client.entity(&id).await["observed"]["attributes"] });
    let reply = server.client.send(Method::PUT, &path, Some(&cut), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{:#}", reply.body);
    assert!(text(&reply.body["errors"][0]["pointer"]).starts_with("/desired/deep/a"));
    server.client.done(Method::DELETE, &path, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_takes_no_more_than_a_plain_one() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let gzip = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let send = |coding: &'static str, body: Vec<u8>| {
        let request = server.client.request(Method::POST, "/v1/entities");
        let request = request.header("Content-Type", "application/json");
        let request = request.header("Content-Encoding", coding).body(body).send();
        async move { request.await.unwrap().status().as_u16() }
    };
    let before = peak(&server);
    let bomb = gzip(&vec![b' '; 16 * MIB]);
    let all = (0..24).map(|_| send("gzip", bomb.clone()));
    for status in futures_util::future::join_all(all).await {
        assert!([413, 503].contains(&status), "{status}");
    }
    assert!(peak(&server) - before < 200 * MIB, "{}", peak(&server) - before);
    let manifest = thing("t", json!({ "size": 1 })).to_string();
    assert_eq!(send("gzip", gzip(manifest.as_bytes())).await, 202);
    assert_eq!(send("gzip", manifest.clone().into_bytes()).await, 400);
    assert_eq!(send("br", manifest.into_bytes()).await, 415);
}

/// A manifest in which each of `objects` takes seven bytes as text and a hundred times as much once it is parsed.
fn manifest_of_objects(name: &str, objects: usize) -> Vec<u8> {
    let list = vec!["{\"\":0}"; objects].join(",");
    let manifest = thing(name, json!({ "a": "LIST" })).to_string();
    manifest.replace("\"LIST\"", &format!("[{list}]")).into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn parsed_bodies_take_no_more_memory_than_a_caller_s_share() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let operator = json!({ "actor": "ops", "grants": [{ "role": "operator" }] });
    let issued =
        server.client.send(Method::POST, "/v1/tokens", Some(&operator), &[]).await.unwrap();
    let operator = Client::new(&server.client.url, &text(&issued.body["value"]));
    let send = |body: Vec<u8>| {
        let request = operator.request(Method::POST, "/v1/entities");
        let request = request.header("Content-Type", "application/json").body(body).send();
        async move { request.await.unwrap().status().as_u16() }
    };
    // The largest one that a desired state may be is served, beside one that is too large for any.
    assert_eq!(send(manifest_of_objects("largest", 49_000)).await, 202);
    assert_eq!(send(manifest_of_objects("larger", 60_000)).await, 413);
    let before = peak(&server);
    let all = (0..40).map(|number| send(manifest_of_objects(&format!("t{number}"), 49_000)));
    let probed = async {
        let mut longest = Duration::ZERO;
        for _ in 0..10 {
            let began = std::time::Instant::now();
            assert_eq!(server.client.get("/livez").await.status, StatusCode::OK);
            longest = longest.max(began.elapsed());
        }
        longest
    };
    let (answers, longest) = tokio::join!(futures_util::future::join_all(all), probed);
    assert!(answers.iter().all(|status| [202, 503].contains(status)), "{answers:?}");
    assert!(answers.contains(&202), "{answers:?}");
    // A second in an optimised build; without the bound the probe was given up after ten.
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    // Without the bound, 70 MiB for each body.
    assert!(peak(&server) - before < 800 * MIB, "{} MiB", (peak(&server) - before) / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_clients_make_up_are_no_labels() {
    let setup = Setup::new("");
    let server = setup.start().await;
    for number in 0..20 {
        let method = Method::from_bytes(format!("MADEUP{number}").as_bytes()).unwrap();
        let path = format!("/v1/madeup{number}");
        server.client.request(method, &path).send().await.unwrap();
    }
    let metrics = server.client.metrics().await;
    assert!(metrics.contains("method=\"other\""), "{metrics}");
    assert!(!metrics.to_ascii_lowercase().contains("madeup"), "{metrics}");
}

/// A connection that sends `head` and then nothing.
fn silent(address: &str, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_keep_no_caller_out() {
    let setup = Setup::new("[server]\nconnections_max = 32\n");
    let server = setup.start().await;
    let address = server.client.url.trim_start_matches("http://").to_owned();
    // Some without any request, some within one, some after one.
    let heads = ["", "GET /v1/kinds HTTP/1.1\r\nX: ", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"];
    let held: Vec<_> = (0..200).map(|number| silent(&address, heads[number % 3])).collect();
    let fresh = Client::new(&server.client.url, &server.client.token);
    for path in ["/livez", "/readyz", "/v1/kinds"] {
        let answer = tokio::time::timeout(Duration::from_secs(5), fresh.get(path)).await;
        assert_eq!(answer.expect("no connection is waited for").status, StatusCode::OK, "{path}");
    }
    // The longest idle ones were closed for it.
    let mut oldest = &held[0];
    oldest.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(oldest.read(&mut [0; 1]), Ok(0)), "it is still open");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_requests_hold_up_no_other_caller() {
    let config = "[server]\nin_flight_max = 2\nwaiting_max = 8\n";
    let setup = Setup::new(config);
    let server = setup.start().await;
    let client = &server.client;
    let mut waiting = Vec::new();
    for number in 0..4 {
        let body = thing(&format!("t{number}"), json!({ "_fake": { "pending_ms": 600_000 } }));
        let waiter = client.clone();
        waiting.push(tokio::spawn(async move {
            waiter.send(Method::POST, "/v1/entities", Some(&body), &[("Prefer", "wait=60")]).await
        }));
        until("it is declared, and looked at", async || {
            let list = client.get(&format!("/v1/entities?name=t{number}")).await;
            assert_eq!(list.status, StatusCode::OK, "{:#}", list.body);
            list.body["items"].as_array().is_some_and(|items| items.len() == 1).then_some(())
        })
        .await;
    }
    // A caller has half of the places; further requests do not wait.
    let body = thing("more", json!({ "_fake": { "pending_ms": 600_000 } }));
    let more = client.send(Method::POST, "/v1/entities", Some(&body), &[("Prefer", "wait=60")]);
    assert_eq!(more.await.unwrap().status, StatusCode::ACCEPTED);
    assert!(waiting.iter().all(|waiter| !waiter.is_finished()));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_watchers_are_bounded_in_bytes() {
    const THINGS: usize = 5;
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let start = text(&client.get("/v1/events?page_size=1").await.body["items"][0]["position"]);
    for number in 0..THINGS {
        let large = json!({ "text": "x".repeat(900_000) });
        client.thing(&format!("t{number}"), large).await;
    }
    let (mut seen, mut pages, mut query) = (Vec::new(), 0, String::new());
    loop {
        let reply = client.request(Method::GET, &format!("/v1/events?page_size=1000{query}"));
        let body = reply.send().await.unwrap().bytes().await.unwrap();
        assert!(body.len() < 6 * MIB, "a page has {} bytes", body.len());
        let page: Value = serde_json::from_slice(&body).unwrap();
        seen.extend(page["items"].as_array().unwrap().iter().map(|event| text(&event["position"])));
        pages += 1;
        match page["next_page_token"].as_str() {
            Some(token) => query = format!("&page_token={token}"),
            None => break,
        }
    }
    assert!(pages > 1 && seen.len() > 3 * THINGS, "{pages} pages, {} events", seen.len());
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, seen, "every event once, in order");

    // Twenty watchers that begin to read, and stop.
    let before = peak(&server);
    let address = client.url.trim_start_matches("http://").to_owned();
    let head = format!(
        "GET /v1/events?after={start} HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\
         Authorization: Bearer {}\r\n\r\n",
        client.token
    );
    let stopped = tokio::task::spawn_blocking(move || {
        let mut all: Vec<_> = (0..20).map(|_| silent(&address, &head)).collect();
        for stream in all.iter_mut().take(4) {
            // Past the head of the response: events are being sent.
            stream.read_exact(&mut vec![0; 100_000]).unwrap();
        }
        all
    });
    let stopped = stopped.await.unwrap();
    assert!(peak(&server) - before < 150 * MIB, "{}", peak(&server) - before);
    assert_eq!(client.get("/v1/kinds").await.status, StatusCode::OK);
    drop(stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_has_the_same_bound() {
    let setup = Setup::new("");
    let server = setup.start().await;
    for (path, ends) in [("/v1/backends/local/actions/pause", 200), ("/v1/system/unfreeze", 200)] {
        for (reason, status) in [
            ("x".repeat(900_000), 422),
            ("x".repeat(501), 422),
            ("a\u{0}b".to_owned(), 422),
            ("é".repeat(500), ends),
        ] {
            let body = json!({ "reason": reason });
            let reply = server.client.send(Method::POST, path, Some(&body), &[]).await.unwrap();
            assert_eq!(reply.status.as_u16(), status, "{path}: {:#}", reply.body);
        }
    }
}
