//! OAuth 2.0 client credentials: `POST token_url`.

use std::time::Duration;

use serde_json::json;

use super::CallClient;
use crate::http::{self, ApiError, ErrorKind, Expiring, Secret, before_deadline, renew_at};
use crate::jira::site::Credentials;

/// A token of the authorization server.
pub(super) struct AccessToken {
    pub(super) value: Secret,
    renew_at: Duration,
}

impl Expiring for AccessToken {
    fn value(&self) -> &str {
        self.value.reveal()
    }

    fn renew_at(&self) -> Duration {
        self.renew_at
    }
}

/// Requests a token. It changes no managed object, so it needs no permission to send.
pub(super) async fn login(client: CallClient<'_>) -> Result<AccessToken, ApiError> {
    before_deadline(client.context, ask(client)).await?.unwrap_or_else(|| Err(down()))
}

fn down() -> ApiError {
    let message = "the authorization server does not answer";
    ApiError::harmless(ErrorKind::Transient, "authorization_down", message)
}

async fn ask(client: CallClient<'_>) -> Result<AccessToken, ApiError> {
    let Credentials::Client { id, secret, token_url } = &client.shared.site.credentials else {
        let message = "only client credentials are exchanged for tokens";
        return Err(ApiError::harmless(ErrorKind::Bug, "no_login", message));
    };
    let body = json!({
        "grant_type": "client_credentials", "client_id": id, "client_secret": secret.reveal(),
    });
    let asked = client.now();
    let sent = client.shared.http.post(token_url.clone()).json(&body).send().await;
    let response = sent.map_err(|error| ApiError::local_exhaustion(&error).unwrap_or_else(down))?;
    let status = response.status().as_u16();
    let body = http::json(response).await.map_err(|_| down())?;
    let refused = |kind, code, message: &str| Err(ApiError::harmless(kind, code, message));
    match (status, body["access_token"].as_str(), body["expires_in"].as_u64()) {
        (200..300, Some(value), life) => {
            let life = Duration::from_secs(life.unwrap_or(60).clamp(1, 86_400));
            Ok(AccessToken { value: Secret::new(value), renew_at: renew_at(asked, life) })
        }
        (400 | 401 | 403, ..) => refused(
            ErrorKind::Unauthorized,
            "credentials_refused",
            "the authorization server refuses the client credentials",
        ),
        (429 | 500.., ..) => Err(down()),
        _ => refused(
            ErrorKind::Misconfigured,
            "no_authorization_server",
            "`token_url` answers as no authorization server would",
        ),
    }
}
