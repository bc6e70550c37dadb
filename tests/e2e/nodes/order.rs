//! Watchers on different nodes see one order, and every event once, also those that go on at another node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Nodes;
use crate::harness::{Client, WAIT_MAX, text, until};
use crate::watch::{Seen, listen};

/// Clients that write at the same time.
const CLIENTS: usize = 64;
/// Events that a watcher reads before it goes on at the third node.
const BEFORE_RECONNECT: usize = 200;

/// How long the clients write: `STATEWARD_TEST_WATCH_SECONDS`, else ten seconds.
fn duration() -> Duration {
    let seconds = std::env::var("STATEWARD_TEST_WATCH_SECONDS").ok();
    Duration::from_secs(seconds.map_or(10, |seconds| seconds.parse().expect("a number")))
}

/// Declares things, changes and deletes them, each request over the next node, until `end`; returns the positions of the
/// replies.
async fn write(nodes: Arc<Nodes>, client: usize, end: Instant) -> Vec<String> {
    let mut accepted = Vec::new();
    for turn in 0.. {
        let name = format!("w-{client}-{turn}");
        let (id, position) = nodes.declare(client + turn, &name, json!({ "size": 1 })).await;
        accepted.push(position);
        let path = format!("/v1/entities/{id}");
        let change = json!({ "desired": { "size": 2 } });
        for (method, body) in [(Method::PUT, Some(&change)), (Method::DELETE, None)] {
            let over = nodes.client(client + accepted.len());
            let reply = over.send(method, &path, body, &[]).await.expect("an answer");
            assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
            accepted.push(text(&reply.body["position"]));
        }
        if Instant::now() >= end {
            break;
        }
    }
    accepted
}

/// All positions after `after`, in the order of the pages.
async fn listed(client: &Client, after: &str) -> Vec<String> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/events?after={after}&page_size=1000{token}")).await;
        assert_eq!(page.status, StatusCode::OK, "{:#}", page.body);
        let items = page.body["items"].as_array().expect("items");
        all.extend(items.iter().map(|event| text(&event["position"])));
        match page.body["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => return all,
        }
    }
}

/// Watches on `first`, and from the middle on at `second`, until `enough` names how many events there are, and those
/// have come; returns their positions.
async fn watch(
    (first, second): (Client, Client),
    after: String,
    mut enough: watch::Receiver<Option<usize>>,
) -> Vec<String> {
    let mut seen = Seen::default();
    let query = format!("after={after}");
    listen(&first, &query, &mut seen, BEFORE_RECONNECT).await;
    loop {
        let wanted = *enough.borrow_and_update();
        if wanted.is_some_and(|wanted| seen.positions.len() >= wanted) {
            return seen.positions;
        }
        // What breaks off continues after the last event that was taken.
        tokio::select! {
            () = listen(&second, &query, &mut seen, wanted.unwrap_or(usize::MAX)) => {}
            Ok(()) = enough.changed() => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_on_two_nodes_see_every_event_once_in_one_order_while_three_write() {
    let Some(nodes) = Nodes::start(3).await else { return };
    let after = nodes.declare(0, "first", json!({ "size": 1 })).await.1;
    let end = Instant::now() + duration();
    let (complete, enough) = watch::channel(None);
    let watchers: Vec<_> = (0..2)
        .map(|node| {
            let clients = (nodes.client(node).clone(), nodes.client(2).clone());
            tokio::spawn(watch(clients, after.clone(), enough.clone()))
        })
        .collect();
    let nodes = Arc::new(nodes);
    let writers = (0..CLIENTS).map(|client| tokio::spawn(write(Arc::clone(&nodes), client, end)));
    let mut accepted = BTreeSet::new();
    for writer in writers.collect::<Vec<_>>() {
        accepted.extend(writer.await.unwrap());
    }
    // Readers are let past an event a moment after it is acknowledged.
    let expected = until("all accepted is listed", async || {
        let listed = listed(nodes.client(2), &after).await;
        (listed.last() >= accepted.last()).then_some(listed)
    })
    .await;
    let all: BTreeSet<_> = expected.iter().cloned().collect();
    assert_eq!(accepted.difference(&all).next(), None, "accepted, and in no list");
    println!("{} requests in {:?}, {} events", accepted.len(), duration(), expected.len());
    complete.send_replace(Some(expected.len()));
    for (number, watcher) in watchers.into_iter().enumerate() {
        let mut seen = tokio::time::timeout(WAIT_MAX, watcher).await.expect("all came").unwrap();
        seen.truncate(expected.len());
        // Not compared as a whole: the difference would be a page of positions.
        let differs = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
        assert_eq!((differs, seen.len()), (None, expected.len()), "watcher {number}");
    }
    assert!(expected.is_sorted(), "positions of one epoch rise");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_acknowledged_is_listed_by_the_others_at_once() {
    let Some(nodes) = Nodes::start(3).await else { return };
    for round in 0..60 {
        let name = format!("t{round}");
        let (_, position) = nodes.declare(round, &name, json!({ "size": 1 })).await;
        let path = "/v1/events?page_size=1000&type=entity.create_requested";
        let page = nodes.client(round + 1).get(path).await.body;
        let listed = page["items"].as_array().expect("items");
        let last = listed.last().map(|event| text(&event["position"]));
        assert_eq!(last, Some(position), "round {round}");
    }
}
