//! The connection to a world: in this process, or over HTTP to another one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use stateward_domain::failure::{ErrorClass, Failure};

use super::world::{World, WorldReply, WorldRequest};
use crate::resource_exhaustion::ResourceExhausted;

/// Identity of a world in memory: always the same, although its things are lost at a restart.
const MEMORY: &str = "memory";

pub(super) enum WorldConnection {
    InMemory(Mutex<World>),
    Http { http: reqwest::Client, url: String, token: Option<SecretString> },
}

impl WorldConnection {
    pub(super) fn new(url: Option<&str>, token: Option<String>) -> Result<Self, String> {
        let Some(url) = url else {
            return Ok(Self::InMemory(Mutex::new(World::new(MEMORY.to_owned()))));
        };
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(15)).build();
        let http = http.map_err(|error| error.to_string())?;
        let token = token.map(SecretString::from);
        Ok(Self::Http { http, url: url.trim_end_matches('/').to_owned(), token })
    }

    pub(super) async fn request(&self, ask: WorldRequest) -> Result<WorldReply, Failure> {
        match self {
            Self::InMemory(world) => {
                Ok(world.lock().unwrap_or_else(PoisonError::into_inner).handle(ask))
            }
            Self::Http { http, url, token } => {
                let changes = ask.changes();
                let mut request = http.post(format!("{url}/ask")).json(&ask);
                if let Some(token) = token {
                    request = request.bearer_auth(token.expose_secret());
                }
                let sent = request.send().await;
                let response = sent.map_err(|error| no_reply(&error, changes))?;
                if response.status() == StatusCode::UNAUTHORIZED {
                    let message = "the world refuses the token";
                    return Err(Failure::harmless(ErrorClass::Unauthorized, "refused", message));
                }
                if !response.status().is_success() {
                    let message = format!("the world answered {}", response.status());
                    return Err(Failure::harmless(ErrorClass::Transient, "world_down", message));
                }
                response.json().await.map_err(|error| no_reply(&error, changes))
            }
        }
    }
}

/// The failure of a request without a reply. If no connection was made, nothing was sent; otherwise the request may
/// have been carried out.
fn no_reply(error: &reqwest::Error, changes: bool) -> Failure {
    if let Some(exhausted) = ResourceExhausted::of_connection(error) {
        return exhausted.failure();
    }
    let message = "the world does not answer";
    if changes && !error.is_connect() {
        Failure::doubtful(ErrorClass::Ambiguous, "no_reply", message)
    } else {
        Failure::harmless(ErrorClass::Transient, "no_reply", message)
    }
}
