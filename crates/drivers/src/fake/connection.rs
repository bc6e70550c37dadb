//! Where the world is: in memory, or in another process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use stateward_domain::failure::{ErrorClass, Failure};

use super::world::{World, WorldReply, WorldRequest};
use crate::resource_exhaustion::ResourceExhausted;

/// A world in memory is the same one as long as nobody asks what became of its things.
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

/// Without a connection nothing was sent; afterwards, whatever was asked for may have been done.
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
