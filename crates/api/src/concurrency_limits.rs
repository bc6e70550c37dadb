//! Limits of concurrent work: a request beyond them is refused at once, so that the others proceed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use stateward_domain::id::TokenId;
use tokio::sync::Semaphore;

use crate::fair_semaphore::FairSemaphore;

/// Tokens whose rates are kept before inactive ones are dropped.
const TOKENS_KEPT: usize = 20_000;

/// Limits of concurrent work.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// Requests per second of each issued token.
    pub rate_per_token: NonZeroU32,
    /// Concurrent requests; probes and watchers do not count.
    pub in_flight_max: usize,
    /// Requests that wait for their operation or for a position at the same time; one caller may have half of them.
    pub waiting_max: usize,
}

/// Bytes of bodies, and of documents made of them: in all requests, and in those of one caller.
const BODIES_BYTES_MAX: usize = 128 * 1024 * 1024;
pub(crate) const BODIES_BYTES_EACH: usize = 48 * 1024 * 1024;
/// Bytes of events that watchers read from the log to catch up: for all, and for one caller.
const CATCH_UP_BYTES_MAX: usize = 64 * 1024 * 1024;
const CATCH_UP_BYTES_EACH: usize = 32 * 1024 * 1024;

/// Counters of the work in progress.
pub(crate) struct Limits {
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) waiting: FairSemaphore,
    pub(crate) bodies: FairSemaphore,
    pub(crate) catching_up: FairSemaphore,
    tokens: DefaultKeyedRateLimiter<TokenId>,
}

impl Limits {
    pub(crate) fn new(settings: LimitSettings) -> Self {
        Self {
            in_flight: Arc::new(Semaphore::new(settings.in_flight_max)),
            waiting: FairSemaphore::new(settings.waiting_max, settings.waiting_max.div_ceil(2)),
            bodies: FairSemaphore::of_bytes(BODIES_BYTES_MAX, BODIES_BYTES_EACH),
            catching_up: FairSemaphore::of_bytes(CATCH_UP_BYTES_MAX, CATCH_UP_BYTES_EACH),
            tokens: RateLimiter::keyed(Quota::per_second(settings.rate_per_token)),
        }
    }

    /// Counts a request of a token.
    ///
    /// # Errors
    /// How long to wait, if the rate is exceeded.
    pub(crate) fn check_rate(&self, token: TokenId) -> Result<(), Duration> {
        if self.tokens.len() > TOKENS_KEPT {
            self.tokens.retain_recent();
        }
        let now = DefaultClock::default().now();
        self.tokens.check_key(&token).map_err(|until| until.wait_time_from(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_s_haste_is_not_another_s() {
        let rate_per_token = NonZeroU32::new(3).expect("not zero");
        let limits =
            Limits::new(LimitSettings { rate_per_token, in_flight_max: 1, waiting_max: 1 });
        let token = |digit: &str| digit.repeat(32).parse::<TokenId>().expect("an id");
        let (a, b) = (token("1"), token("2"));
        for _ in 0..3 {
            assert!(limits.check_rate(a).is_ok());
        }
        assert!(limits.check_rate(a).is_err_and(|wait| wait <= Duration::from_secs(1)));
        assert!(limits.check_rate(b).is_ok());
    }
}
