//! Entities as they change: looked at once, and again whenever the log says that something happened to them.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use crate::bulk::AT_ONCE;
use crate::client::{Arrival, Client, Events, Request};
use crate::output::text;

/// Up to so many, the log is asked for these entities alone; beyond, the address would grow too long.
const NAMED_MAX: usize = 50;

/// What a look at an entity says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is as it was waited for.
    Met,
    /// Not yet.
    NotYet,
    /// It will not come to that by itself.
    Never(String),
}

/// An entity and how the wait for it ended.
pub(crate) struct Awaited {
    pub(crate) entity: Value,
    pub(crate) verdict: Verdict,
}

/// Waits until every entity has met or cannot meet what `judge` looks for; those that have not by `deadline` come
/// back with [`Verdict::NotYet`]. `settled` is called for each that is over.
///
/// # Errors
/// The server's problem, or nobody answers any more.
pub(crate) async fn until(
    client: &Client,
    entities: &[Value],
    deadline: Instant,
    judge: impl Fn(&Value) -> Verdict,
    settled: impl Fn(),
) -> anyhow::Result<Vec<Awaited>> {
    let ids: Vec<_> = entities.iter().map(|entity| text(entity, "/id")).collect();
    // Before the first look: what happens in between is then looked at twice, and never missed.
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

/// The log's events about these entities, as far as the server can tell.
pub(crate) fn about(ids: &[String]) -> Request {
    let request = Request::get("/v1/events");
    if ids.len() > NAMED_MAX { request } else { request.each("entity", ids) }
}

/// Id of the entity that an event is about; something else when it is about none.
pub(crate) fn subject(event: &Value) -> String {
    let stream = text(event, "/stream");
    stream.rsplit('/').next().unwrap_or_default().to_owned()
}

async fn look(client: &Client, ids: &[String]) -> anyhow::Result<Vec<Value>> {
    let look = |id: &String| {
        let request = Request::get(format!("/v1/entities/{id}"));
        async move { client.send(&request).await }
    };
    let looked: Vec<_> = stream::iter(ids.iter().map(look)).buffered(AT_ONCE).collect().await;
    looked.into_iter().collect()
}
