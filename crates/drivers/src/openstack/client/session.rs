//! The token: fetched once for all who need it, renewed before it wears out.

use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::sync::Mutex;

use super::catalogue::{Catalogue, Service};
use super::trouble::Trouble;
use super::{Link, login};
use crate::openstack::cloud::{Cloud, Secret};

/// What Keystone gave.
pub(super) struct Token {
    pub(super) value: Secret,
    pub(super) catalogue: Catalogue,
    pub(super) project_id: String,
    /// Known by this process' own clock, so that clocks need not agree.
    pub(super) renew_at: Instant,
}

impl Token {
    pub(super) fn endpoint(&self, service: Service, cloud: &Cloud) -> Result<Url, Trouble> {
        self.catalogue.endpoint(service, cloud)
    }
}

/// When to renew a token that was asked for at `asked` and lives for `life`.
pub(super) fn renew_at(asked: Instant, life: Duration) -> Instant {
    asked + life.mul_f64(0.75)
}

#[derive(Default)]
struct State {
    token: Option<std::sync::Arc<Token>>,
    failed: Option<(Instant, Trouble)>,
}

/// The only place that logs in.
#[derive(Default)]
pub(super) struct Session(Mutex<State>);

impl Session {
    /// A token that is good for a while; `worn` is one that a service just refused. Who comes while another
    /// one logs in waits for that result, also when it is a failure.
    pub(super) async fn token(
        &self,
        link: Link<'_>,
        worn: Option<&Token>,
    ) -> Result<std::sync::Arc<Token>, Trouble> {
        let came = Instant::now();
        let mut state = self.0.lock().await;
        if let Some(token) = &state.token {
            let refused = worn.is_some_and(|worn| worn.value == token.value);
            if !refused && Instant::now() < token.renew_at {
                return Ok(token.clone());
            }
        }
        if let Some((at, trouble)) = &state.failed
            && *at > came
        {
            return Err(trouble.clone());
        }
        match login::login(link).await {
            Ok(token) => {
                let token = std::sync::Arc::new(token);
                state.token = Some(token.clone());
                state.failed = None;
                Ok(token)
            }
            Err(trouble) => {
                state.failed = Some((Instant::now(), trouble.clone()));
                Err(trouble)
            }
        }
    }

    /// Forgets the token, so that the next request logs in.
    pub(super) async fn forget(&self) {
        self.0.lock().await.token = None;
    }
}
