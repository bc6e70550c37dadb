//! How far the clocks of this machine and of the database are apart.
//!
//! Leases do not depend on it (see [`lease_clock`](super::lease_clock)); recorded times and what a person reads in them do.

use std::time::Duration;

use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::{LogClock, Timestamp};

use super::connect::Database;

/// A difference that is reported.
const REPORTED: Duration = Duration::from_secs(1);
/// A difference with which a process does not start.
const REFUSED: Duration = Duration::from_mins(1);
/// Readings, the quickest of which counts.
const READINGS: usize = 5;

/// The database's clock, and this machine's before and after it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) before: Timestamp,
    pub(super) database: Timestamp,
    pub(super) after: Timestamp,
}

impl Reading {
    /// How far this machine's clock is certainly ahead of the database's.
    fn ahead(self) -> Duration {
        self.before.since(self.database)
    }

    /// How far this machine's clock is certainly behind the database's.
    fn behind(self) -> Duration {
        self.database.since(self.after)
    }

    fn round_trip(self) -> Duration {
        self.after.since(self.before)
    }

    /// What is certain of a difference of at least `limit`, in words.
    fn differs_by(self, limit: Duration) -> Option<String> {
        let (by, side) = match (self.ahead(), self.behind()) {
            (by, _) if by >= limit => (by, "ahead of"),
            (_, by) if by >= limit => (by, "behind"),
            _ => return None,
        };
        Some(format!("the clock of this machine is {} s {side} the database's", by.as_secs()))
    }

    /// What is reported of the difference; `None` = the clocks are close enough.
    pub(super) fn report(self) -> Option<String> {
        self.differs_by(REPORTED)
    }

    /// Why a process with this clock does not start; `None` = it may.
    pub(super) fn refusal(self) -> Option<String> {
        self.differs_by(REFUSED)
    }
}

/// Compares the clocks in a few round trips.
///
/// # Errors
/// [`StoreError`].
pub(super) async fn read(database: &Database, clock: &LogClock) -> Result<Reading, StoreError> {
    let mut quickest: Option<Reading> = None;
    for _ in 0..READINGS {
        let before = clock.moment().wall;
        let now = sqlx::query_as("SELECT stateward_views.clock_or(NULL)");
        let (now,): (i64,) = database.fetch_one(now).await?;
        let reading = Reading { before, database: Timestamp(now), after: clock.moment().wall };
        if quickest.is_none_or(|quickest| reading.round_trip() < quickest.round_trip()) {
            quickest = Some(reading);
        }
    }
    quickest.ok_or_else(|| StoreError::unavailable("the clocks were not compared"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_round_trip_explains_is_a_difference() {
        let ms = |ms: i64| Timestamp(100_000_000 + ms * 1_000);
        for (before, database, after, reported, refused) in [
            (0, 5, 10, None, false),
            (0, 999, 0, None, false),
            (0, 1_000, 0, Some("1 s behind"), false),
            (0, 1_000, 500, None, false),
            (0, 1_500, 500, Some("1 s behind"), false),
            (3_000, 0, 3_900, Some("3 s ahead of"), false),
            (0, 59_999, 0, Some("59 s behind"), false),
            (0, 60_000, 0, Some("60 s behind"), true),
            (60_000, 0, 70_000, Some("60 s ahead of"), true),
        ] {
            let (before, database, after) = (ms(before), ms(database), ms(after));
            let reading = Reading { before, database, after };
            let line = reading.report();
            let same = match reported {
                None => line.is_none(),
                Some(part) => line.as_ref().is_some_and(|line| line.contains(part)),
            };
            assert!(same, "{reading:?}: {line:?}");
            assert_eq!(reading.refusal().is_some(), refused, "{reading:?}");
        }
    }
}
