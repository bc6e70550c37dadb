//! Retries: whether a request is sent again, and when.

use std::time::Duration;

use reqwest::StatusCode;

/// Attempts at most, once the server has answered any request of this process.
const TRIES_MAX: u32 = 6;
/// Attempts at most before that: the address may be wrong, and a person waits.
const TRIES_BEFORE_ANSWER_MAX: u32 = 3;
/// Time after which there is no further attempt before that.
const RETRIES_BEFORE_ANSWER_MAX: Duration = Duration::from_secs(1);
const FIRST: Duration = Duration::from_millis(200);
/// A longer `Retry-After` is not waited for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendFailure {
    /// The request cannot have arrived.
    Unsent,
    /// The request may have arrived.
    Lost,
    /// The server, or a proxy before it, is overloaded.
    Busy { status: StatusCode, retry_after: Option<Duration> },
}

/// Whether the same request may succeed later.
pub(super) fn is_busy(status: StatusCode) -> bool {
    [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ]
    .contains(&status)
}

/// The delay before the next attempt; `None` = no further attempt.
///
/// `elapsed` = since the first attempt. `repeatable` = the server recognises a repetition. `met` = it has answered a
/// request of this process.
pub(super) fn delay(
    failed: SendFailure,
    (sends, elapsed): (u32, Duration),
    repeatable: bool,
    met: bool,
) -> Option<Duration> {
    let certain = match failed {
        SendFailure::Unsent => true,
        SendFailure::Lost => false,
        SendFailure::Busy { status, .. } => status == StatusCode::TOO_MANY_REQUESTS,
    };
    let answered = matches!(failed, SendFailure::Busy { .. });
    let sends_max = if met || answered { TRIES_MAX } else { TRIES_BEFORE_ANSWER_MAX };
    let late = !(met || answered) && elapsed > RETRIES_BEFORE_ANSWER_MAX;
    if sends >= sends_max || late || !(repeatable || certain) {
        return None;
    }
    let backoff = FIRST * 2_u32.saturating_pow(sends - 1);
    let asked = match failed {
        SendFailure::Busy { retry_after, .. } => retry_after.unwrap_or_default(),
        SendFailure::Unsent | SendFailure::Lost => Duration::ZERO,
    };
    (asked <= RETRY_AFTER_MAX).then_some(backoff.max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

    fn at(sends: u32) -> (u32, Duration) {
        (sends, Duration::ZERO)
    }

    #[test]
    fn rests_grow_and_end() {
        let rests: Vec<_> =
            (1..=TRIES_MAX).map(|n| delay(SendFailure::Lost, at(n), true, true)).collect();
        assert!(rests.windows(2).all(|pair| pair[1].is_none_or(|rest| Some(rest) > pair[0])));
        assert_eq!(rests.last(), Some(&None));
    }

    #[test]
    fn what_the_server_asks_for_is_honoured_within_reason() {
        let asks = |seconds| SendFailure::Busy {
            status: BUSY,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        assert_eq!(delay(asks(7), at(1), true, true), Some(Duration::from_secs(7)));
        assert_eq!(delay(asks(3_600), at(1), true, true), None);
    }

    #[test]
    fn what_is_not_recognised_is_sent_again_only_when_it_was_not_taken() {
        assert_eq!(delay(SendFailure::Lost, at(1), false, true), None);
        assert_eq!(
            delay(SendFailure::Busy { status: BUSY, retry_after: None }, at(1), false, true),
            None
        );
        assert!(delay(SendFailure::Unsent, at(1), false, true).is_some());
    }

    #[test]
    fn an_address_that_never_answered_is_given_up_soon() {
        assert_eq!(delay(SendFailure::Unsent, at(TRIES_BEFORE_ANSWER_MAX), true, false), None);
        assert!(delay(SendFailure::Unsent, at(TRIES_BEFORE_ANSWER_MAX), true, true).is_some());
        let late = (1, Duration::from_secs(2));
        assert_eq!(delay(SendFailure::Lost, late, true, false), None);
        assert!(delay(SendFailure::Lost, late, true, true).is_some());
    }
}
