//! Which observations count when much is gone at once: all but an entity's first one after a person confirmed what is there
//! and what is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use stateward_domain::id::Version;

/// What a round knows of the observations of its entity.
pub(crate) struct ObservationBaseline {
    /// The newest confirmation before the last observation that is stored.
    stored: Version,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// The newest confirmation before the last observation.
    under: Version,
    /// Whether the last observation was the first one after that confirmation.
    first: bool,
}

impl ObservationBaseline {
    pub(crate) const fn new(stored: Version) -> Self {
        Self { stored, state: Mutex::new(State { under: stored, first: false }) }
    }

    /// The object was found, or its absence proved, by a look that began when `confirmation` was the newest one.
    pub(crate) fn record(&self, confirmation: Option<Version>) {
        let mut state = self.state();
        let newest = confirmation.unwrap_or_default();
        state.first = newest > state.under;
        state.under = state.under.max(newest);
    }

    /// Whether the last observation tells of a change since somebody confirmed what is there.
    pub(crate) fn counts(&self) -> bool {
        !self.state().first
    }

    /// What is to be stored, if it is not yet.
    pub(crate) fn unsaved(&self) -> Option<Version> {
        Some(self.state().under).filter(|under| *under > self.stored)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_after_a_confirmation_does_not_count_and_the_next_does() {
        let baseline = ObservationBaseline::new(Version(3));
        baseline.record(None);
        assert!(baseline.counts(), "there is no confirmation");
        baseline.record(Some(Version(3)));
        assert!(baseline.counts(), "it was observed since");
        assert_eq!(baseline.unsaved(), None);
        baseline.record(Some(Version(5)));
        assert!(!baseline.counts());
        assert_eq!(baseline.unsaved(), Some(Version(5)));
        baseline.record(Some(Version(5)));
        assert!(baseline.counts());
        assert_eq!(baseline.unsaved(), Some(Version(5)), "it is still to be stored");
    }
}
