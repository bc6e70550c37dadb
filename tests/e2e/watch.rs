//! Watching the log: every event once and in order, across restarts and reconnects.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Setup, WAIT_MAX, text, thing};

/// The events that one watcher received.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) positions: Vec<String>,
    pub(crate) names: Vec<String>,
}

/// One connection: reads until it ends or `enough` creations were received.
pub(crate) async fn listen(client: &Client, query: &str, seen: &mut Seen, enough: usize) {
    let mut request = client
        .request(Method::GET, &format!("/v1/events?{query}"))
        .header("Accept", "text/event-stream");
    if let Some(last) = seen.positions.last() {
        request = request.header("Last-Event-ID", last);
    }
    let Ok(response) = request.send().await else { return };
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut bytes, mut text) = (response.bytes_stream(), String::new());
    while let Some(Ok(piece)) = bytes.next().await {
        text.push_str(std::str::from_utf8(&piece).expect("events end where characters do"));
        while let Some(end) = text.find("\n\n") {
            take(&text[..end], seen);
            text.drain(..end + 2);
        }
        if seen.names.len() >= enough {
            return;
        }
    }
}

fn take(frame: &str, seen: &mut Seen) {
    let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
    let (Some(id), Some(data)) = (field("id: "), field("data: ")) else { return };
    let event: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(event["position"], id);
    seen.positions.push(id.to_owned());
    seen.names.push(text(&event["data"]["name"]));
}

/// Watches until `enough` creations were received, reconnecting whenever the server ends the stream.
async fn watch(setup: &Setup, client: Client, after: String, enough: usize) -> Seen {
    let mut seen = Seen::default();
    let query = format!("type=entity.create_requested&after={after}");
    let mut client = client;
    let all = async {
        while seen.names.len() < enough {
            listen(&client, &query, &mut seen, enough).await;
            if let Some(url) = address(setup) {
                client = client.at(&url);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, all).await.expect("everything is seen in time");
    seen
}

/// The present address of the server of this folder: the test writes it at each start.
fn address(setup: &Setup) -> Option<String> {
    std::fs::read_to_string(setup.folder.path().join("address")).ok()
}

async fn declare(client: &Client, from: usize, to: usize) {
    for number in from..to {
        let body = thing(&format!("t{number}"), json!({ "size": 1 }));
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_watcher_sees_every_event_once_in_order_across_a_restart() {
    const WATCHERS: usize = 50;
    const EVENTS: usize = 200;
    let setup = Setup::new("");
    let note = |url: &str| std::fs::write(setup.folder.path().join("address"), url).unwrap();
    let mut server = setup.start().await;
    note(&server.client.url);
    let first = thing("first", json!({ "size": 1 }));
    let reply = server.client.done(Method::POST, "/v1/entities", first).await;
    let after = text(&reply.body["position"]);
    let client = server.client.clone();
    let watchers = (0..WATCHERS).map(|_| watch(&setup, client.clone(), after.clone(), EVENTS));
    let changes = async {
        declare(&server.client, 0, EVENTS / 2).await;
        assert!(server.terminate().await.success(), "watchers must not hold it up");
        server = setup.start().await;
        note(&server.client.url);
        declare(&server.client, EVENTS / 2, EVENTS).await;
    };
    let (seen, ()) = tokio::join!(join_all(watchers), changes);
    let expected: Vec<_> = (0..EVENTS).map(|number| format!("t{number}")).collect();
    for one in seen {
        assert_eq!(one.names, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_of_elsewhere_are_gone_and_nonsense_is_refused() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let other = Setup::new("");
    let elsewhere = other.start().await;
    elsewhere.client.thing("x", json!({})).await;
    let events = elsewhere.client.get("/v1/events").await.body;
    let foreign = text(&events["items"][0]["position"]);
    let page = server.client.get("/v1/events").await.body;
    let own = text(&page["items"][0]["position"]);
    for accept in ["application/json", "text/event-stream"] {
        let get = |query: &str| {
            let path = format!("/v1/events?{query}");
            server.client.request(Method::GET, &path).header("Accept", accept).send()
        };
        let gone = get(&format!("after={foreign}")).await.unwrap();
        assert_eq!(gone.status(), StatusCode::GONE, "{accept}");
        // A position of this log beyond its head.
        let last = format!("{}ffff", &own[..36]);
        let ahead = get(&format!("after={last}")).await.unwrap();
        assert_eq!(ahead.status(), StatusCode::GONE, "{accept}");
        assert_eq!(get("after=nonsense").await.unwrap().status(), StatusCode::BAD_REQUEST);
        assert_eq!(get("colour=red").await.unwrap().status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_whose_token_is_revoked_is_sent_away_at_once() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let body = json!({ "actor": "somebody", "grants": [{ "role": "viewer" }] });
    let issued = server.client.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
    let caller = server.client.with_token(&text(&issued.body["value"]));
    let request = caller.request(Method::GET, "/v1/events").header("Accept", "text/event-stream");
    let mut pieces = request.send().await.unwrap().bytes_stream();
    assert!(pieces.next().await.unwrap().unwrap().starts_with(b": welcome"));
    let revoke = format!("/v1/tokens/{}", text(&issued.body["id"]));
    server.client.send(Method::DELETE, &revoke, None, &[]).await.unwrap();
    server.client.thing("later", json!({ "size": 1 })).await;
    let rest = tokio::time::timeout(WAIT_MAX / 6, pieces.map(Result::unwrap).collect::<Vec<_>>());
    let rest = rest.await.expect("the stream ends long before a heartbeat").concat();
    let rest = String::from_utf8(rest).unwrap();
    assert!(!rest.contains("later"), "it saw what came after: {rest}");
}
