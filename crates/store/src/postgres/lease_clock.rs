//! The clock of leases, duties and heartbeats, which is the database's, and its comparison with a steady one: a new
//! primary has another machine's clock, and clocks are set.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use stateward_domain::time::LogClock;

/// What leases, duties and heartbeats are measured by. Invariant: all processes of a database use the same clock.
#[derive(Clone)]
pub enum LeaseClock {
    /// The database's.
    Database,
    /// Steady time of this clock, for a test that sets it.
    Given(LogClock),
    /// As `Given`, for a test of a clock that steps: so many microseconds ahead of steady time.
    Stepped(LogClock, Arc<AtomicI64>),
}

impl LeaseClock {
    /// The time to use; `None` = the database's.
    pub(super) fn now(&self) -> Option<i64> {
        match self {
            Self::Database => None,
            Self::Given(clock) => Some(clock.moment().steady.0),
            Self::Stepped(clock, ahead) => {
                Some(clock.moment().steady.0 + ahead.load(Ordering::SeqCst))
            }
        }
    }
}

/// Predicts the clock of leases from steady time, once it was seen. All times are in microseconds.
#[derive(Default)]
pub(super) struct ClockPrediction {
    /// The clock of leases, and steady time when it was seen.
    last: Mutex<Option<(i64, i64)>>,
}

impl ClockPrediction {
    /// What the clock shows at `steady`; `None` = it was not seen yet.
    pub(super) fn at(&self, steady: i64) -> Option<i64> {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.map(|(seen, at)| seen.saturating_add(steady.saturating_sub(at)))
    }

    /// The clock showed `seen` no later than at `steady`.
    pub(super) fn observe(&self, seen: i64, steady: i64) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((seen, steady));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_predicted_by_the_time_that_passed() {
        let prediction = ClockPrediction::default();
        assert_eq!(prediction.at(5), None);
        prediction.observe(1_000, 5);
        assert_eq!((prediction.at(5), prediction.at(25)), (Some(1_000), Some(1_020)));
        prediction.observe(3_000, 30);
        assert_eq!(prediction.at(40), Some(3_010));
    }
}
