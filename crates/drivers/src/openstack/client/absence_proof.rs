//! What of earlier requests may still change what a search finds.
//!
//! The engine waits until a creation whose reply was lost cannot run any more (`KindSpec::settle`). Here is what it cannot
//! see: requests that create a part of an object. Services that hung are `http::reply_history`'s.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::openstack::service::Service;

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
