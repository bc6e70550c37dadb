//! Positions that this log cannot have issued: every endpoint with a position refuses them at once.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cli::start;
use crate::harness::{Client, Setup, text, thing};

/// Parameters that are positions, of all endpoints.
const NAMES: [&str; 3] = ["wait_for", "after", "until"];

/// Every endpoint with a position, and its parameter or header; a test compares the parameters with the served document.
const TAKERS: &[(&str, &str)] = &[
    ("/v1/entities", "wait_for"),
    ("/v1/operations", "wait_for"),
    ("/v1/entities/{id}/operations", "wait_for"),
    ("/v1/events", "after"),
    ("/v1/events", "page_token"),
    ("/v1/events", "Last-Event-ID"),
    ("/v1/audit/export", "after"),
    ("/v1/audit/export", "until"),
];

/// Endpoint and parameter of every position in the document.
fn documented(document: &Value) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        for verb in verbs.as_object().expect("verbs").values() {
            for parameter in verb["parameters"].as_array().into_iter().flatten() {
                let name = text(&parameter["name"]);
                if NAMES.contains(&&*name) || name == "Last-Event-ID" {
                    found.insert((path.clone(), name));
                }
            }
        }
    }
    found
}

/// The status and the problem of a request with a position.
async fn answer(client: &Client, path: &str, taker: &str, position: &str) -> (StatusCode, Value) {
    let request = if taker == "Last-Event-ID" {
        client.request(Method::GET, path).header(taker, position)
    } else {
        client.request(Method::GET, &format!("{path}?{taker}={position}"))
    };
    let streams = taker == "Last-Event-ID";
    let accept = if streams { "text/event-stream" } else { "application/json" };
    let response = request.header("Accept", accept).send().await.expect("an answer");
    let status = response.status();
    // An endless stream has no complete body.
    if status == StatusCode::OK {
        return (status, Value::Null);
    }
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_of_which_position_it_is_and_events_go_on_from_there() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("one", json!({ "size": 1 })).await;
    let operations = format!("/v1/entities/{id}/operations");
    for (number, path) in ["/v1/entities", "/v1/operations", &operations].into_iter().enumerate() {
        let before = events_after(client, &"0".repeat(40)).await;
        let position = text(&before.last().unwrap()["position"]);
        let path = format!("{path}?wait_for={position}");
        let listed = client.request(Method::GET, &path).send().await.unwrap();
        let as_of = listed.headers()["Stateward-Position"].to_str().unwrap().to_owned();
        let entity = thing("two", json!({ "size": number }));
        let body = json!({ "desired": entity["desired"], "labels": { "at": number.to_string() } });
        let path = format!("/v1/entities/{id}");
        // Waited for, so that nothing else happens before the next list.
        client.done(Method::PUT, &path, body).await;
        let after = events_after(client, &as_of).await;
        // The change is the first thing behind the list, and all of it is.
        let last = before.last().unwrap()["version"].as_u64().unwrap();
        assert_eq!(after[0]["version"].as_u64(), Some(last + 1), "{path}: {after:#?}");
    }
}

async fn events_after(client: &Client, position: &str) -> Vec<Value> {
    let events = client.get(&format!("/v1/events?after={position}")).await;
    assert_eq!(events.status, StatusCode::OK, "{:#}", events.body);
    events.body["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_takes_a_position_refuses_one_of_elsewhere_or_ahead() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("x", json!({})).await;
    let document = client.get("/openapi.json").await.body;
    let named = TAKERS.iter().filter(|(_, taker)| *taker != "page_token");
    let named: BTreeSet<_> =
        named.map(|(path, taker)| ((*path).to_owned(), (*taker).to_owned())).collect();
    assert_eq!(documented(&document), named, "an endpoint takes a position that is not tried here");

    let events = client.get("/v1/events").await.body;
    let own =
        text(&events["items"].as_array().expect("items").last().expect("an event")["position"]);
    // Of an epoch that sorts before ours, of one that sorts after it, and one beyond the head.
    let before = format!("{:08x}{}", 1, &own[8..]);
    let behind = format!("{:08x}{}", u32::MAX, &own[8..]);
    let ahead = format!("{}ffff", &own[..36]);
    for (path, taker) in TAKERS {
        let path = path.replace("{id}", &id);
        let (status, problem) = answer(client, &path, taker, &own).await;
        assert_eq!(status, StatusCode::OK, "{path} {taker}: {problem:#}");
        for position in [&before, &behind, &ahead] {
            let (status, problem) = answer(client, &path, taker, position).await;
            assert_eq!(status, StatusCode::GONE, "{path} {taker}={position}: {problem:#}");
            assert_eq!(problem["type"], "urn:stateward:problem:position-gone");
            assert!(text(&problem["detail"]).contains(&own[..8]), "the head is named: {problem:#}");
        }
        let (status, _) = answer(client, &path, taker, "nonsense").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path} {taker}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_says_that_a_position_is_gone() {
    let (setup, server, cli) = start("").await;
    server.client.thing("x", json!({})).await;
    let data = setup.data().display().to_string();
    let ahead = "f".repeat(40);
    for line in [
        format!("events --after {ahead}"),
        format!("events -f --after {ahead}"),
        format!("audit export --after {ahead}"),
        format!("audit export --until {ahead} -o online.jsonl"),
        format!("audit export --offline --data {data} --after {ahead}"),
        format!("audit export --offline --data {data} --until {ahead} -o offline.jsonl"),
    ] {
        let complaint = cli.fails(&line, 3).await;
        assert!(complaint.contains("the position is gone"), "{line}: {complaint}");
    }
    for file in ["online.jsonl", "offline.jsonl"] {
        assert!(!setup.folder.path().join(file).exists(), "{file} holds nothing");
    }
}
