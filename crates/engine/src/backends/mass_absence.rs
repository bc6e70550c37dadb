//! Mass-absence detection: when many known objects are absent at once, the backend is more likely another environment
//! than one in which all of them were deleted.
//!
//! Invariant: an absence is acted on only after the counts of all members were compared that had reported theirs before,
//! so all of them together act on no more absences than one process would.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stateward_domain::backend::ParkCause;
use stateward_domain::id::Version;
use stateward_domain::ports::member_report::Observations;
use stateward_domain::time::Timestamp;

/// So many absences are always tolerated.
const TOLERATED: u64 = 5;
/// Observations for each absence that is tolerated beyond these.
const OBSERVED_PER_ABSENCE: u64 = 5;

/// What follows from the counts of all members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MassAbsence {
    /// The absence may be acted on.
    Tolerated,
    /// There are too many: the backend is parked for this cause.
    Parks(ParkCause),
    /// A member knows of a later confirmation than the observation: it has to be repeated.
    Outdated,
}

impl MassAbsence {
    /// Compares the counts of all members, this process among them. `known`: the newest confirmation that was known when
    /// the absence was observed; what was observed under an earlier one does not count.
    #[must_use]
    pub fn of(known: Version, members: impl IntoIterator<Item = Observations>) -> Self {
        let (mut absent, mut observed) = (0_u64, 0_u64);
        for counted in members {
            if counted.confirmed > known {
                return Self::Outdated;
            }
            if counted.confirmed == known {
                absent = absent.saturating_add(counted.absent);
                observed = observed.saturating_add(counted.observed);
            }
        }
        if absent > TOLERATED && absent > observed / OBSERVED_PER_ABSENCE {
            Self::Parks(ParkCause::MassAbsence { absent, observed })
        } else {
            Self::Tolerated
        }
    }
}

/// Counts this process's recent observations of objects that were present before.
#[derive(Default)]
pub struct MassAbsenceDetector {
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    /// The newest known confirmation by a person: what was observed under an earlier one is forgotten.
    confirmed: Version,
    newest_last: VecDeque<(Timestamp, bool)>,
    absent: u64,
}

impl Window {
    /// Forgets what is older than the window, and all but the newest `most`.
    fn expire(&mut self, now: Timestamp, most: usize) {
        while let Some((at, was_absent)) = self.newest_last.front().copied()
            && (now.since(at) > MassAbsenceDetector::WINDOW || self.newest_last.len() > most)
        {
            self.newest_last.pop_front();
            self.absent -= u64::from(was_absent);
        }
    }

    fn confirm(&mut self, confirmed: Version) {
        if confirmed > self.confirmed {
            *self = Self { confirmed, ..Self::default() };
        }
    }
}

impl MassAbsenceDetector {
    /// Older observations do not count.
    pub const WINDOW: Duration = Duration::from_mins(5);
    /// Maximum observations kept; the oldest are dropped first.
    const OBSERVATIONS_MAX: usize = 100_000;

    /// Records one observation, at steady time `now`, of an object that was present before. `known`: the newest
    /// confirmation that was known when it began; not counted if a later one is known by now.
    pub fn record(&self, now: Timestamp, absent: bool, known: Version) {
        let mut window = self.window();
        window.confirm(known);
        if known == window.confirmed {
            window.expire(now, Self::OBSERVATIONS_MAX - 1);
            window.newest_last.push_back((now, absent));
            window.absent += u64::from(absent);
        }
    }

    /// Takes back an absence that was recorded at `at` and is not acted on: it is going to be observed again.
    pub fn retract(&self, at: Timestamp) {
        let mut window = self.window();
        if let Some(place) = window.newest_last.iter().rposition(|entry| *entry == (at, true)) {
            window.newest_last.remove(place);
            window.absent -= 1;
        }
    }

    /// What is counted at steady time `now`.
    pub fn counted(&self, now: Timestamp) -> Observations {
        let mut window = self.window();
        window.expire(now, Self::OBSERVATIONS_MAX);
        Observations {
            confirmed: window.confirmed,
            observed: window.newest_last.len() as u64,
            absent: window.absent,
        }
    }

    /// A person confirmed the backend's contents: forgets all observations under an earlier confirmation. Idempotent.
    pub fn confirm(&self, confirmed: Version) {
        self.window().confirm(confirmed);
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(confirmed: u64, observed: u64, absent: u64) -> Observations {
        Observations { confirmed: Version(confirmed), observed, absent }
    }

    #[test]
    fn what_all_members_found_absent_together_parks_the_backend() {
        let parks =
            |absent, observed| MassAbsence::Parks(ParkCause::MassAbsence { absent, observed });
        for (members, expected) in [
            (vec![counts(0, 5, 5)], MassAbsence::Tolerated),
            (vec![counts(0, 6, 6)], parks(6, 6)),
            (vec![counts(0, 40, 8)], MassAbsence::Tolerated),
            (vec![counts(0, 41, 9)], parks(9, 41)),
            // Each below what is tolerated, and together above.
            (vec![counts(0, 5, 5), counts(0, 0, 0), counts(0, 1, 1)], parks(6, 6)),
            (vec![counts(0, 4, 4), counts(0, 4, 4)], parks(8, 8)),
            (vec![counts(0, 4, 4), counts(0, 36, 4)], MassAbsence::Tolerated),
            // Of a time before the confirmation.
            (vec![counts(7, 5, 5), counts(6, 5, 5), counts(7, 0, 0)], MassAbsence::Tolerated),
            (vec![counts(7, 5, 5), counts(8, 0, 0)], MassAbsence::Outdated),
            (vec![counts(7, u64::MAX, u64::MAX), counts(7, 9, 9)], parks(u64::MAX, u64::MAX)),
        ] {
            let known = members[0].confirmed;
            let reversed = members.iter().rev().copied();
            assert_eq!(MassAbsence::of(known, reversed), expected, "{members:?}");
            assert_eq!(MassAbsence::of(known, members.iter().copied()), expected, "{members:?}");
        }
    }

    #[test]
    fn the_window_holds_what_is_recent_and_observed_under_the_newest_confirmation() {
        let detector = MassAbsenceDetector::default();
        for second in 0..5 {
            detector.record(Timestamp(second), second != 2, Version(0));
        }
        assert_eq!(detector.counted(Timestamp(5)), counts(0, 5, 4));
        detector.retract(Timestamp(3));
        for at in [Timestamp(2), Timestamp(3), Timestamp(9)] {
            detector.retract(at);
        }
        assert_eq!(detector.counted(Timestamp(5)), counts(0, 4, 3));
        let later = Timestamp(0).after(MassAbsenceDetector::WINDOW + Duration::from_micros(2));
        assert_eq!(detector.counted(later), counts(0, 2, 1), "older ones do not count");
        detector.record(later, true, Version(3));
        assert_eq!(
            detector.counted(later),
            counts(3, 1, 1),
            "the confirmation covers those before"
        );
        detector.record(later, true, Version(2));
        detector.confirm(Version(2));
        detector.confirm(Version(3));
        assert_eq!(detector.counted(later), counts(3, 1, 1), "begun before the confirmation");
        detector.confirm(Version(4));
        assert_eq!(detector.counted(later), counts(4, 0, 0));
    }
}
