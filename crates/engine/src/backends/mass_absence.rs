//! Mass absence: when too much of what was there is gone at once, it is more likely that we look at another
//! world than that somebody deleted it all.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stateward_domain::backend::ParkCause;
use stateward_domain::time::Timestamp;

/// The last minutes' observations of objects that were there before.
#[derive(Default)]
pub struct AbsenceWatch {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    newest_last: VecDeque<(Timestamp, bool)>,
    absent: u64,
}

impl AbsenceWatch {
    /// Observations older than this do not count.
    pub const WINDOW: Duration = Duration::from_mins(5);
    /// So many may always be gone.
    pub const ALWAYS_FINE: u64 = 5;
    /// Observations remembered at most; the oldest go first.
    const REMEMBERED: usize = 100_000;

    /// Notes one observation, at `now` of steady time, of an object that was there before; the cause to park for, if it
    /// was one too many.
    pub fn note(&self, now: Timestamp, absent: bool) -> Option<ParkCause> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((at, was_absent)) = seen.newest_last.front().copied()
            && (now.since(at) > Self::WINDOW || seen.newest_last.len() >= Self::REMEMBERED)
        {
            seen.newest_last.pop_front();
            seen.absent -= u64::from(was_absent);
        }
        seen.newest_last.push_back((now, absent));
        seen.absent += u64::from(absent);
        if !absent {
            return None;
        }
        let (absent, observed) = (seen.absent, seen.newest_last.len() as u64);
        let too_many = absent > Self::ALWAYS_FINE && absent * 5 > observed;
        too_many.then_some(ParkCause::MassAbsence { absent, observed })
    }

    /// Forgets everything: a person confirmed that what is there is right.
    pub fn clear(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Seen::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_may_always_be_gone_the_sixth_of_few_parks() {
        let watch = AbsenceWatch::default();
        for second in 0..5 {
            assert_eq!(watch.note(Timestamp(second), true), None);
        }
        let cause = watch.note(Timestamp(5), true);
        assert_eq!(cause, Some(ParkCause::MassAbsence { absent: 6, observed: 6 }));
    }

    #[test]
    fn a_fifth_of_many_may_be_gone() {
        let watch = AbsenceWatch::default();
        for second in 0..32 {
            assert_eq!(watch.note(Timestamp(second), false), None);
        }
        for second in 32..40 {
            assert_eq!(watch.note(Timestamp(second), true), None, "8 of 40 are no more than 20 %");
        }
        assert!(watch.note(Timestamp(40), true).is_some());
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let watch = AbsenceWatch::default();
        for second in 0..5 {
            assert_eq!(watch.note(Timestamp(second), true), None);
        }
        let later = Timestamp(5).after(AbsenceWatch::WINDOW + Duration::from_secs(1));
        assert_eq!(watch.note(later, true), None);
    }
}
