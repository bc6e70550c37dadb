//! Sends one request: permission, deadline, credentials, reply.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use stateward_domain::failure::Failure;

use super::CallClient;
use super::login::{AccessToken, login};
use super::refusal::{self, Refusal, classify};
use super::request::{Body, Request};
use crate::http::{self, ApiError, ErrorKind, before_deadline, joined};
use crate::jira::site::Credentials;

/// The reply to a successful request.
pub(in crate::jira) struct Reply {
    pub(in crate::jira) status: u16,
    /// JSON; `Null` if the reply had no body.
    pub(in crate::jira) body: Value,
    /// The last segment of the header `Location`: the id of a task.
    pub(in crate::jira) location: Option<String>,
}

impl CallClient<'_> {
    /// Sends a request; once more with a new token if its OAuth token was refused, which had no effect.
    pub(in crate::jira) async fn send(self, request: Request) -> Result<Reply, ApiError> {
        if !matches!(self.shared.site.credentials, Credentials::Client { .. }) {
            return self.send_with(&request, None).await;
        }
        let token = self.token(None).await?;
        match self.send_with(&request, Some(&token)).await {
            Err(error) if error.kind == ErrorKind::Unauthenticated => {
                let fresh = self.token(Some(&token)).await?;
                let again = self.send_with(&request, Some(&fresh)).await;
                again.map_err(|error| match error.kind {
                    ErrorKind::Unauthenticated => error.with_kind(ErrorKind::Unauthorized),
                    _ => error,
                })
            }
            outcome => outcome,
        }
    }

    /// The body of the reply to a reading request.
    pub(in crate::jira) async fn read(self, request: Request) -> Result<Value, ApiError> {
        Ok(self.send(request).await?.body)
    }

    async fn token(self, rejected: Option<&AccessToken>) -> Result<Arc<AccessToken>, ApiError> {
        self.shared.session.token(|| self.now(), rejected, login(self)).await
    }

    /// Checks that JIRA answers, and knows the account: some sites answer anonymous requests, with less.
    pub(in crate::jira) async fn health(self) -> Result<(), ApiError> {
        self.shared.session.forget().await;
        self.is_known().await
    }

    /// Checks that the account is known.
    ///
    /// # Errors
    /// `Unauthorized` if JIRA takes the request for an anonymous one.
    pub(in crate::jira) async fn is_known(self) -> Result<(), ApiError> {
        let account = self.read(Request::get(&["myself"])).await?;
        let id = account[self.deployment().user_id()].as_str().unwrap_or_default();
        if id.is_empty() || account["active"] == json!(false) {
            let message = "JIRA takes the credentials for nobody's";
            let kind = ErrorKind::Unauthorized;
            return Err(ApiError::harmless(kind, "credentials_of_nobody", message));
        }
        Ok(())
    }

    /// The identity of the backend: the site. The account is not part of it, because credentials change.
    pub(in crate::jira) async fn identity(self) -> Result<String, ApiError> {
        let info = self.read(Request::get(&["serverInfo"])).await?;
        let (url, product) = (info["baseUrl"].as_str(), info["deploymentType"].as_str());
        let url = url.ok_or_else(|| nonsense("the site does not say its address", false))?;
        Ok(format!("jira {} at {url}", product.unwrap_or("Server")))
    }

    /// Checks that an empty search result proves absence: JIRA has answered for a while, and knows the account.
    ///
    /// # Errors
    /// `Transient` if JIRA did not answer a moment ago; those of [`is_known`](Self::is_known).
    pub(in crate::jira) async fn proves_absence(self) -> Result<(), ApiError> {
        self.is_known().await?;
        if self.shared.replies.is_settled(&(), self.now()) {
            return Ok(());
        }
        Err(settling("JIRA answers again since a moment: none found proves nothing yet"))
    }

    async fn send_with(
        self,
        request: &Request,
        token: Option<&AccessToken>,
    ) -> Result<Reply, ApiError> {
        let url = self.address(request)?;
        let call = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let built = self.shared.http.request(request.method.clone(), url);
        let built = built
            .header("Accept", "application/json")
            .header("X-Request-Id", call.to_string())
            // Otherwise Data Center may take the User-Agent for that of a browser and refuse the write (XSRF check).
            .header("X-Atlassian-Token", "no-check");
        let built = self.with_credentials(built, token);
        let built = match &request.body {
            Body::None => built,
            Body::Json(body) => built.json(body),
        };
        if request.changes() && !self.context.control.may_send() {
            return Err(ApiError::not_sent());
        }
        let call = call.to_string();
        let exchange = self.exchange(request, built, &call, token.is_some());
        before_deadline(self.context, exchange)
            .await?
            .unwrap_or_else(|| Err(self.without_reply(request, &call, true)))
    }

    fn address(self, request: &Request) -> Result<reqwest::Url, ApiError> {
        let version = self.deployment().version();
        let mut path: Vec<_> = ["rest", "api", version].map(str::to_owned).to_vec();
        path.extend(request.path.iter().cloned());
        joined(&self.shared.site.url, &path, &request.query)
    }

    fn with_credentials(
        self,
        built: RequestBuilder,
        token: Option<&AccessToken>,
    ) -> RequestBuilder {
        let value = match (&self.shared.site.credentials, token) {
            (Credentials::ApiToken { email, token }, _) => {
                let pair = format!("{email}:{}", token.reveal());
                format!("Basic {}", STANDARD.encode(pair))
            }
            (Credentials::PersonalToken(token), _) => format!("Bearer {}", token.reveal()),
            (Credentials::Client { .. }, Some(token)) => {
                format!("Bearer {}", token.value.reveal())
            }
            (Credentials::Client { .. }, None) => return built,
        };
        match HeaderValue::from_str(&value) {
            Ok(mut value) => {
                value.set_sensitive(true);
                built.header(AUTHORIZATION, value)
            }
            Err(_) => built,
        }
    }

    async fn exchange(
        self,
        request: &Request,
        built: RequestBuilder,
        call: &str,
        renewable: bool,
    ) -> Result<Reply, ApiError> {
        let began = self.now();
        let sent = built.send().await;
        tracing::debug!(
            call,
            method = %request.method,
            elapsed_ms = self.now().saturating_sub(began).as_millis(),
            status = sent.as_ref().ok().map(|response| response.status().as_u16()),
            "sent"
        );
        match sent {
            Ok(response) => self.on_response(request, response, renewable).await,
            Err(error) => Err(ApiError::local_exhaustion(&error).unwrap_or_else(|| {
                self.without_reply(request, call, !error.is_connect() && !error.is_builder())
            })),
        }
    }

    async fn on_response(
        self,
        request: &Request,
        response: Response,
        renewable: bool,
    ) -> Result<Reply, ApiError> {
        let headers = response.headers().clone();
        let status = response.status().as_u16();
        let request_id = request_id(&headers);
        let changes = request.changes();
        let of_request = |error: ApiError| error.with_request(self.scope, request_id.clone());
        let read = http::bytes(response).await;
        let bytes = read.map_err(|unread| of_request(ApiError::unread(unread, changes)))?;
        let json: Option<Value> = serde_json::from_slice(&bytes).ok();
        if !matches!(status, 200..300 | 303) {
            let body = json.unwrap_or(Value::Null);
            let refusal = Refusal { status, changes, renewable, headers: &headers, body: &body };
            let (kind, code, message) = classify(&refusal);
            match kind {
                // Possibly of a proxy: JIRA may still carry out the request.
                ErrorKind::Ambiguous => self.shared.replies.record_silence(&()),
                ErrorKind::Transient | ErrorKind::RateLimited(_) | ErrorKind::Unsupported => {}
                _ => self.shared.replies.record_reply((), self.now()),
            }
            let error = if kind == ErrorKind::Ambiguous {
                ApiError::ambiguous(code, message)
            } else {
                ApiError::harmless(kind, code, message)
            };
            let code = if status == 429 && refusal::is_per_issue(&headers) {
                PER_ISSUE
            } else {
                error.code
            };
            return Err(of_request(ApiError { code, ..error }));
        }
        let body = match json {
            Some(body) => body,
            None if bytes.is_empty() => Value::Null,
            None => {
                let message =
                    "something in front of JIRA answers with a web page, or half of an answer";
                return Err(of_request(nonsense(message, changes)));
            }
        };
        self.shared.replies.record_reply((), self.now());
        let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|at| at.trim_end_matches('/').rsplit('/').next());
        Ok(Reply { status, body, location: location.map(str::to_owned) })
    }

    fn without_reply(self, request: &Request, call: &str, connected: bool) -> ApiError {
        self.shared.replies.record_silence(&());
        ApiError::without_reply("JIRA", call, request.changes(), connected)
            .with_request(self.scope, None)
    }
}

/// Code of a 429 that concerns the writes of one issue alone.
pub(in crate::jira) const PER_ISSUE: &str = "issue_rate_limited";

/// The error of an answer that JIRA would not give; a change may have been carried out.
pub(in crate::jira) fn nonsense(message: &str, changes: bool) -> ApiError {
    if changes {
        ApiError::ambiguous("nonsense_reply", message)
    } else {
        ApiError::harmless(ErrorKind::Transient, "nonsense_reply", message)
    }
}

/// The error of a read or search that proves nothing yet.
pub(in crate::jira) fn settling(message: &str) -> ApiError {
    ApiError::harmless(ErrorKind::Transient, Failure::SEARCH_SETTLING, message)
}

/// The backend's id of the request.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let names = ["X-ARequestId", "Atl-Traceid", "X-Request-Id"];
    let text = names.iter().find_map(|name| headers.get(*name)?.to_str().ok())?;
    Some(text.chars().take(64).collect())
}
