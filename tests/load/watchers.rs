//! A thousand watchers of the whole log, during five hundred changes a second and a restart of the server.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use crate::harness::{Client, Setup, text, thing};

const WATCHERS: usize = 1_000;
const CHANGES: usize = 3_000;
const CHANGES_PER_S: u32 = 500;
/// Requests in flight while changes are made.
const SENDERS: usize = 16;
/// How long watchers may take after the last change.
const WAIT_MAX: Duration = Duration::from_mins(4);

/// The state that all watchers share.
#[derive(Clone, Default)]
struct Place {
    client: Option<Client>,
    /// The last event; `None` = changes are still being made.
    end: Option<String>,
}

/// The events that one watcher received: a digest of their positions in order, because the positions would be gigabytes.
struct Seen {
    last: String,
    count: u64,
    digest: DefaultHasher,
    connections: u32,
}

impl Seen {
    fn new(after: &str) -> Self {
        let digest = DefaultHasher::new();
        Self { last: after.to_owned(), count: 0, digest, connections: 0 }
    }

    fn note(&mut self, position: &str) {
        assert!(position > self.last.as_str(), "{position} came after {}", self.last);
        position.hash(&mut self.digest);
        self.count += 1;
        position.clone_into(&mut self.last);
    }

    /// Removes the complete frames from `text`.
    fn take(&mut self, text: &mut Vec<u8>) {
        let mut begins = 0;
        while let Some(length) = memchr::memmem::find(&text[begins..], b"\n\n") {
            let frame = &text[begins..begins + length];
            if let Some(rest) = frame.strip_prefix(b"id: ") {
                let end = memchr::memchr(b'\n', rest).expect("an event has several lines");
                self.note(std::str::from_utf8(&rest[..end]).unwrap());
            }
            begins += length + 2;
        }
        text.drain(..begins);
    }
}

/// One connection, until it breaks, the server restarts or the last event arrives.
async fn connection(
    client: &Client,
    query: &str,
    seen: &mut Seen,
    place: &mut watch::Receiver<Place>,
) {
    let request = client
        .request(Method::GET, &format!("/v1/events?{query}"))
        .timeout(WAIT_MAX)
        .header("Accept", "text/event-stream")
        .header("Last-Event-ID", &seen.last);
    let Ok(response) = request.send().await else { return };
    assert_eq!(response.status(), StatusCode::OK);
    seen.connections += 1;
    let (mut bytes, mut text) = (response.bytes_stream(), Vec::new());
    loop {
        let now = place.borrow().clone();
        let moved = now.client.is_none_or(|now| now.url != client.url);
        if moved || now.end.as_deref() == Some(seen.last.as_str()) {
            return;
        }
        tokio::select! {
            piece = bytes.next() => {
                let Some(Ok(piece)) = piece else { return };
                text.extend_from_slice(&piece);
                seen.take(&mut text);
            }
            changed = place.changed() => changed.unwrap(),
        }
    }
}

/// Watches until the last event, reconnecting whenever the server ends the stream.
async fn watcher(query: &str, after: String, mut place: watch::Receiver<Place>) -> Seen {
    let mut seen = Seen::new(&after);
    loop {
        let now = place.borrow_and_update().clone();
        if now.end.as_deref() == Some(seen.last.as_str()) {
            return seen;
        }
        match now.client {
            Some(client) => connection(&client, query, &mut seen, &mut place).await,
            None => place.changed().await.unwrap(),
        }
    }
}

/// Declares things `from` to `to` at a steady rate.
async fn change(client: &Client, from: usize, to: usize) {
    let began = tokio::time::Instant::now();
    let sender = |first: usize| async move {
        for number in (from + first..to).step_by(SENDERS) {
            let due =
                Duration::from_secs(1) * u32::try_from(number - from).unwrap() / CHANGES_PER_S;
            tokio::time::sleep_until(began + due).await;
            let body = thing(&format!("t{number}"), json!({ "size": number }));
            let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
            assert_eq!(reply.status, StatusCode::ACCEPTED);
        }
    };
    join_all((0..SENDERS).map(sender)).await;
}

/// Count and digest of all events after `after`, from the log itself.
async fn expected(client: &Client, query: &str, after: &str) -> Seen {
    let mut seen = Seen::new(after);
    let mut token = after.to_owned();
    loop {
        let path = format!("/v1/events?page_size=1000&{query}&page_token={token}");
        let page = client.get(&path).await.body;
        for event in page["items"].as_array().unwrap() {
            seen.note(&text(&event["position"]));
        }
        match page["next_page_token"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => return seen,
        }
    }
}

/// Watching only the changes that users make.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_see_every_change_once_in_order_across_a_restart() {
    watched("type=entity.create_requested").await;
}

/// Watching all events: four times as many.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_watchers_see_every_event_once_in_order_across_a_restart() {
    watched("").await;
}

async fn watched(query: &'static str) {
    let setup = Setup::new("");
    let mut server = setup.start().await;
    let reply = server
        .client
        .done(Method::POST, "/v1/entities", thing("first", json!({ "size": 1 })))
        .await;
    let after = text(&reply.body["position"]);
    let place = Arc::new(watch::Sender::new(Place::default()));
    let at = |client: &Client, end: Option<String>| {
        place.send_replace(Place { client: Some(client.clone()), end });
    };
    at(&server.client, None);
    let watchers: Vec<_> = (0..WATCHERS)
        .map(|_| tokio::spawn(watcher(query, after.clone(), place.subscribe())))
        .collect();

    let began = Instant::now();
    change(&server.client, 0, CHANGES / 2).await;
    let first_half = began.elapsed();
    place.send_replace(Place::default());
    assert!(server.terminate().await.success(), "watchers must not hold it up");
    server = setup.start().await;
    at(&server.client, None);
    let again = Instant::now();
    change(&server.client, CHANGES / 2, CHANGES).await;
    let second_half = again.elapsed();
    server.client.settled().await;

    let whole = expected(&server.client, query, &after).await;
    at(&server.client, Some(whole.last.clone()));
    let all = tokio::time::timeout(WAIT_MAX, join_all(watchers)).await.expect("all see the end");
    let connections: u32 = all
        .into_iter()
        .map(|seen| {
            let seen = seen.unwrap();
            assert_eq!((seen.count, &seen.last), (whole.count, &whole.last));
            assert_eq!(seen.digest.finish(), whole.digest.finish(), "in another order");
            seen.connections
        })
        .sum();
    println!(
        "{WATCHERS} watchers saw {} events each, once and in order, over {connections} connections; {CHANGES} changes \
         (meant to take 2 x {:.1?}) took {first_half:.1?} and {second_half:.1?}; the last watcher was through after {:.1?}",
        whole.count,
        Duration::from_secs(1) * u32::try_from(CHANGES / 2).unwrap() / CHANGES_PER_S,
        began.elapsed()
    );
}
