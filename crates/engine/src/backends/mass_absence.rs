//! Mass-absence detection: when many known objects are absent at once, the backend is more likely another environment
//! than one in which all of them were deleted.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stateward_domain::backend::ParkCause;
use stateward_domain::time::Timestamp;

/// Counts recent observations of objects that were present before.
#[derive(Default)]
pub struct MassAbsenceDetector {
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    newest_last: VecDeque<(Timestamp, bool)>,
    absent: u64,
}

impl MassAbsenceDetector {
    /// Older observations do not count.
    pub const WINDOW: Duration = Duration::from_mins(5);
    /// So many absences are always tolerated.
    pub const TOLERATED: u64 = 5;
    /// Maximum observations kept; the oldest are dropped first.
    const OBSERVATIONS_MAX: usize = 100_000;

    /// Records one observation, at steady time `now`, of an object that was present before; returns the cause to park
    /// the backend for if there are too many absences.
    pub fn record(&self, now: Timestamp, absent: bool) -> Option<ParkCause> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, was_absent)) = window.newest_last.front().copied()
            && (now.since(at) > Self::WINDOW || window.newest_last.len() >= Self::OBSERVATIONS_MAX)
        {
            window.newest_last.pop_front();
            window.absent -= u64::from(was_absent);
        }
        window.newest_last.push_back((now, absent));
        window.absent += u64::from(absent);
        if !absent {
            return None;
        }
        let (absent, observed) = (window.absent, window.newest_last.len() as u64);
        let too_many = absent > Self::TOLERATED && absent * 5 > observed;
        too_many.then_some(ParkCause::MassAbsence { absent, observed })
    }

    /// Forgets all observations: a person confirmed the backend's contents.
    pub fn clear(&self) {
        *self.window.lock().unwrap_or_else(PoisonError::into_inner) = Window::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_may_always_be_gone_the_sixth_of_few_parks() {
        let detector = MassAbsenceDetector::default();
        for second in 0..5 {
            assert_eq!(detector.record(Timestamp(second), true), None);
        }
        let cause = detector.record(Timestamp(5), true);
        assert_eq!(cause, Some(ParkCause::MassAbsence { absent: 6, observed: 6 }));
    }

    #[test]
    fn a_fifth_of_many_may_be_gone() {
        let detector = MassAbsenceDetector::default();
        for second in 0..32 {
            assert_eq!(detector.record(Timestamp(second), false), None);
        }
        for second in 32..40 {
            assert_eq!(
                detector.record(Timestamp(second), true),
                None,
                "8 of 40 are no more than 20 %"
            );
        }
        assert!(detector.record(Timestamp(40), true).is_some());
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let detector = MassAbsenceDetector::default();
        for second in 0..5 {
            assert_eq!(detector.record(Timestamp(second), true), None);
        }
        let later = Timestamp(5).after(MassAbsenceDetector::WINDOW + Duration::from_secs(1));
        assert_eq!(detector.record(later, true), None);
    }
}
