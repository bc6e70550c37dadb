//! Builds a request, sends it, and retries it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use serde_json::Value;

use super::retry::{self, SendFailure};
use super::{Client, Problem, Request, Unreachable};
use crate::exit::CliError;

/// Longer than the server's longest wait before it answers (60 s).
const TIMEOUT: Duration = Duration::from_secs(70);
/// The same before the server has answered any request, which then does not wait.
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_secs(10);

/// A response with its whole body.
pub(super) struct BufferedResponse {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) async fn send_buffered(
        &self,
        request: &Request,
    ) -> anyhow::Result<BufferedResponse> {
        let whole = async |built| {
            let response = self.send_once(request, built).await?;
            let status = response.status();
            // A response that breaks off is retried like one that never came.
            let body = response
                .bytes()
                .await
                .map_err(|error| (SendFailure::Lost, self.unreachable(&error)))?;
            Ok(BufferedResponse { status, body: body.into() })
        };
        let answer = self.send_with_retries(request, whole).await?;
        if answer.status.is_success() { Ok(answer) } else { Err(self.problem(&answer).into()) }
    }

    /// Sends until an attempt succeeds or no further one is allowed.
    pub(super) async fn send_with_retries<T>(
        &self,
        request: &Request,
        send: impl AsyncFn(reqwest::Request) -> Result<T, (SendFailure, anyhow::Error)>,
    ) -> anyhow::Result<T> {
        let (mut sends, began) = (0, Instant::now());
        loop {
            sends += 1;
            let (failed, error) = match self.verify_server().await? {
                Err(failure) => failure,
                Ok(()) => match send(self.build(request)?).await {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => failure,
                },
            };
            let met = self.has_answered.load(Ordering::Relaxed);
            let so_far = (sends, began.elapsed());
            let Some(rest) = retry::delay(failed, so_far, request.repeatable, met) else {
                return Err(error);
            };
            self.trace(&format!("  again in {} ms: {error:#}", rest.as_millis()));
            tokio::time::sleep(rest).await;
        }
    }

    /// Sends once; a transient status is a failure.
    pub(super) async fn send_once(
        &self,
        request: &Request,
        built: reqwest::Request,
    ) -> Result<reqwest::Response, (SendFailure, anyhow::Error)> {
        self.trace(&format!("> {} {}", request.method, request.address()));
        let response = self.http.execute(built).await.map_err(|error| {
            let failed = if error.is_connect() { SendFailure::Unsent } else { SendFailure::Lost };
            (failed, self.unreachable(&error))
        })?;
        self.has_answered.store(true, Ordering::Relaxed);
        let status = response.status();
        self.trace(&format!("< {status}"));
        if !retry::is_busy(status) {
            return Ok(response);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
        let body = response.bytes().await.unwrap_or_default();
        let problem = self.problem(&BufferedResponse { status, body: body.into() });
        Err((SendFailure::Busy { status, retry_after }, problem.into()))
    }

    fn build(&self, request: &Request) -> anyhow::Result<reqwest::Request> {
        let url = format!("{}{}", self.connection.url, request.address());
        let mut builder = self.http.request(request.method.clone(), url);
        if let Some(token) = &self.connection.token {
            builder = builder.bearer_auth(token.value());
        }
        if !request.without_timeout && request.accept.is_none() {
            builder = builder.timeout(self.timeout(request));
        }
        builder = builder.header(ACCEPT, request.accept.unwrap_or("application/json"));
        if let Some((media_type, body)) = &request.body {
            builder = builder.header(CONTENT_TYPE, *media_type).body(body.clone());
        }
        let wait = request.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let mut headers = vec![("Prefer", &wait), ("Last-Event-ID", &request.last_seen)];
        if request.is_change() {
            headers.push(("Idempotency-Key", &request.key));
            headers.push(("Stateward-Reason", &self.why.reason));
            headers.push(("Stateward-Change", &self.why.change));
        }
        for (name, text) in headers {
            let Some(text) = text else { continue };
            let bad = |_| CliError::usage(format!("{name}: {text:?} has a line break or the like"));
            builder = builder.header(name, HeaderValue::from_bytes(text.as_bytes()).map_err(bad)?);
        }
        builder.build().map_err(|error| {
            let why = error.without_url();
            CliError::usage(format!("{} is no address: {why}", self.connection.url))
        })
    }

    /// How long an answer may take.
    fn timeout(&self, request: &Request) -> Duration {
        let met = self.has_answered.load(Ordering::Relaxed);
        if met || request.wait.is_some() { TIMEOUT } else { FIRST_TIMEOUT }
    }

    pub(super) fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        Unreachable::new(&self.connection.url, error).into()
    }

    pub(super) fn problem(&self, answer: &BufferedResponse) -> Problem {
        let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        let problem = Problem::new(answer.status, body);
        match &self.connection.token {
            Some(token) => problem.with_token_of(token.origin()),
            None => problem,
        }
    }

    /// With `--verbose`, reports a line. Headers are never printed: one of them is the token.
    fn trace(&self, line: &str) {
        if let Some(trace) = self.trace {
            trace(line);
        }
    }
}
