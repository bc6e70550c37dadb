//! A client of the REST interface, and of nothing else: no type of the server is known here.
//!
//! `connection` finds the server and the token, `pinned` knows the certificate of this very process; `request` describes what is sent; `send` sends it, `retry` says when again; `declare` is what `apply` does with a manifest; `sse` reads the log as it grows; `problem` is what comes
//! back instead of a result.

mod connection;
mod declare;
mod identity;
mod pinned;
mod problem;
mod request;
mod retry;
mod send;
mod sse;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

pub(crate) use connection::{Connection, ConnectionOptions};
pub(crate) use declare::{
    Declared, NAMING, Outcome, Terms, declare, differing, find, is_status, named,
};
pub(crate) use problem::{Problem, Unreachable};
pub(crate) use request::{Request, escaped};
pub(crate) use sse::{Arrival, Events};

use send::Answer;

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
    /// Set once the server has shown that it is the one whose token is sent.
    known: Arc<OnceLock<()>>,
    /// Keys are this and a number.
    keys: Arc<(String, AtomicU64)>,
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
            known: Arc::default(),
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
}
