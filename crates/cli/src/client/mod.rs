//! A client of the REST interface alone: no type of the server is used here.
//!
//! `connection` finds the server and the token, `server_identity` verifies the server, `certificate_pinning` trusts one certificate; `error_exit` maps errors to exit codes, and
//! `entity_json` reads entities;
//! `request` is a request, `send` sends it, `retry` says whether and when again; `apply_manifest` applies
//! a manifest; `sse`
//! follows the log; `problem` is an error response.

mod apply_manifest;
pub(crate) mod backend_pause;
mod certificate_pinning;
mod connection;
pub(crate) mod entity_json;
mod error_exit;
pub(crate) mod lasting_dependent;
mod problem;
mod request;
mod retry;
mod send;
mod server_identity;
mod sse;
pub(crate) mod watch_until;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

pub(crate) use apply_manifest::{
    AppliedManifest, ApplyOptions, ApplyOutcome, NAMING, apply_manifest, differing_members,
    find_entity, is_status, replaced_members, replacement,
};
pub(crate) use connection::{ConnectionOptions, ServerConnection};
pub(crate) use error_exit::exit_of;
use lasting_dependent::KEPT_BY;
pub(crate) use problem::{Problem, Unreachable};
pub(crate) use request::{Request, escaped};
pub(crate) use sse::{EventStream, StreamItem};

use send::BufferedResponse;

/// `Prefer: wait` of one request; between two, the client checks whether the entity waits for a decision.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Between two requests to a server that answers at once because its places for waiting requests are taken.
const PACE: Duration = Duration::from_secs(1);
/// Requests at the same time.
pub(crate) const CONCURRENCY: usize = 8;
/// Items of a page: the server's maximum.
const PAGE: &str = "1000";
/// Items of a list at most: a bound on memory.
const ITEMS_MAX: usize = 1_000_000;

/// The reason of a change.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ChangeReason {
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Ticket or commit that it belongs to, for the history
    #[arg(long, value_name = "REF")]
    change: Option<String>,
}

/// A connection to one server with one token.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    connection: ServerConnection,
    why: ChangeReason,
    /// Gets a line for each request and each status; `None` = not verbose.
    trace: Option<fn(&str)>,
    /// Whether the server has answered any request.
    has_answered: Arc<AtomicBool>,
    /// Set once the server has proved that it knows the token.
    verified: Arc<OnceLock<()>>,
    /// Prefix and next number of idempotency keys.
    keys: Arc<(String, AtomicU64)>,
}

impl Client {
    /// # Errors
    /// When TLS cannot be set up, or no random bytes can be read.
    pub(crate) fn new(
        connection: ServerConnection,
        trace: Option<fn(&str)>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            http: connection.http()?,
            connection,
            why: ChangeReason::default(),
            trace,
            has_answered: Arc::default(),
            verified: Arc::default(),
            keys: Arc::new((crate::random::hexadecimal::<16>()?, AtomicU64::new(0))),
        })
    }

    /// The same client with a reason for its changes.
    pub(crate) fn with_reason(&self, why: &ChangeReason) -> Self {
        Self { why: why.clone(), ..self.clone() }
    }

    /// Sends a request; the body of the answer, `Null` when it is empty.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn send(&self, request: &Request) -> anyhow::Result<Value> {
        let answer = self.send_buffered(&self.with_key(request.clone())).await?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        let what = || format!("{} answers with something that is no JSON", self.connection.url);
        serde_json::from_slice(&answer.body).with_context(what)
    }

    /// All items of a paged list, `max` at most.
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

    /// All items of a list without pages.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn items(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let reply = self.send(&Request::get(path)).await?;
        Ok(reply["items"].as_array().cloned().unwrap_or_default())
    }

    /// Gives a change its idempotency key, so that [`wait_for_operation`](Self::wait_for_operation) can send it again.
    pub(crate) fn with_key(&self, mut request: Request) -> Request {
        if request.is_change() && request.key.is_none() {
            let (prefix, number) = &*self.keys;
            request.key = Some(format!("{prefix}-{}", number.fetch_add(1, Ordering::Relaxed)));
        }
        request
    }

    /// Waits for the operation of a change by sending the same request under the same key, which is answered with the
    /// same operation. Returns early, with the entity as it is, when it waits for a decision, when a dependent that stays
    /// keeps it from being deleted, or when `deadline` is over.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn wait_for_operation(
        &self,
        request: &Request,
        deadline: tokio::time::Instant,
    ) -> anyhow::Result<Value> {
        loop {
            let sent_at = tokio::time::Instant::now();
            let left = deadline.saturating_duration_since(sent_at);
            let mut reply = self.send(&request.clone().wait(left.min(WAIT_MAX))).await?;
            if reply["operation"].is_null() || reply["operation"]["done"] == true {
                return Ok(reply);
            }
            let id = reply["entity"]["id"].as_str().unwrap_or_default();
            reply["entity"] = self.send(&Request::get(format!("/v1/entities/{id}"))).await?;
            if left.is_zero() || entity_json::awaits_decision(&reply["entity"]) {
                return Ok(reply);
            }
            if let Some(dependent) = self.lasting_dependent(&reply["entity"]).await? {
                reply["entity"][KEPT_BY] = dependent.into();
                return Ok(reply);
            }
            tokio::time::sleep_until((sent_at + PACE).min(deadline)).await;
        }
    }

    /// Waits until the read models have applied `position`, so that the next command's lists show the change. A timeout
    /// is only logged: the change itself was accepted.
    pub(crate) async fn wait_for_views(&self, position: Option<&str>) {
        let Some(position) = position else { return };
        let request =
            Request::get("/v1/entities").query("page_size", "1").query("wait_for", position);
        if let Err(error) = self.send(&request).await {
            tracing::debug!(error = %format!("{error:#}"), "the lists are behind");
        }
    }

    /// Sends a request whose answer is read as a stream.
    ///
    /// # Errors
    /// [`Problem`], [`Unreachable`].
    pub(crate) async fn stream(&self, request: &Request) -> anyhow::Result<reqwest::Response> {
        let request = &self.with_key(request.clone());
        let response =
            self.send_with_retries(request, |built| self.send_once(request, built)).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(self.problem(&BufferedResponse { status, body: body.into() }).into())
    }
}
