//! What of earlier requests may still change what a search finds.
//!
//! The engine waits until a creation whose reply was lost cannot run any more (`KindSpec::settle`). Here is what it cannot
//! see: services that hung, and requests that create a part of an object.
//!
//! A service that hung carries out its queued requests once it wakes, however late, also those of clients that are gone,
//! and may answer others before. So an empty result counts only some time after the first reply.

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

/// When the reply to a change was last lost, by service, in steady time.
pub(super) struct LostChanges {
    /// When this process began: an earlier one may have lost a reply right before.
    began: Duration,
    lost: Mutex<HashMap<Service, Duration>>,
}

impl LostChanges {
    pub(super) fn since(began: Duration) -> Self {
        Self { began, lost: Mutex::default() }
    }

    pub(super) fn record(&self, service: Service, now: Duration) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(service, now);
    }

    /// Whether a change whose reply was lost may still run in `service`, which ends each request in `timeout`.
    pub(super) fn may_run(&self, service: Service, timeout: Duration, now: Duration) -> bool {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).get(&service).copied();
        now.saturating_sub(lost.unwrap_or(self.began)) < timeout
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

    #[test]
    fn a_lost_change_may_run_for_the_time_out_of_its_service() {
        let (start, timeout) = (Duration::from_secs(7), Duration::from_mins(1));
        let after = |seconds| start + Duration::from_secs(seconds);
        let lost = LostChanges::since(start);
        assert!(lost.may_run(Service::Volume, timeout, after(59)), "of the process before");
        assert!(!lost.may_run(Service::Volume, timeout, after(60)));
        lost.record(Service::Volume, after(70));
        assert!(lost.may_run(Service::Volume, timeout, after(129)));
        assert!(!lost.may_run(Service::Volume, timeout, after(130)));
        assert!(!lost.may_run(Service::Compute, timeout, after(75)), "each for itself");
    }
}
