//! A clock for tests and simulation.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::{Clock, SteadyClock, Timestamp};

/// A wall clock and a steady clock that move only on request.
pub struct ManualClock {
    /// In microseconds since the epoch.
    wall: AtomicI64,
    /// In microseconds.
    steady: AtomicU64,
}

impl ManualClock {
    /// A wall clock that shows the 1,000th second after the epoch.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { wall: AtomicI64::new(1_000_000_000), steady: AtomicU64::new(0) })
    }

    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        self.set_forward(by);
        self.steady.fetch_add(by.as_micros().try_into().unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock back; the steady clock does not move.
    pub fn set_back(&self, by: Duration) {
        self.wall.fetch_sub(by.as_micros().try_into().unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock forward; the steady clock does not move.
    pub fn set_forward(&self, by: Duration) {
        self.wall.fetch_add(by.as_micros().try_into().unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::SeqCst))
    }
}

impl SteadyClock for ManualClock {
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.steady.load(Ordering::SeqCst))
    }
}
