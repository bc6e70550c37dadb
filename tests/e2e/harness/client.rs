//! A client of the REST interface, as a portal would use it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::until;

/// A client of one server, with timeouts. Where the server has several nodes, each request goes to the next of them.
#[derive(Clone)]
pub(crate) struct Client {
    /// The first node's.
    pub(crate) url: String,
    pub(crate) token: String,
    /// Shared by clones.
    ring: Arc<Ring>,
    http: reqwest::Client,
}

/// Addresses of the nodes, and how many requests were sent.
struct Ring {
    urls: Mutex<Vec<String>>,
    sent: AtomicUsize,
}

impl Ring {
    fn new(url: &str) -> Arc<Self> {
        Arc::new(Self { urls: Mutex::new(vec![url.to_owned()]), sent: AtomicUsize::new(0) })
    }

    fn next(&self) -> String {
        let urls = self.urls.lock().expect("no panic");
        urls[self.sent.fetch_add(1, Ordering::Relaxed) % urls.len()].clone()
    }
}

/// A reply: its status and its body, `Null` when it has none.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

/// The server did not answer.
#[derive(Debug)]
pub(crate) struct Lost;

pub(crate) fn http() -> reqwest::Client {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(40)).no_proxy();
    client.build().expect("a client")
}

impl Client {
    pub(crate) fn new(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned(), ring: Ring::new(url), http: http() }
    }

    /// Sends each request to the next of these, also of the clones.
    pub(super) fn goes_round(&mut self, urls: Vec<String>) {
        self.url.clone_from(&urls[0]);
        *self.ring.urls.lock().expect("no panic") = urls;
    }

    /// The same server with another token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// The server at `url` with the same token.
    pub(crate) fn at(&self, url: &str) -> Self {
        Self { url: url.to_owned(), ring: Ring::new(url), ..self.clone() }
    }

    /// Sends a request whose reply is read as a stream.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.ring.next());
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Sends a request with these headers; any status is accepted.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, Lost> {
        let mut request = self.request(method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|_| Lost)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(|_| Lost)?;
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Ok(Reply { status, body })
    }

    /// The metrics, as Prometheus scrapes them.
    ///
    /// # Panics
    /// When there is no answer.
    pub(crate) async fn metrics(&self) -> String {
        let response = self.request(Method::GET, "/metrics").send().await.expect("an answer");
        response.text().await.expect("a body")
    }

    /// # Panics
    /// When there is no answer.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, None, &[]).await.expect("an answer")
    }

    /// Sends a change and waits for its success.
    ///
    /// # Panics
    /// When the operation did not succeed.
    pub(crate) async fn done(&self, method: Method, path: &str, body: Value) -> Reply {
        let reply = self.waited(method, path, body).await;
        assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
        assert_eq!(reply.body["operation"]["state"], "succeeded", "{:#}", reply.body);
        reply
    }

    /// Sends a change and waits for its end. The reply is built from the log, so it is compared with the read model each
    /// time.
    ///
    /// # Panics
    /// When the two differ.
    pub(crate) async fn waited(&self, method: Method, path: &str, body: Value) -> Reply {
        let body = (!body.is_null()).then_some(&body);
        let wait = [("Prefer", "wait=30")];
        let reply = self.send(method, path, body, &wait).await.expect("an answer");
        let operation = &reply.body["operation"];
        if operation["done"] == true {
            let path = format!("/v1/operations/{}", text(&operation["id"]));
            // A read model that is behind is not waited for longer than a moment.
            let shown = until("the read model shows the end", async || {
                let shown = self.get(&path).await;
                (shown.status != StatusCode::SERVICE_UNAVAILABLE).then_some(shown)
            })
            .await;
            assert_eq!(shown.body, *operation, "the read model shows it otherwise");
        }
        reply
    }

    /// Declares a thing of the sandbox and waits for it; returns its id.
    pub(crate) async fn thing(&self, name: &str, desired: Value) -> String {
        let reply = self.done(Method::POST, "/v1/entities", thing(name, desired)).await;
        text(&reply.body["entity"]["id"])
    }

    /// Declares a file and waits for it; returns its id.
    pub(crate) async fn file(&self, name: &str, path: &str, content: &str) -> String {
        let manifest = json!({
            "kind": "local.file", "name": name, "backend": "local",
            "desired": { "path": path, "content": content },
        });
        let reply = self.done(Method::POST, "/v1/entities", manifest).await;
        text(&reply.body["entity"]["id"])
    }

    /// The current entity.
    pub(crate) async fn entity(&self, id: &str) -> Value {
        let reply = self.get(&format!("/v1/entities/{id}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
        reply.body
    }

    /// All undeleted entities.
    pub(crate) async fn entities(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let path = format!("/v1/entities?page_size=1000{token}");
            let body = self.get(&path).await.body;
            all.extend(body["items"].as_array().expect("items").iter().cloned());
            match body["next_page_token"].as_str() {
                Some(next) => token = format!("&page_token={next}"),
                None => return all,
            }
        }
    }

    /// Waits until an entity is in `state`; returns it.
    pub(crate) async fn reaches(&self, id: &str, state: &str) -> Value {
        until(&format!("{id} is {state}"), async || {
            let entity = self.entity(id).await;
            (entity["state"] == state).then_some(entity)
        })
        .await
    }

    /// Waits until every entity is in a final state.
    pub(crate) async fn settled(&self) -> Vec<Value> {
        until("every entity has settled", async || {
            let entities = self.entities().await;
            let settled = entities.iter().all(|entity| {
                let blocked = condition(entity, "blocked");
                blocked || ["ok", "erred"].contains(&entity["state"].as_str().unwrap_or_default())
            });
            settled.then_some(entities)
        })
        .await
    }
}

/// A manifest of a thing.
pub(crate) fn thing(name: &str, desired: Value) -> Value {
    json!({ "kind": "fake.thing", "name": name, "backend": "sandbox", "desired": desired })
}

/// Whether a condition of an entity holds.
pub(crate) fn condition(entity: &Value, name: &str) -> bool {
    find(entity, name).is_some_and(|condition| condition["status"] == true)
}

/// The reason of a condition.
pub(crate) fn reason(entity: &Value, name: &str) -> String {
    find(entity, name).map(|condition| text(&condition["reason"])).unwrap_or_default()
}

fn find<'a>(entity: &'a Value, name: &str) -> Option<&'a Value> {
    entity["conditions"].as_array()?.iter().find(|condition| condition["type"] == name)
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
