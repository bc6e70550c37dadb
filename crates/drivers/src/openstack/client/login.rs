//! Login: `POST /v3/auth/tokens`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::CallClient;
use super::catalogue::Catalogue;
use super::send::request_id;
use super::token::Token;
use crate::http::{self, ApiError, ErrorKind, Secret, before_deadline, renew_at};
use crate::openstack::cloud::{Cloud, Credentials, KeystoneRef};
use crate::openstack::cloud_time;
use crate::openstack::service::Service;

/// Lower bound of a token's lifetime: it has to last at least for the current request.
const LIFE_MIN: Duration = Duration::from_secs(1);

impl CallClient<'_> {
    /// A valid token; `rejected` is one that a service just refused.
    pub(super) async fn token(self, rejected: Option<&Token>) -> Result<Arc<Token>, ApiError> {
        self.shared.session.token(|| self.now(), rejected, login(self)).await
    }
}

/// Requests a token from Keystone. It changes no managed object, so it needs no permission to send.
async fn login(client: CallClient<'_>) -> Result<Token, ApiError> {
    before_deadline(client.context, ask(client))
        .await?
        .unwrap_or_else(|| Err(down("keystone does not answer")))
}

fn down(message: &str) -> ApiError {
    ApiError::harmless(ErrorKind::Transient, "keystone_down", message)
}

async fn ask(client: CallClient<'_>) -> Result<Token, ApiError> {
    let shared = client.shared;
    let mut url = shared.cloud.auth_url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(["auth", "tokens"]);
    }
    let asked = client.now();
    let sent = shared
        .http
        .request(Method::POST, url)
        .header("Accept", "application/json")
        .json(&auth_document(&shared.cloud.credentials))
        .send()
        .await;
    let response = sent.map_err(|error| {
        ApiError::local_exhaustion(&error).unwrap_or_else(|| down("keystone does not answer"))
    })?;
    let id = request_id(response.headers());
    let status = response.status().as_u16();
    let value = response.headers().get("X-Subject-Token").and_then(|value| value.to_str().ok());
    let value = value.map(Secret::new);
    let body = http::json(response).await.map_err(|_| down("keystone broke off"))?;
    let refused = |kind, code, message: &str| {
        Err(ApiError::harmless(kind, code, message)
            .with_request(Service::Identity.name(), id.clone()))
    };
    match (status, value) {
        (200..300, Some(value)) => token(asked, &shared.cloud, value, &body["token"]),
        (401, _) => refused(
            ErrorKind::Unauthorized,
            "credentials_refused",
            "keystone refuses the credentials",
        ),
        (429 | 500.., _) => refused(
            ErrorKind::Transient,
            "keystone_down",
            "keystone could not check the credentials",
        ),
        _ => {
            let message = format!("`auth_url` answers {status}, as no keystone would");
            refused(ErrorKind::Misconfigured, "no_keystone", &message)
        }
    }
}

fn token(asked: Duration, cloud: &Cloud, value: Secret, body: &Value) -> Result<Token, ApiError> {
    let time = |name: &str| body[name].as_str().and_then(cloud_time::parsed);
    let id = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let life = match (time("issued_at"), time("expires_at")) {
        (Some(from), Some(until)) => Duration::try_from(until.duration_since(from)).ok(),
        _ => None,
    };
    let (Some(life), Some(project_id)) = (life, id("/project/id")) else {
        let message = "the token is for no project, or has no end";
        return Err(ApiError::harmless(ErrorKind::Misconfigured, "no_project", message));
    };
    let renew_at = renew_at(asked, life.max(LIFE_MIN));
    let catalogue = Catalogue::new(&body["catalog"]);
    if !catalogue.has_any(cloud) {
        let (interface, region) = (&cloud.interface, cloud.region.as_deref());
        let region = region.unwrap_or("any region");
        let message =
            format!("the catalogue has no {interface} endpoint of any service in {region}");
        return Err(ApiError::harmless(ErrorKind::Misconfigured, "no_endpoint", message));
    }
    Ok(Token { value, catalogue, project_id, renew_at })
}

fn auth_document(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::Password { user, password, project } => {
            let mut user = keystone_ref(user);
            user["password"] = Value::from(password.reveal());
            json!({"auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": keystone_ref(project)},
            }})
        }
        Credentials::ApplicationCredential { credential, secret } => {
            let mut body = match credential {
                KeystoneRef::Name { name, domain } => {
                    json!({"name": name, "user": keystone_ref(domain)})
                }
                other => keystone_ref(other),
            };
            body["secret"] = Value::from(secret.reveal());
            let methods = ["application_credential"];
            json!({"auth": {"identity": {"methods": methods, "application_credential": body}}})
        }
    }
}

fn keystone_ref(name: &KeystoneRef) -> Value {
    match name {
        KeystoneRef::Id(id) => json!({"id": id}),
        KeystoneRef::Domain(name) => json!({"name": name}),
        KeystoneRef::Name { name, domain } => json!({"name": name, "domain": keystone_ref(domain)}),
    }
}
