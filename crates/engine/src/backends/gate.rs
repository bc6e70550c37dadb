//! Whether work on a backend may begin: parked, paused, resting, or its breaker is open.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use stateward_domain::backend::{Backend as Record, ParkCause, Pause};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{KindName, Version};
use stateward_domain::time::Timestamp;

/// How long a backend's work rests when this process ran out of something of its own.
const EXHAUSTED_REST: Duration = Duration::from_secs(3);

/// Why no round may begin.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// It has not yet answered who it is since this process began.
    Unidentified {
        /// What it answered instead; `None` = nobody asked yet.
        error: Option<Failure>,
    },
    /// A person has to look at it.
    Parked(ParkCause),
    /// It refuses our credentials or configuration; looked at again at every probe.
    Unusable(Failure),
    /// Every call failed; looked at again at every probe.
    BreakerOpen,
    /// It asked for a pause.
    Resting {
        /// Until when.
        until: Timestamp,
    },
}

impl Closed {
    /// Whether entities with work are told that they wait (rather than being late for a moment).
    #[must_use]
    pub const fn blocks(&self) -> bool {
        matches!(self, Self::Parked(_) | Self::Unusable(_))
    }

    /// Whether a probe may open the gate.
    #[must_use]
    pub const fn is_probed(&self) -> bool {
        matches!(self, Self::Unidentified { .. } | Self::Unusable(_) | Self::BreakerOpen)
    }
}

#[derive(Default)]
struct Inner {
    /// Of the record that was taken over.
    version: Version,
    identified: bool,
    identify_error: Option<Failure>,
    parked: Option<ParkCause>,
    paused: Option<Pause>,
    unusable: Option<Failure>,
    failures: u32,
    open: bool,
    resting: BTreeMap<String, Timestamp>,
}

/// The gate of one backend.
pub struct Gate {
    limit: u32,
    inner: Mutex<Inner>,
}

impl Gate {
    /// A gate whose breaker opens after `limit` failures in a row.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Why no round may begin now; `None` = one may.
    #[must_use]
    pub fn closed(&self, now: Timestamp) -> Option<Closed> {
        let inner = self.inner();
        if let Some(cause) = &inner.parked {
            return Some(Closed::Parked(cause.clone()));
        }
        if let Some(failure) = &inner.unusable {
            return Some(Closed::Unusable(failure.clone()));
        }
        if !inner.identified {
            return Some(Closed::Unidentified { error: inner.identify_error.clone() });
        }
        if inner.open {
            return Some(Closed::BreakerOpen);
        }
        let until = inner.resting.get("").copied().filter(|until| *until > now)?;
        Some(Closed::Resting { until })
    }

    /// Until when things of `kind` rest, if the backend asked for a pause of that scope alone.
    #[must_use]
    pub fn rests(&self, kind: &KindName, now: Timestamp) -> Option<Timestamp> {
        self.inner().resting.get(kind.as_str()).copied().filter(|until| *until > now)
    }

    /// Whether a person stopped changes.
    #[must_use]
    pub fn paused(&self, now: Timestamp) -> bool {
        self.inner().paused.is_some_and(|pause| pause.holds(now))
    }

    /// Takes over what the log says, unless it said something newer already.
    pub fn record(&self, record: &Record) {
        let mut inner = self.inner();
        if record.version < inner.version {
            return;
        }
        inner.version = record.version;
        inner.parked.clone_from(&record.parked);
        inner.paused = record.paused;
        for (scope, until) in &record.throttled {
            let end = inner.resting.entry(scope.clone()).or_default();
            *end = (*end).max(*until);
        }
    }

    /// The backend said who it is, and it is the one we know.
    pub fn identified(&self) {
        let mut inner = self.inner();
        inner.identified = true;
        inner.identify_error = None;
        inner.unusable = None;
    }

    /// The backend did not say who it is.
    pub fn unidentified(&self, failure: Failure) {
        self.inner().identify_error = Some(failure);
    }

    /// The backend answered: the breaker closes.
    pub fn succeeded(&self) {
        let mut inner = self.inner();
        inner.failures = 0;
        inner.open = false;
    }

    /// A probe found it well.
    pub fn recovered(&self) {
        self.succeeded();
        self.inner().unusable = None;
    }

    /// A call failed. A scope that is no kind of ours means the whole backend.
    pub fn failed(&self, failure: &Failure, kinds: &[KindName], now: Timestamp) {
        let mut inner = self.inner();
        match &failure.class {
            ErrorClass::Unauthorized | ErrorClass::Misconfigured => {
                inner.unusable = Some(failure.clone());
            }
            ErrorClass::RateLimited { scope, .. } => {
                let until = now.after(failure.retry_after().unwrap_or_default());
                inner.resting.retain(|_, end| *end > now);
                let end = inner.resting.entry(scope_of(scope, kinds)).or_default();
                *end = (*end).max(until);
            }
            // Whatever else this process begins fails alike, until calls that run give back what they hold.
            ErrorClass::Exhausted => {
                let end = inner.resting.entry(String::new()).or_default();
                *end = (*end).max(now.after(EXHAUSTED_REST));
            }
            ErrorClass::Transient | ErrorClass::Ambiguous if !failure.is_settling() => {
                inner.failures += 1;
                inner.open |= inner.failures >= self.limit;
            }
            // The backend answered, if only with a refusal.
            _ => inner.failures = 0,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The scope that rests: a kind's name, or everything.
#[must_use]
pub fn scope_of(scope: &str, kinds: &[KindName]) -> String {
    let known = kinds.iter().any(|kind| kind.as_str() == scope);
    if known { scope.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn transient() -> Failure {
        Failure::harmless(ErrorClass::Transient, "test", "test")
    }

    fn rate_limited(scope: &str) -> Failure {
        let class = ErrorClass::RateLimited { after_ms: 1_000, scope: scope.to_owned() };
        Failure::harmless(class, "test", "test")
    }

    #[test]
    fn nothing_begins_before_the_backend_said_who_it_is() {
        let gate = Gate::new(2);
        assert_eq!(gate.closed(NOW), Some(Closed::Unidentified { error: None }));
        gate.identified();
        assert_eq!(gate.closed(NOW), None);
    }

    #[test]
    fn an_older_record_does_not_take_back_what_a_newer_one_said() {
        let gate = Gate::new(2);
        let at = |version, paused: bool| Record {
            version: Version(version),
            paused: paused.then_some(Pause { until: None }),
            ..Record::default()
        };
        gate.record(&at(2, true));
        gate.record(&at(1, false));
        assert!(gate.paused(NOW));
        gate.record(&at(3, false));
        assert!(!gate.paused(NOW));
    }

    #[test]
    fn failures_in_a_row_open_the_breaker_and_one_success_closes_it() {
        let gate = Gate::new(2);
        gate.identified();
        gate.failed(&transient(), &[], NOW);
        gate.succeeded();
        gate.failed(&transient(), &[], NOW);
        assert_eq!(gate.closed(NOW), None);
        gate.failed(&transient(), &[], NOW);
        assert_eq!(gate.closed(NOW), Some(Closed::BreakerOpen));
        gate.recovered();
        assert_eq!(gate.closed(NOW), None);
    }

    #[test]
    fn a_search_that_has_to_wait_opens_no_breaker() {
        let gate = Gate::new(1);
        gate.identified();
        let class = ErrorClass::Transient;
        gate.failed(&Failure::harmless(class, Failure::SEARCH_SETTLING, "test"), &[], NOW);
        assert_eq!(gate.closed(NOW), None);
    }

    #[test]
    fn a_rate_limit_rests_its_scope_and_an_unknown_scope_is_everything() {
        let kinds = [KindName::from("fake.thing")];
        let gate = Gate::new(2);
        gate.identified();
        gate.failed(&rate_limited("fake.thing"), &kinds, NOW);
        assert_eq!(gate.closed(NOW), None);
        assert!(gate.rests(&kinds[0], NOW).is_some());
        gate.failed(&rate_limited("compute"), &kinds, NOW);
        assert!(matches!(gate.closed(NOW), Some(Closed::Resting { .. })));
        assert_eq!(gate.closed(Timestamp(2_000_000)), None);
    }

    /// What each class that a call can fail with says of the backend.
    #[test]
    fn only_what_is_about_the_backend_closes_it() {
        for (class, closes) in [
            (ErrorClass::Unauthorized, true),
            (ErrorClass::Misconfigured, true),
            (ErrorClass::Refused, false),
            (ErrorClass::Invalid, false),
            (ErrorClass::Immutable, false),
            (ErrorClass::QuotaExceeded, false),
            (ErrorClass::NotFound, false),
            (ErrorClass::Conflict, false),
            (ErrorClass::Bug, false),
            (ErrorClass::Cancelled, false),
        ] {
            let gate = Gate::new(1);
            gate.identified();
            gate.failed(&Failure::harmless(class.clone(), "t", "t"), &[], NOW);
            assert_eq!(gate.closed(NOW).is_some(), closes, "{class:?}");
        }
    }

    #[test]
    fn what_we_ran_out_of_rests_everything_for_a_moment_and_opens_no_breaker() {
        let gate = Gate::new(1);
        gate.identified();
        gate.failed(&Failure::harmless(ErrorClass::Exhausted, "t", "t"), &[], NOW);
        assert!(matches!(gate.closed(NOW), Some(Closed::Resting { .. })));
        assert_eq!(gate.closed(NOW.after(EXHAUSTED_REST)), None);
    }

    #[test]
    fn refused_credentials_close_it_until_a_probe_succeeds() {
        let gate = Gate::new(2);
        gate.identified();
        gate.failed(&Failure::harmless(ErrorClass::Unauthorized, "t", "t"), &[], NOW);
        assert!(gate.closed(NOW).is_some_and(|closed| closed.blocks() && closed.is_probed()));
        gate.recovered();
        assert_eq!(gate.closed(NOW), None);
    }
}
