//! Which observations count for mass-absence detection: all except an entity's first one after a person confirmed the
//! backend's contents.

use std::sync::{Mutex, MutexGuard, PoisonError};

use stateward_domain::id::Version;

/// The confirmation that the entity's observations are compared with.
pub(crate) struct ObservationBaseline {
    /// The newest confirmation before the last observation, as stored in the queue.
    stored: Version,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// The newest confirmation before the last observation.
    under: Version,
    /// Whether the last observation was the entity's first one after that confirmation.
    first: bool,
    /// The newest confirmation that this process knew when the last observation began.
    known: Version,
}

impl ObservationBaseline {
    pub(crate) const fn new(stored: Version) -> Self {
        let state = State { under: stored, first: false, known: Version(0) };
        Self { stored, state: Mutex::new(state) }
    }

    /// Records an observation that found the object or proved its absence; when it began, `confirmation` was the newest
    /// one for which first observations are known, and `known` the newest one at all.
    pub(crate) fn record(&self, confirmation: Option<Version>, known: Version) {
        let mut state = self.state();
        state.known = known;
        let newest = confirmation.unwrap_or_default();
        state.first = newest > state.under;
        state.under = state.under.max(newest);
    }

    /// Whether the last observation shows a change since the confirmation.
    pub(crate) fn counts(&self) -> bool {
        !self.state().first
    }

    /// The newest confirmation that this process knew when the last observation began; 0 = none.
    pub(crate) fn known(&self) -> Version {
        self.state().known
    }

    /// The confirmation to store; `None` = it is stored already.
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
        baseline.record(None, Version(0));
        assert!(baseline.counts(), "there is no confirmation");
        baseline.record(Some(Version(3)), Version(3));
        assert!(baseline.counts(), "it was observed since");
        assert_eq!(baseline.unsaved(), None);
        baseline.record(Some(Version(5)), Version(5));
        assert!(!baseline.counts());
        assert_eq!(baseline.unsaved(), Some(Version(5)));
        baseline.record(Some(Version(5)), Version(5));
        assert!(baseline.counts());
        assert_eq!(baseline.unsaved(), Some(Version(5)), "it is still to be stored");
    }
}
