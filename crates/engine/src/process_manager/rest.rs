//! How a round ends.

use std::sync::PoisonError;
use std::time::Duration;

use stateward_domain::id::{Position, Version};
use stateward_domain::ports::sync_queue::LeaseReason;

use crate::process_manager::round::Round;

/// How a round ends: when to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Leave the row alone for so long, unless it changes.
    pub(crate) snooze: Option<Duration>,
    /// Next look.
    pub(crate) drift_in: Option<Duration>,
    /// Newest event of the entity that was taken into account.
    pub(crate) seen: Position,
    /// The confirmation after which it was observed; `None` = as was known.
    pub(crate) observed_under: Option<Version>,
}

impl Rest {
    /// Comes back at once, having seen everything up to `seen`.
    pub(crate) const fn of(seen: Position) -> Self {
        Self { snooze: None, drift_in: None, seen, observed_under: None }
    }
}

impl Round<'_> {
    /// Comes back after `pause`; also to the check that this was, whose timer would be due at once otherwise.
    pub(super) fn pause(&self, pause: Duration) -> Rest {
        let check = self.held.reason == LeaseReason::Drift;
        self.rest(Some(pause), check.then_some(pause))
    }

    pub(super) fn rest(&self, snooze: Option<Duration>, drift_in: Option<Duration>) -> Rest {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let observed_under = self.observed.news();
        Rest { snooze, drift_in, observed_under, ..Rest::of(seen.max(self.held.seen)) }
    }
}
