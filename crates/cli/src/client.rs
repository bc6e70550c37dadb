//! A client of the REST interface.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

/// Members of a manifest that name the entity, and so cannot be changed.
const NAMING: &[&str] = &["kind", "name", "namespace", "backend", "external_id"];

/// A connection to one server as one user.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// A client of the server in this very process. Its certificate names the outside's address and perhaps an
    /// authority that this machine does not know: it is not asked for.
    ///
    /// # Errors
    /// When the system's TLS cannot be set up.
    pub(crate) fn of_this_process(url: &str, token: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(70))
            .no_proxy()
            .tls_danger_accept_invalid_certs(true);
        Ok(Self {
            http: http.build().context("no HTTP client")?,
            url: url.trim_end_matches('/').to_owned(),
            token: token.to_owned(),
        })
    }

    /// Makes the server hold what `manifest` declares: creates it, or changes what is there.
    ///
    /// # Errors
    /// The server's problem, with the manifest's name.
    pub(crate) async fn apply(&self, manifest: &Value) -> anyhow::Result<Value> {
        let text = |member: &str| manifest[member].as_str().unwrap_or_default();
        let label = format!("{}/{}", text("kind"), text("name"));
        self.apply_one(manifest).await.with_context(|| label)
    }

    async fn apply_one(&self, manifest: &Value) -> anyhow::Result<Value> {
        let text = |member: &str| manifest[member].as_str().unwrap_or_default();
        let namespace = manifest["namespace"].as_str().unwrap_or("default");
        let query = [("kind", text("kind")), ("name", text("name")), ("namespace", namespace)];
        let found = self.send(Method::GET, "/v1/entities", &query, None).await?;
        let id = found.pointer("/items/0/id").and_then(Value::as_str);
        match id {
            None => match self.send(Method::POST, "/v1/entities", &[], Some(manifest)).await {
                // It was created a moment ago, and the list does not show it yet.
                Err(error) if is_taken(&error) => self.put(holder(&error)?, manifest).await,
                outcome => outcome,
            },
            Some(id) => self.put(id, manifest).await,
        }
    }

    async fn put(&self, id: &str, manifest: &Value) -> anyhow::Result<Value> {
        let mut members: Map<String, Value> = manifest.as_object().cloned().unwrap_or_default();
        members.retain(|name, _| !NAMING.contains(&name.as_str()));
        let path = format!("/v1/entities/{id}");
        self.send(Method::PUT, &path, &[], Some(&json!(members))).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let pairs: Vec<_> =
            query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let separator = if pairs.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{separator}{}", self.url, pairs.join("&"));
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.context("the server does not answer")?;
        let status = response.status();
        let body: Value = response.json().await.context("the server's answer is no JSON")?;
        if status.is_success() {
            return Ok(body);
        }
        Err(Problem { status, body }.into())
    }
}

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let detail = self.body["detail"].as_str().unwrap_or("no detail");
        write!(f, "{}: {detail}", self.status)?;
        for fault in self.body["errors"].as_array().into_iter().flatten() {
            let text = |member: &str| fault[member].as_str().unwrap_or_default();
            write!(f, "; {} {}", text("pointer"), text("detail"))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

fn is_taken(error: &anyhow::Error) -> bool {
    let problem = error.downcast_ref::<Problem>();
    problem.is_some_and(|problem| {
        let kind = problem.body["type"].as_str().unwrap_or_default();
        problem.status == StatusCode::CONFLICT && kind.ends_with(":name-taken")
    })
}

fn holder(error: &anyhow::Error) -> anyhow::Result<&str> {
    let problem = error.downcast_ref::<Problem>().context("no problem document")?;
    let detail = problem.body["detail"].as_str().unwrap_or_default();
    detail.rsplit(' ').next().context("the server does not name the holder")
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
