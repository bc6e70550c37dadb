//! The token: fetched once for all calls, renewed before it expires.

use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::sync::Mutex;

use super::catalogue::Catalogue;
use super::error::ApiError;
use super::{CallClient, login};
use crate::openstack::cloud::{Cloud, Secret};
use crate::openstack::service::Service;

/// A token of Keystone, with its catalogue.
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) catalogue: Catalogue,
    pub(super) project_id: String,
    /// By this process's own clock, so that clocks need not agree.
    pub(super) renew_at: Instant,
}

impl Token {
    pub(super) fn endpoint(&self, service: Service, cloud: &Cloud) -> Result<Url, ApiError> {
        self.catalogue.endpoint(service, cloud)
    }
}

/// When to renew a token that was requested at `asked` and is valid for `life`.
pub(super) fn renew_at(asked: Instant, life: Duration) -> Instant {
    asked + life.mul_f64(0.75)
}

#[derive(Default)]
struct State {
    token: Option<std::sync::Arc<Token>>,
    failed: Option<(Instant, ApiError)>,
}

/// The token, if any, and the last failed login. The only code that logs in.
#[derive(Default)]
pub(super) struct Session(Mutex<State>);

impl Session {
    /// A valid token; `rejected` is one that a service just refused. Concurrent callers share one login and its result,
    /// including a failure.
    pub(super) async fn token(
        &self,
        client: CallClient<'_>,
        rejected: Option<&Token>,
    ) -> Result<std::sync::Arc<Token>, ApiError> {
        let arrived = Instant::now();
        let mut state = self.0.lock().await;
        if let Some(token) = &state.token {
            let refused = rejected.is_some_and(|rejected| rejected.value == token.value);
            if !refused && Instant::now() < token.renew_at {
                return Ok(token.clone());
            }
        }
        if let Some((at, error)) = &state.failed
            && *at > arrived
        {
            return Err(error.clone());
        }
        match login::login(client).await {
            Ok(token) => {
                let token = std::sync::Arc::new(token);
                state.token = Some(token.clone());
                state.failed = None;
                Ok(token)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Drops the token, so that the next request logs in.
    pub(super) async fn forget(&self) {
        self.0.lock().await.token = None;
    }
}
