//! The token of a client: fetched once for all calls, renewed before it expires.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::error::ApiError;

/// A token that expires.
pub(crate) trait Expiring {
    /// The value that services see.
    fn value(&self) -> &str;

    /// When to renew it, by this process's steady clock, so that clocks need not agree.
    fn renew_at(&self) -> Duration;
}

/// When to renew a token that was requested at `asked` and is valid for `life`.
pub(crate) fn renew_at(asked: Duration, life: Duration) -> Duration {
    asked + life.mul_f64(0.75)
}

struct State<T> {
    token: Option<Arc<T>>,
    /// The last login that failed: its number, and why.
    failed: Option<(u64, ApiError)>,
}

/// The token, if any, and the last failed login. The only code that logs in.
pub(crate) struct Session<T> {
    state: Mutex<State<T>>,
    /// Logins that have ended.
    logins: AtomicU64,
}

impl<T> Default for Session<T> {
    fn default() -> Self {
        let state = Mutex::new(State { token: None, failed: None });
        Self { state, logins: AtomicU64::default() }
    }
}

impl<T: Expiring + Send + Sync> Session<T> {
    /// A valid token at the time `now()`, by `login` if there is none; `rejected` is one that a service just refused. Concurrent
    /// callers share one login and its result, including a failure.
    ///
    /// # Errors
    /// Those of `login`.
    pub(crate) async fn token(
        &self,
        now: impl Fn() -> Duration + Send,
        rejected: Option<&T>,
        login: impl Future<Output = Result<T, ApiError>> + Send,
    ) -> Result<Arc<T>, ApiError> {
        let before = self.logins.load(Ordering::SeqCst);
        let mut state = self.state.lock().await;
        if let Some(token) = &state.token {
            let refused = rejected.is_some_and(|rejected| rejected.value() == token.value());
            if !refused && now() < token.renew_at() {
                return Ok(Arc::clone(token));
            }
        }
        // It ended while this caller waited.
        if let Some((number, error)) = &state.failed
            && *number > before
        {
            return Err(error.clone());
        }
        let outcome = login.await;
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
    pub(crate) async fn forget(&self) {
        self.state.lock().await.token = None;
    }
}
