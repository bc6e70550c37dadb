//! A client of the REST interface, and of nothing else: no type of the server is known here.
//!
//! `connection` finds the server and the token; `request` describes what is sent; `retry` says when it is sent
//! again; `declare` is what `apply` does with a manifest; `sse` reads the log as it grows; `problem` is what comes
//! back instead of a result.

mod connection;
mod declare;
mod problem;
mod request;
mod retry;
mod sse;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::Value;

pub(crate) use connection::{Connection, ConnectionOptions};
pub(crate) use declare::{Declared, Outcome, declare, differing, find, named};
pub(crate) use problem::{Problem, Unreachable};
pub(crate) use request::{Request, escaped};
pub(crate) use sse::{Arrival, Events};

use retry::Failed;

/// Longer than a server ever waits before it answers (60 s).
const TIMEOUT: Duration = Duration::from_secs(70);
/// How long the server is asked to wait at a time; in between, whether it waits for a person.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// A server that has no place left for those who wait answers at once; it is asked again after this.
const PACE: Duration = Duration::from_secs(1);
/// Items of a page: the most that the server gives.
const PAGE: &str = "1000";
/// Items of a list at most, so that a mistake does not fill the memory.
const ITEMS_MAX: usize = 1_000_000;

/// Why something is changed.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Why {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Ticket or commit that it belongs to, for the history
    #[arg(long, value_name = "REF")]
    change: Option<String>,
}

/// A connection to one server as one user.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    connection: Connection,
    why: Why,
    /// Every request is told on standard error.
    verbose: bool,
    /// Whether the server has answered.
    met: Arc<AtomicBool>,
    /// Keys are this and a number.
    keys: Arc<(String, AtomicU64)>,
}

/// An answer whose body has arrived.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

impl Client {
    /// # Errors
    /// When TLS cannot be set up, or the system has no random numbers.
    pub(crate) fn new(connection: Connection, verbose: bool) -> anyhow::Result<Self> {
        Ok(Self {
            http: connection.http()?,
            connection,
            why: Why::default(),
            verbose,
            met: Arc::default(),
            keys: Arc::new((crate::chance::hexadecimal::<16>()?, AtomicU64::new(0))),
        })
    }

    /// The same caller, who says why.
    pub(crate) fn because(&self, why: &Why) -> Self {
        Self { why: why.clone(), ..self.clone() }
    }

    /// The answer as JSON; `Null` when it has no body.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn send(&self, request: &Request) -> anyhow::Result<Value> {
        let answer = self.answer(&self.keyed(request.clone())).await?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        let what = || format!("{} answers with something that is no JSON", self.connection.url);
        serde_json::from_slice(&answer.body).with_context(what)
    }

    /// All items of a list, `max` at most.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn list(
        &self,
        request: &Request,
        max: Option<usize>,
    ) -> anyhow::Result<Vec<Value>> {
        let max = max.unwrap_or(ITEMS_MAX);
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page =
                request.clone().query("page_size", PAGE).maybe("page_token", token.as_deref());
            let mut page = self.send(&page).await?;
            if let Some(more) = page["items"].as_array_mut() {
                items.append(more);
            }
            token = page["next_page_token"].as_str().map(str::to_owned);
            if token.is_none() || items.len() >= max {
                items.truncate(max);
                return Ok(items);
            }
        }
    }

    /// All items of a list that comes in one piece.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn items(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let reply = self.send(&Request::get(path)).await?;
        Ok(reply["items"].as_array().cloned().unwrap_or_default())
    }

    /// A change to be [finished](Self::finish): the same key both times.
    pub(crate) fn keyed(&self, mut request: Request) -> Request {
        if request.changes() && request.key.is_none() {
            let (prefix, number) = &*self.keys;
            request.key = Some(format!("{prefix}-{}", number.fetch_add(1, Ordering::Relaxed)));
        }
        request
    }

    /// The reply to a change that was sent before, once its operation is done: the same request under the same key
    /// is answered with the same operation, however often it is sent. Also when it waits for a person's decision, or
    /// `deadline` is over: then with the entity as it is.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn finish(
        &self,
        request: &Request,
        deadline: tokio::time::Instant,
    ) -> anyhow::Result<Value> {
        loop {
            let asked = tokio::time::Instant::now();
            let left = deadline.saturating_duration_since(asked);
            let mut reply = self.send(&request.clone().wait(left.min(WAIT_MAX))).await?;
            if reply["operation"].is_null() || reply["operation"]["done"] == true {
                return Ok(reply);
            }
            let id = reply["entity"]["id"].as_str().unwrap_or_default();
            reply["entity"] = self.send(&Request::get(format!("/v1/entities/{id}"))).await?;
            if left.is_zero() || crate::render::entity::asks(&reply["entity"]) {
                return Ok(reply);
            }
            tokio::time::sleep_until((asked + PACE).min(deadline)).await;
        }
    }

    /// Waits until lists show what happened up to `position`, so that the next command finds it there. That they
    /// do not in time is no failure of what was done.
    pub(crate) async fn settle(&self, position: Option<&str>) {
        let Some(position) = position else { return };
        let request =
            Request::get("/v1/entities").query("page_size", "1").query("wait_for", position);
        if let Err(error) = self.send(&request).await {
            tracing::debug!(error = %format!("{error:#}"), "the lists are behind");
        }
    }

    /// An answer that is read bit by bit.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn stream(&self, request: &Request) -> anyhow::Result<reqwest::Response> {
        let request = &self.keyed(request.clone());
        let response = self.again(request, |built| self.once(request, built)).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(self.problem(&Answer { status, body: body.into() }).into())
    }

    async fn answer(&self, request: &Request) -> anyhow::Result<Answer> {
        let whole = async |built| {
            let response = self.once(request, built).await?;
            let status = response.status();
            // Lost in the middle of the answer: it is asked for again like one that never came.
            let body =
                response.bytes().await.map_err(|error| (Failed::Lost, self.unreachable(&error)))?;
            Ok(Answer { status, body: body.into() })
        };
        let answer = self.again(request, whole).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.problem(&answer).into()) }
    }

    /// Sends until it goes well or must not be sent any more.
    async fn again<T>(
        &self,
        request: &Request,
        send: impl AsyncFn(reqwest::Request) -> Result<T, (Failed, anyhow::Error)>,
    ) -> anyhow::Result<T> {
        let mut sends = 0;
        loop {
            sends += 1;
            let (failed, error) = match send(self.built(request)?).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            let met = self.met.load(Ordering::Relaxed);
            let Some(rest) = retry::rest(failed, sends, request.repeatable, met) else {
                return Err(error);
            };
            self.tell(&format!("  again in {} ms: {error:#}", rest.as_millis()));
            tokio::time::sleep(rest).await;
        }
    }

    /// Sends once; a status that may pass is a failure.
    async fn once(
        &self,
        request: &Request,
        built: reqwest::Request,
    ) -> Result<reqwest::Response, (Failed, anyhow::Error)> {
        self.tell(&format!("> {} {}", request.method, request.address()));
        let response = self.http.execute(built).await.map_err(|error| {
            let failed = if error.is_connect() { Failed::Unsent } else { Failed::Lost };
            (failed, self.unreachable(&error))
        })?;
        self.met.store(true, Ordering::Relaxed);
        let status = response.status();
        self.tell(&format!("< {status}"));
        if !retry::is_busy(status) {
            return Ok(response);
        }
        let rest = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let rest = rest.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let body = response.bytes().await.unwrap_or_default();
        let problem = self.problem(&Answer { status, body: body.into() });
        Err((Failed::Busy { status, rest }, problem.into()))
    }

    fn built(&self, request: &Request) -> anyhow::Result<reqwest::Request> {
        let url = format!("{}{}", self.connection.url, request.address());
        let mut builder = self.http.request(request.method.clone(), url);
        if let Some(token) = &self.connection.token {
            builder = builder.bearer_auth(token.value());
        }
        if !request.unhurried && request.accept.is_none() {
            builder = builder.timeout(TIMEOUT);
        }
        builder = builder.header(ACCEPT, request.accept.unwrap_or("application/json"));
        if let Some((media_type, body)) = &request.body {
            builder = builder.header(CONTENT_TYPE, *media_type).body(body.clone());
        }
        let wait = request.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let mut headers = vec![("Prefer", &wait), ("Last-Event-ID", &request.last_seen)];
        if request.changes() {
            headers.push(("Idempotency-Key", &request.key));
            headers.push(("Stateward-Reason", &self.why.reason));
            headers.push(("Stateward-Change", &self.why.change));
        }
        for (name, text) in headers {
            let Some(text) = text else { continue };
            let bad = |_| {
                crate::exit::Stop::usage(format!("{name}: {text:?} has a line break or the like"))
            };
            builder = builder.header(name, HeaderValue::from_bytes(text.as_bytes()).map_err(bad)?);
        }
        builder.build().map_err(|error| {
            let why = error.without_url();
            crate::exit::Stop::usage(format!("{} is no address: {why}", self.connection.url))
        })
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        Unreachable::new(&self.connection.url, error).into()
    }

    fn problem(&self, answer: &Answer) -> Problem {
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let problem = Problem::new(answer.status, body);
        match &self.connection.token {
            Some(token) => problem.with_token_of(token.whence()),
            None => problem,
        }
    }

    /// For those who asked for it. Headers are never told: one of them is the token.
    #[expect(clippy::print_stderr, reason = "what --verbose is for")]
    fn tell(&self, line: &str) {
        if self.verbose {
            eprintln!("{line}");
        }
    }
}
