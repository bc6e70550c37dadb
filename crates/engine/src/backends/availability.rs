//! Whether a backend is available for work: not parked, paused or throttled, and its circuit breaker is closed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use stateward_domain::backend::{Backend as Record, ParkCause, Pause};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{KindName, Version};
use stateward_domain::ports::member_report::Calls;
use stateward_domain::time::{Moment, Timestamp};

use super::breaker::Breaker;

/// Pause of a backend after this process ran out of a resource of its own.
const EXHAUSTED_PAUSE: Duration = Duration::from_secs(3);

/// Why no round may start.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unavailable {
    /// Its identity has not been confirmed since this process started.
    Unidentified {
        /// The failure of the last attempt to identify it; `None` = not tried yet.
        error: Option<Failure>,
    },
    /// A person has to confirm its identity and contents.
    Parked(ParkCause),
    /// It refuses our credentials or configuration; every health check tries again.
    Unusable(Failure),
    /// Too many calls in a row failed (circuit breaker); every health check tries again.
    BreakerOpen,
    /// It asked for a pause (rate limit).
    #[serde(rename = "resting")]
    Throttled {
        /// End of the pause by the wall clock, for display. Its length is [`Availability::throttled_for`].
        until: Timestamp,
    },
}

impl Unavailable {
    /// Whether entities with work are marked as blocked; otherwise their work is only late for a moment.
    #[must_use]
    pub const fn blocks(&self) -> bool {
        let unanswered = matches!(self, Self::Unidentified { error: Some(_) });
        unanswered || matches!(self, Self::Parked(_) | Self::Unusable(_))
    }

    /// Whether a successful health check ends this.
    #[must_use]
    pub const fn ends_by_health_check(&self) -> bool {
        matches!(self, Self::Unidentified { .. } | Self::Unusable(_) | Self::BreakerOpen)
    }
}

struct Inner {
    /// Version of the record that was applied last.
    version: Version,
    identified: bool,
    identify_error: Option<Failure>,
    parked: Option<ParkCause>,
    paused: Option<Pause>,
    unusable: Option<Failure>,
    breaker: Breaker,
    /// End of each pause that the backend asked for, by scope, in steady time.
    throttled: BTreeMap<String, Timestamp>,
    /// The newest confirmation by a person, as a version of the backend's stream.
    confirmed: Version,
    /// The version from which on the queue has stored which entities were observed after a confirmation; `None` = not
    /// loaded yet.
    observed_since: Option<Version>,
}

impl Inner {
    const fn new(failures_max: u32) -> Self {
        Self {
            version: Version(0),
            identified: false,
            identify_error: None,
            parked: None,
            paused: None,
            unusable: None,
            breaker: Breaker::new(failures_max),
            throttled: BTreeMap::new(),
            confirmed: Version(0),
            observed_since: None,
        }
    }

    fn throttled_for(&self, scope: &str, now: Moment) -> Option<Duration> {
        let left = self.throttled.get(scope)?.since(now.steady);
        Some(left).filter(|left| !left.is_zero())
    }

    /// A pause that ends earlier than the known one changes nothing.
    fn throttle(&mut self, scope: &str, pause: Duration, now: Moment) {
        let end = self.throttled.entry(scope.to_owned()).or_default();
        *end = (*end).max(now.steady.after(pause));
    }
}

/// Availability of one backend: circuit breaker, rate-limit pauses, parking and pausing.
pub struct Availability {
    inner: Mutex<Inner>,
}

impl Availability {
    /// Not identified yet; the breaker opens after `limit` failures in a row, of all members together.
    #[must_use]
    pub const fn new(limit: u32) -> Self {
        Self { inner: Mutex::new(Inner::new(limit)) }
    }

    /// Why no round may start now; `None` = rounds may start.
    #[must_use]
    pub fn unavailable(&self, now: Moment) -> Option<Unavailable> {
        let inner = self.inner();
        if let Some(cause) = &inner.parked {
            return Some(Unavailable::Parked(cause.clone()));
        }
        if let Some(failure) = &inner.unusable {
            return Some(Unavailable::Unusable(failure.clone()));
        }
        if !inner.identified {
            return Some(Unavailable::Unidentified { error: inner.identify_error.clone() });
        }
        if inner.breaker.is_open() {
            return Some(Unavailable::BreakerOpen);
        }
        let left = inner.throttled_for("", now)?;
        Some(Unavailable::Throttled { until: now.wall.after(left) })
    }

    /// How long the whole backend is still throttled; `None` = it is not.
    #[must_use]
    pub fn throttled_for(&self, now: Moment) -> Option<Duration> {
        self.inner().throttled_for("", now)
    }

    /// How long calls for `kind` are still throttled by a pause of that scope; `None` = they are not.
    #[must_use]
    pub fn kind_throttled_for(&self, kind: &KindName, now: Moment) -> Option<Duration> {
        self.inner().throttled_for(kind.as_str(), now)
    }

    /// Whether a person paused changes. The end that they set is compared with the wall clock.
    #[must_use]
    pub fn paused(&self, now: Moment) -> bool {
        self.inner().paused.as_ref().is_some_and(|pause| pause.holds(now.wall))
    }

    /// The pause by which a person stopped changes; `None` = none is in force.
    #[must_use]
    pub fn pause(&self, now: Moment) -> Option<Pause> {
        self.inner().paused.clone().filter(|pause| pause.holds(now.wall))
    }

    /// The newest confirmation for which every entity's first observation after it is known; `None` = there is none.
    #[must_use]
    pub fn confirmation(&self) -> Option<Version> {
        let inner = self.inner();
        inner.observed_since.filter(|since| inner.confirmed > *since).map(|_| inner.confirmed)
    }

    /// The newest confirmation that is known here; 0 = none.
    #[must_use]
    pub fn confirmed(&self) -> Version {
        self.inner().confirmed
    }

    /// Sets the version of the backend's stream from which on observed entities are known.
    pub fn set_observed_since(&self, since: Version) {
        self.inner().observed_since = Some(since);
    }

    /// Applies the backend's record from the log; an older record than the applied one is ignored.
    pub fn apply_record(&self, record: &Record, now: Moment) {
        let mut inner = self.inner();
        if record.version < inner.version {
            return;
        }
        inner.version = record.version;
        inner.parked.clone_from(&record.parked);
        inner.paused.clone_from(&record.paused);
        inner.confirmed = record.confirmed;
        for (scope, until) in &record.throttled {
            inner.throttle(scope, now.until(*until), now);
        }
    }

    /// The backend's identity is the recorded one.
    pub fn record_identified(&self) {
        let mut inner = self.inner();
        inner.identified = true;
        inner.identify_error = None;
        inner.unusable = None;
    }

    /// The backend did not answer with its identity.
    pub fn record_unidentified(&self, failure: Failure) {
        self.inner().identify_error = Some(failure);
    }

    /// A call succeeded: the breaker closes.
    pub fn record_success(&self, now: Moment) {
        self.inner().breaker.succeed(now.steady);
    }

    /// A health check succeeded.
    pub fn record_recovery(&self, now: Moment) {
        self.record_success(now);
        self.inner().unusable = None;
    }

    /// Whether the backend said who it is, and accepts the credentials that this process has.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        let inner = self.inner();
        inner.identified && inner.unusable.is_none()
    }

    /// How this process's calls went, for the other members.
    #[must_use]
    pub fn calls(&self, now: Moment) -> Calls {
        self.inner().breaker.calls(now.steady)
    }

    /// How the calls of the other members went: the breaker opens if too many failed in a row, and one of this process.
    pub fn compare_calls(&self, others: impl IntoIterator<Item = Calls>) {
        self.inner().breaker.compare(others);
    }

    /// A call failed. A rate-limit scope that is not one of `kinds` is the whole backend.
    pub fn record_failure(&self, failure: &Failure, kinds: &[KindName], now: Moment) {
        let mut inner = self.inner();
        match &failure.class {
            ErrorClass::Unauthorized | ErrorClass::Misconfigured => {
                inner.unusable = Some(failure.clone());
            }
            ErrorClass::RateLimited { scope, .. } => {
                let pause = failure.retry_after().unwrap_or_default();
                inner.throttled.retain(|_, end| *end > now.steady);
                inner.throttle(&scope_of(scope, kinds), pause, now);
            }
            // New work of this process would fail alike, until running calls free what they hold.
            ErrorClass::Exhausted => inner.throttle("", EXHAUSTED_PAUSE, now),
            ErrorClass::Transient | ErrorClass::Ambiguous if !failure.is_settling() => {
                inner.breaker.fail();
            }
            // The backend answered, even if it refused.
            _ => inner.breaker.answer(now.steady),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The scope of a pause: a kind's name, or empty for the whole backend.
#[must_use]
pub fn scope_of(scope: &str, kinds: &[KindName]) -> String {
    let known = kinds.iter().any(|kind| kind.as_str() == scope);
    if known { scope.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests;
