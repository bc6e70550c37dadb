//! Sends one request: permission, deadline, token, reply.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use stateward_domain::failure::Failure;

use super::CallClient;
use super::classify::{Refusal, classify};
use super::request::{Body, Request};
use super::response;
use super::token::Token;
use crate::http::{self, ApiError, ErrorKind, before_deadline};
use crate::openstack::service::Service;

const MEDIA_JSON: &str = "application/json";

/// The reply to a successful request.
pub(in crate::openstack) struct Reply {
    /// JSON; `Null` if the reply had none.
    pub(in crate::openstack) body: Value,
    /// The service's clock at the time of the reply.
    pub(in crate::openstack) date: Option<Timestamp>,
}

/// The backend's id of the request.
pub(super) fn request_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("X-Openstack-Request-Id")?.to_str().ok()?;
    Some(text.chars().take(64).collect())
}

impl CallClient<'_> {
    /// Sends a request; once more with a new token if its token was refused, which had no effect.
    pub(in crate::openstack) async fn send(self, request: Request) -> Result<Reply, ApiError> {
        let token = self.token(None).await?;
        match self.send_with(&request, &token).await {
            Err(error) if error.kind == ErrorKind::Unauthenticated => {
                let fresh = self.token(Some(&token)).await?;
                self.send_with(&request, &fresh).await
            }
            outcome => outcome,
        }
    }

    /// Id of the project of the credentials.
    pub(in crate::openstack) async fn project_id(self) -> Result<String, ApiError> {
        Ok(self.token(None).await?.project_id.clone())
    }

    /// The identity of the backend: project and region. The user is not part of it, because credentials change.
    pub(in crate::openstack) async fn identity(self) -> Result<String, ApiError> {
        let project = self.project_id().await?;
        let region = self.shared.cloud.region.as_deref().unwrap_or("any");
        Ok(format!("openstack project {project} in region {region}"))
    }

    /// Checks the credentials by a new login.
    pub(in crate::openstack) async fn health(self) -> Result<(), ApiError> {
        self.shared.session.forget().await;
        self.token(None).await.map(drop)
    }

    /// Checks that each service has an endpoint in the region.
    pub(in crate::openstack) async fn verify(self) -> Result<(), ApiError> {
        let token = self.token(None).await?;
        token.catalogue.check_all(&self.shared.cloud)
    }

    /// Checks that an empty search result of `service` proves absence.
    ///
    /// # Errors
    /// `Transient` if `service` did not answer a moment ago, and may still carry out earlier requests.
    pub(in crate::openstack) fn proves_absence(self, service: Service) -> Result<(), ApiError> {
        if self.shared.absence_proof.is_settled(&service, self.now()) {
            return Ok(());
        }
        let message = format!(
            "{} answers again since a moment: none found proves nothing yet",
            service.name()
        );
        Err(ApiError::harmless(ErrorKind::Transient, Failure::SEARCH_SETTLING, message))
    }

    /// Whether a change of `service` whose reply was lost may still run: what is missing may still come.
    pub(in crate::openstack) fn change_may_run(self, service: Service) -> bool {
        let timeout = self.shared.cloud.service_timeout;
        self.shared.lost_changes.may_run(service, timeout, self.now())
    }

    async fn send_with(self, request: &Request, token: &Token) -> Result<Reply, ApiError> {
        let endpoint = token.endpoint(request.service, &self.shared.cloud)?;
        let url = request.url(&endpoint)?;
        let built = self.shared.http.request(request.method.clone(), url);
        let built = headers(built, request, token)
            .header("X-Openstack-Request-Id", format!("req-{}", self.call));
        let built = match &request.body {
            Body::None => built,
            Body::Json(body) => built.json(body),
            // `json` sets its own media type only if none is set.
            Body::Typed(media, body) => built.header("Content-Type", *media).json(body),
            Body::Bytes(bytes) => {
                built.header("Content-Type", "application/octet-stream").body(bytes.clone())
            }
        };
        if request.changes() && !self.context.control.may_send() {
            return Err(ApiError::not_sent());
        }
        let outcome = before_deadline(self.context, self.exchange(request, built))
            .await?
            .unwrap_or_else(|| Err(self.on_no_response(request, false)));
        if outcome.as_ref().is_err_and(|error| error.kind == ErrorKind::Ambiguous) {
            self.shared.lost_changes.record(request.service, self.now());
        }
        outcome
    }

    async fn exchange(self, request: &Request, built: RequestBuilder) -> Result<Reply, ApiError> {
        let began = self.now();
        let sent = built.send().await;
        tracing::debug!(
            call = %self.call,
            service = request.service.name(),
            method = %request.method,
            elapsed_ms = self.now().saturating_sub(began).as_millis(),
            status = sent.as_ref().ok().map(|response| response.status().as_u16()),
            "sent"
        );
        match sent {
            Ok(response) => self.on_response(request, response).await,
            Err(error) => Err(ApiError::local_exhaustion(&error).unwrap_or_else(|| {
                self.on_no_response(request, error.is_connect() || error.is_builder())
            })),
        }
    }

    async fn on_response(self, request: &Request, response: Response) -> Result<Reply, ApiError> {
        let headers = response.headers().clone();
        let status = response.status();
        let id = request_id(&headers);
        let body = http::json(response).await.map_err(|unread| {
            ApiError::unread(unread, request.changes())
                .with_request(request.service.name(), id.clone())
        })?;
        if !status.is_success() {
            let error = error_from_response(request, status.as_u16(), &headers, &body);
            match error.kind {
                // Possibly a timeout of a proxy: the service may still carry out the request.
                ErrorKind::Ambiguous => self.shared.absence_proof.record_silence(&request.service),
                // These may come from a proxy in front of the service.
                ErrorKind::Transient | ErrorKind::Unauthenticated | ErrorKind::RateLimited(_) => {}
                _ => self.shared.absence_proof.record_reply(request.service, self.now()),
            }
            return Err(error);
        }
        self.shared.absence_proof.record_reply(request.service, self.now());
        check_version_echo(request, &headers)?;
        let date = headers.get("Date").and_then(|value| value.to_str().ok());
        let date = date.and_then(|text| rfc2822::DateTimeParser::new().parse_timestamp(text).ok());
        Ok(Reply { body, date })
    }

    /// The error of a request without a reply. If no connection was made, nothing was sent; otherwise the request may
    /// have been carried out.
    fn on_no_response(self, request: &Request, unreachable: bool) -> ApiError {
        let service = request.service;
        self.shared.absence_proof.record_silence(&service);
        let request_id = format!("req-{}", self.call);
        ApiError::without_reply(service.name(), &request_id, request.changes(), !unreachable)
            .with_request(service.name(), None)
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

/// Checks that the reply names the API version. A proxy that drops the request's header makes the service answer in its
/// oldest version, without an error.
fn check_version_echo(request: &Request, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some((word, _)) = request.service.microversion() else { return Ok(()) };
    let mut echoes = headers.get_all("OpenStack-API-Version").iter();
    if echoes.any(|echo| echo.to_str().is_ok_and(|echo| echo.starts_with(word))) {
        return Ok(());
    }
    let message = "the reply names no version: something on the way drops OpenStack-API-Version";
    let mut error = ApiError::harmless(ErrorKind::Unsupported, "microversion_dropped", message);
    if request.changes() {
        error = error.partial();
    }
    Err(error.with_request(request.service.name(), request_id(headers)))
}

fn error_from_response(
    request: &Request,
    status: u16,
    headers: &HeaderMap,
    body: &Value,
) -> ApiError {
    let error_body = response::error_body(body);
    let retry_after = headers.get("Retry-After").and_then(|value| value.to_str().ok());
    let refusal = Refusal {
        service: request.service,
        changes: request.changes(),
        status,
        error_body: error_body.as_ref(),
        retry_after: retry_after.and_then(|text| text.trim().parse().ok()),
    };
    let (kind, code) = classify(&refusal);
    let error_body =
        error_body.map(|error_body| error_body.message).filter(|message| !message.is_empty());
    let message = match error_body {
        Some(error_body) => format!("{} answers {status}: {error_body}", request.service.name()),
        None => format!("{} answers {status}", request.service.name()),
    };
    let error = if kind == ErrorKind::Ambiguous {
        ApiError::ambiguous(code, message)
    } else {
        ApiError::harmless(kind, code, message)
    };
    error.with_request(request.service.name(), request_id(headers))
}
