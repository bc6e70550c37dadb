//! Whether an empty search result proves absence.
//!
//! A service that hung carries out its queued requests once it wakes, also those of clients that are gone, and may
//! answer others before. So an empty result counts only some time after the first reply.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::openstack::service::Service;

/// Measured: 0.2 s; the rest is margin.
const SETTLES_IN: Duration = Duration::from_secs(5);

/// Since when, in steady time, each service has answered without interruption. It is empty when the process starts, because another
/// process may have sent requests before.
#[derive(Default)]
pub(super) struct ReplyHistory(Mutex<HashMap<Service, Duration>>);

impl ReplyHistory {
    pub(super) fn record_reply(&self, service: Service, now: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(service).or_insert(now);
    }

    pub(super) fn record_silence(&self, service: Service) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&service);
    }

    /// Whether an empty result of `service` proves absence.
    pub(super) fn is_settled(&self, service: Service, now: Duration) -> bool {
        let since = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&service).copied();
        since.is_some_and(|since| now.saturating_sub(since) >= SETTLES_IN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_proved_until_a_service_has_answered_for_a_while() {
        let (absence_proof, start) = (ReplyHistory::default(), Duration::from_secs(7));
        let after = |ms| start + Duration::from_millis(ms);
        assert!(!absence_proof.is_settled(Service::Volume, after(60_000)), "it never answered");
        absence_proof.record_reply(Service::Volume, start);
        absence_proof.record_reply(Service::Volume, after(3_000));
        assert!(!absence_proof.is_settled(Service::Volume, after(4_999)));
        assert!(absence_proof.is_settled(Service::Volume, after(5_000)));
        assert!(!absence_proof.is_settled(Service::Image, after(5_000)), "each for itself");
        absence_proof.record_silence(Service::Volume);
        absence_proof.record_reply(Service::Volume, after(6_000));
        assert!(!absence_proof.is_settled(Service::Volume, after(10_999)));
        assert!(absence_proof.is_settled(Service::Volume, after(11_000)));
    }
}
