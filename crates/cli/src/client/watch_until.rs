//! Waits until entities satisfy a condition: reads each once, and again after each of its events.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use super::{CONCURRENCY, Client, EventStream, Request, StreamItem};
use crate::json_text::text;

/// Up to so many entities, the event stream is filtered by id; with more, the URL would become too long.
const NAMED_MAX: usize = 50;

/// An entity compared with the goal of the wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GoalState {
    /// The goal is reached.
    Reached,
    /// The goal may still be reached.
    Pending,
    /// The goal cannot be reached without a person; the reason.
    Unreachable(String),
}

/// An entity, and how the wait for it ended.
pub(crate) struct WaitResult {
    pub(crate) entity: Value,
    pub(crate) state: GoalState,
}

/// Waits until `compare` is final for every entity. Those that are not by `deadline` are returned with
/// [`GoalState::Pending`]. `settled` is called once for each entity whose wait is over.
///
/// # Errors
/// The server's problem, or the server stopped answering.
pub(crate) async fn watch_until(
    client: &Client,
    entities: &[Value],
    deadline: Instant,
    compare: impl Fn(&Value) -> GoalState,
    settled: impl Fn(),
) -> anyhow::Result<Vec<WaitResult>> {
    let ids: Vec<_> = entities.iter().map(|entity| text(entity, "/id")).collect();
    // Subscribe before the first read: a change in between is read twice and never missed.
    let mut events = EventStream::open(client, events_of(&ids)).await?;
    let mut over: BTreeMap<String, WaitResult> = BTreeMap::new();
    let mut open = ids.clone();
    let mut entities_read = read_all(client, &open).await?;
    loop {
        for entity in entities_read.drain(..) {
            let (id, state) = (text(&entity, "/id"), compare(&entity));
            if state != GoalState::Pending {
                open.retain(|other| *other != id);
                settled();
            }
            over.insert(id, WaitResult { entity, state });
        }
        if open.is_empty() {
            break;
        }
        let Ok(arrival) = tokio::time::timeout_at(deadline, events.next()).await else { break };
        entities_read = match arrival? {
            StreamItem::Reconnected => read_all(client, &open).await?,
            StreamItem::Event(event) => {
                let id = entity_id(&event);
                let changed: Vec<_> = open.iter().filter(|open| **open == id).cloned().collect();
                read_all(client, &changed).await?
            }
        };
    }
    Ok(ids.iter().filter_map(|id| over.remove(id)).collect())
}

/// The stream of events of these entities; with more than [`NAMED_MAX`], of all entities.
pub(crate) fn events_of(ids: &[String]) -> Request {
    let request = Request::get("/v1/events");
    if ids.len() > NAMED_MAX { request } else { request.each("entity", ids) }
}

/// Id of the entity of an event; for an event of another stream, the last part of that stream's name.
pub(crate) fn entity_id(event: &Value) -> String {
    let stream = text(event, "/stream");
    stream.rsplit('/').next().unwrap_or_default().to_owned()
}

async fn read_all(client: &Client, ids: &[String]) -> anyhow::Result<Vec<Value>> {
    let read = |id: &String| {
        let request = Request::get(format!("/v1/entities/{id}"));
        async move { client.send(&request).await }
    };
    let entities_read: Vec<_> =
        stream::iter(ids.iter().map(read)).buffered(CONCURRENCY).collect().await;
    entities_read.into_iter().collect()
}
