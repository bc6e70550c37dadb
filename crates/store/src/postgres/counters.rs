//! What a process did since its start, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use stateward_domain::ports::health::StoreCounters;

/// Counts of one process.
#[derive(Default)]
pub(super) struct Counters {
    batches: AtomicU64,
    batch_events: AtomicU64,
    failovers: AtomicU64,
}

impl Counters {
    /// A batch of so many events was committed.
    pub(super) fn committed(&self, events: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batch_events.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// The primary is on timeline `now`, after `before`; 0 = there was none before.
    pub(super) fn moved(&self, before: i64, now: i64) {
        self.failovers.fetch_add(u64::from(before != 0 && before != now), Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> StoreCounters {
        StoreCounters {
            batches: self.batches.load(Ordering::Relaxed),
            batch_events: self.batch_events.load(Ordering::Relaxed),
            failovers: self.failovers.load(Ordering::Relaxed),
        }
    }
}
