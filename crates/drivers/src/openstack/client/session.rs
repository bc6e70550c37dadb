//! The token: fetched once for all calls, renewed before it expires.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::error::ApiError;
use super::token::Token;
use super::{CallClient, login};

#[derive(Default)]
struct State {
    token: Option<Arc<Token>>,
    /// The last login that failed: its number, and why.
    failed: Option<(u64, ApiError)>,
}

/// The token, if any, and the last failed login. The only code that logs in.
#[derive(Default)]
pub(super) struct Session {
    state: Mutex<State>,
    /// Logins that have ended.
    logins: AtomicU64,
}

impl Session {
    /// A valid token; `rejected` is one that a service just refused. Concurrent callers share one login and its result,
    /// including a failure.
    pub(super) async fn token(
        &self,
        client: CallClient<'_>,
        rejected: Option<&Token>,
    ) -> Result<Arc<Token>, ApiError> {
        let before = self.logins.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some(token) = &state.token {
            let refused = rejected.is_some_and(|rejected| rejected.value == token.value);
            if !refused && client.now() < token.renew_at {
                return Ok(Arc::clone(token));
            }
        }
        // It ended while this caller waited.
        if let Some((number, error)) = &state.failed
            && *number > before
        {
            return Err(error.clone());
        }
        let outcome = login::login(client).await;
        let number = self.logins.fetch_add(1, Ordering::SeqCst) + 1;
        match outcome {
            Ok(token) => {
                let token = Arc::new(token);
                state.token = Some(Arc::clone(&token));
                state.failed = None;
                Ok(token)
            }
            Err(error) => {
                state.failed = Some((number, error.clone()));
                Err(error)
            }
        }
    }

    /// Drops the token, so that the next request logs in.
    pub(super) async fn forget(&self) {
        self.state.lock().await.token = None;
    }
}
