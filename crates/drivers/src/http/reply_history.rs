//! Since when the parts of a backend answer: an empty result proves nothing right after a silence.
//!
//! A service that hung carries out its queued requests once it wakes, however late, also those of clients that are gone,
//! and may answer others before. So an empty result counts only some time after the first reply.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Measured: 0.2 s; the rest is margin.
const SETTLES_IN: Duration = Duration::from_secs(5);

/// Since when, in steady time, each part has answered without interruption. It is empty when the process starts, because
/// another process may have sent requests before.
pub(crate) struct ReplyHistory<P>(Mutex<HashMap<P, Duration>>);

impl<P> Default for ReplyHistory<P> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<P: Eq + Hash> ReplyHistory<P> {
    pub(crate) fn record_reply(&self, part: P, now: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(part).or_insert(now);
    }

    pub(crate) fn record_silence(&self, part: &P) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// Whether an empty result of `part` proves absence.
    pub(crate) fn is_settled(&self, part: &P, now: Duration) -> bool {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(part).copied();
        since.is_some_and(|since| now.saturating_sub(since) >= SETTLES_IN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_proved_until_a_service_has_answered_for_a_while() {
        let (history, start) = (ReplyHistory::default(), Duration::from_secs(7));
        let after = |ms| start + Duration::from_millis(ms);
        assert!(!history.is_settled(&"volume", after(60_000)), "it never answered");
        history.record_reply("volume", start);
        history.record_reply("volume", after(3_000));
        assert!(!history.is_settled(&"volume", after(4_999)));
        assert!(history.is_settled(&"volume", after(5_000)));
        assert!(!history.is_settled(&"image", after(5_000)), "each for itself");
        history.record_silence(&"volume");
        history.record_reply("volume", after(6_000));
        assert!(!history.is_settled(&"volume", after(10_999)));
        assert!(history.is_settled(&"volume", after(11_000)));
    }
}
