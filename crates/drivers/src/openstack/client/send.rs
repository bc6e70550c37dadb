//! One request on its way: permission, time, token, and what came back.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use stateward_domain::failure::Failure;

use super::Link;
use super::bodies::{self, Unread};
use super::catalogue::Service;
use super::classify::{Refusal, classify};
use super::request::{Body, Request};
use super::session::Token;
use super::trouble::{Trouble, Verdict};
use crate::instrumented::time_is_up;

/// So much earlier than its call a request ends, so that what it ended with is still told.
const MARGIN: Duration = Duration::from_millis(250);
const MEDIA_JSON: &str = "application/json";

/// A success.
pub(in crate::openstack) struct Reply {
    /// JSON; `Null` when the reply had none.
    pub(in crate::openstack) body: Value,
    /// The service's clock when it answered.
    pub(in crate::openstack) date: Option<Timestamp>,
}

/// What `exchange` comes to; `None` when the call's time is over before.
///
/// # Errors
/// It is over already: nothing was sent.
pub(super) async fn in_time<T>(
    link: Link<'_>,
    exchange: impl Future<Output = T>,
) -> Result<Option<T>, Trouble> {
    if link.context.control.remaining() <= MARGIN {
        return Err(Trouble::not_sent());
    }
    tokio::select! {
        biased;
        done = exchange => Ok(Some(done)),
        () = time_is_up(link.context, MARGIN) => Ok(None),
    }
}

/// The backend's own id of the request.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("X-Openstack-Request-Id")?.to_str().ok()?;
    Some(text.chars().take(64).collect())
}

impl Link<'_> {
    /// Sends a request; with a fresh token again when its token was refused, which had no effect.
    pub(in crate::openstack) async fn send(self, request: Request) -> Result<Reply, Trouble> {
        let token = self.client.session.token(self, None).await?;
        match self.send_with(&request, &token).await {
            Err(trouble) if trouble.verdict == Verdict::Unauthenticated => {
                let fresh = self.client.session.token(self, Some(&token)).await?;
                self.send_with(&request, &fresh).await
            }
            outcome => outcome,
        }
    }

    /// Id of the project that the credentials belong to.
    pub(in crate::openstack) async fn project_id(self) -> Result<String, Trouble> {
        Ok(self.client.session.token(self, None).await?.project_id.clone())
    }

    /// Which world this is: the same project in the same region. Users change with their credentials.
    pub(in crate::openstack) async fn identity(self) -> Result<String, Trouble> {
        let project = self.project_id().await?;
        let region = self.client.cloud.region.as_deref().unwrap_or("any");
        Ok(format!("openstack project {project} in region {region}"))
    }

    /// Logs in anew.
    pub(in crate::openstack) async fn health(self) -> Result<(), Trouble> {
        self.client.session.forget().await;
        self.client.session.token(self, None).await.map(drop)
    }

    /// Whether an empty search of `service` proves that there is none.
    ///
    /// # Errors
    /// Not yet: `service` was silent a moment ago, and may still carry out what it was asked for.
    pub(in crate::openstack) fn proves_absence(self, service: Service) -> Result<(), Trouble> {
        if self.client.doubts.settled(service, Instant::now()) {
            return Ok(());
        }
        let message = format!(
            "{} answers again since a moment: none found proves nothing yet",
            service.name()
        );
        Err(Trouble::harmless(Verdict::Transient, Failure::SEARCH_SETTLING, message))
    }

    async fn send_with(self, request: &Request, token: &Token) -> Result<Reply, Trouble> {
        let endpoint = token.endpoint(request.service, &self.client.cloud)?;
        let url = request.url(&endpoint)?;
        let built = self.client.http.request(request.method.clone(), url);
        let built = headers(built, request, token)
            .header("X-Openstack-Request-Id", format!("req-{}", self.call));
        let built = match &request.body {
            Body::None => built,
            Body::Json(body) => built.json(body),
            // `json` names its own type only where there is none yet.
            Body::Typed(media, body) => built.header("Content-Type", *media).json(body),
            Body::Bytes(bytes) => {
                built.header("Content-Type", "application/octet-stream").body(bytes.clone())
            }
        };
        if request.changes() && !self.context.control.may_send() {
            return Err(Trouble::not_sent());
        }
        in_time(self, self.exchange(request, built))
            .await?
            .unwrap_or_else(|| Err(self.unanswered(request, false)))
    }

    async fn exchange(self, request: &Request, built: RequestBuilder) -> Result<Reply, Trouble> {
        let began = Instant::now();
        let sent = built.send().await;
        tracing::debug!(
            call = %self.call,
            service = request.service.name(),
            method = %request.method,
            elapsed_ms = began.elapsed().as_millis(),
            status = sent.as_ref().ok().map(|response| response.status().as_u16()),
            "sent"
        );
        match sent {
            Ok(response) => self.answered(request, response).await,
            Err(error) => Err(Trouble::of_ours(&error).unwrap_or_else(|| {
                self.unanswered(request, error.is_connect() || error.is_builder())
            })),
        }
    }

    async fn answered(self, request: &Request, response: Response) -> Result<Reply, Trouble> {
        let headers = response.headers().clone();
        let status = response.status();
        let id = request_id(&headers);
        let body = bodies::read(response).await.map_err(|unread| {
            let message = match unread {
                Unread::TooLarge => "the reply is too large",
                Unread::Broken => "the reply broke off",
            };
            let code = "reply_lost";
            if request.changes() {
                Trouble::ambiguous(code, message)
            } else {
                Trouble::harmless(Verdict::Transient, code, message)
            }
            .of(request.service, id.clone())
        })?;
        if !status.is_success() {
            let trouble = refused(request, status.as_u16(), &headers, &body);
            match trouble.verdict {
                // A proxy that gave up waiting, perhaps: the service may still do it.
                Verdict::Ambiguous => self.client.doubts.unanswered(request.service),
                // These may come from something before the service.
                Verdict::Transient | Verdict::Unauthenticated | Verdict::RateLimited(_) => {}
                _ => self.client.doubts.answered(request.service, Instant::now()),
            }
            return Err(trouble);
        }
        self.client.doubts.answered(request.service, Instant::now());
        echoed(request, &headers)?;
        let date = headers.get("Date").and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| rfc2822::DateTimeParser::new().parse_timestamp(text).ok());
        Ok(Reply { body, date })
    }

    /// Without a connection nothing was sent; afterwards, whatever was asked for may have been done.
    fn unanswered(self, request: &Request, unreachable: bool) -> Trouble {
        let service = request.service;
        self.client.doubts.unanswered(service);
        let message = if unreachable {
            format!("no connection to {}", service.name())
        } else {
            format!("no reply from {} to request req-{}", service.name(), self.call)
        };
        if request.changes() && !unreachable {
            Trouble::ambiguous("no_reply", message).of(service, None)
        } else {
            let code = if unreachable { "no_connection" } else { "no_reply" };
            Trouble::harmless(Verdict::Transient, code, message).of(service, None)
        }
    }
}

fn headers(built: RequestBuilder, request: &Request, token: &Token) -> RequestBuilder {
    let mut built = built.header("Accept", MEDIA_JSON);
    if let Ok(mut value) = HeaderValue::from_str(token.value.reveal()) {
        value.set_sensitive(true);
        built = built.header("X-Auth-Token", value);
    }
    if let Some((word, version)) = request.service.microversion() {
        built = built.header("OpenStack-API-Version", format!("{word} {version}"));
    }
    built
}

/// A proxy that drops the header makes the service answer as its oldest version would, without a word.
fn echoed(request: &Request, headers: &HeaderMap) -> Result<(), Trouble> {
    let Some((word, _)) = request.service.microversion() else { return Ok(()) };
    let mut echoes = headers.get_all("OpenStack-API-Version").iter();
    if echoes.any(|echo| echo.to_str().is_ok_and(|echo| echo.starts_with(word))) {
        return Ok(());
    }
    let message = "the reply names no version: something on the way drops OpenStack-API-Version";
    let mut trouble = Trouble::harmless(Verdict::NotOffered, "microversion_dropped", message);
    if request.changes() {
        trouble = trouble.partial();
    }
    Err(trouble.of(request.service, request_id(headers)))
}

fn refused(request: &Request, status: u16, headers: &HeaderMap, body: &Value) -> Trouble {
    let said = bodies::said(body);
    let retry_after = headers.get("Retry-After").and_then(|value| value.to_str().ok());
    let refusal = Refusal {
        service: request.service,
        changes: request.changes(),
        status,
        said: said.as_ref(),
        retry_after: retry_after.and_then(|text| text.trim().parse().ok()),
    };
    let (verdict, code) = classify(&refusal);
    let said = said.map(|said| said.message).filter(|message| !message.is_empty());
    let message = match said {
        Some(said) => format!("{} answers {status}: {said}", request.service.name()),
        None => format!("{} answers {status}", request.service.name()),
    };
    let trouble = if verdict == Verdict::Ambiguous {
        Trouble::ambiguous(code, message)
    } else {
        Trouble::harmless(verdict, code, message)
    };
    trouble.of(request.service, request_id(headers))
}
