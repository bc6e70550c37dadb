//! Waits until entities satisfy a condition: reads each once, and again after each of its events.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::{Arrival, CONCURRENCY, Client, Events, Request};
use crate::json_text::text;

/// Up to so many entities, the event stream is filtered by id; with more, the URL would become too long.
const NAMED_MAX: usize = 50;

/// An entity compared with the goal of the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The goal is reached.
    Met,
    /// The goal may still be reached.
    NotYet,
    /// The goal cannot be reached without a person; the reason.
    Never(String),
}

/// An entity, and how the wait for it ended.
pub(crate) struct Awaited {
    pub(crate) entity: Value,
    pub(crate) verdict: Verdict,
}

/// Waits until `judge` is final for every entity. Those that are not by `deadline` are returned with
/// [`Verdict::NotYet`]. `settled` is called once for each entity whose wait is over.
///
/// # Errors
/// The server's problem, or the server stopped answering.
pub(crate) async fn until(
    client: &Client,
    entities: &[Value],
    deadline: Instant,
    judge: impl Fn(&Value) -> Verdict,
    settled: impl Fn(),
) -> anyhow::Result<Vec<Awaited>> {
    let ids: Vec<_> = entities.iter().map(|entity| text(entity, "/id")).collect();
    // Subscribe before the first read: a change in between is read twice and never missed.
    let mut events = Events::open(client, about(&ids)).await?;
    let mut over: BTreeMap<String, Awaited> = BTreeMap::new();
    let mut open = ids.clone();
    let mut looked = look(client, &open).await?;
    loop {
        for entity in looked.drain(..) {
            let (id, verdict) = (text(&entity, "/id"), judge(&entity));
            if verdict != Verdict::NotYet {
                open.retain(|other| *other != id);
                settled();
            }
            over.insert(id, Awaited { entity, verdict });
        }
        if open.is_empty() {
            break;
        }
        let Ok(arrival) = tokio::time::timeout_at(deadline, events.next()).await else { break };
        looked = match arrival? {
            Arrival::Reconnected => look(client, &open).await?,
            Arrival::Event(event) => {
                let id = subject(&event);
                let about: Vec<_> = open.iter().filter(|open| **open == id).cloned().collect();
                look(client, &about).await?
            }
        };
    }
    Ok(ids.iter().filter_map(|id| over.remove(id)).collect())
}

/// The stream of events of these entities; with more than [`NAMED_MAX`], of all entities.
pub(crate) fn about(ids: &[String]) -> Request {
    let request = Request::get("/v1/events");
    if ids.len() > NAMED_MAX { request } else { request.each("entity", ids) }
}

/// Id of the entity of an event; for an event of another stream, the last part of that stream's name.
pub(crate) fn subject(event: &Value) -> String {
    let stream = text(event, "/stream");
    stream.rsplit('/').next().unwrap_or_default().to_owned()
}

async fn look(client: &Client, ids: &[String]) -> anyhow::Result<Vec<Value>> {
    let look = |id: &String| {
        let request = Request::get(format!("/v1/entities/{id}"));
        async move { client.send(&request).await }
    };
    let looked: Vec<_> = stream::iter(ids.iter().map(look)).buffered(CONCURRENCY).collect().await;
    looked.into_iter().collect()
}
