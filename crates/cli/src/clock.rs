//! The system's clocks, handed to everything that needs the time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stateward_domain::time::{Clock, SteadyClock, Timestamp};

/// The system's clocks.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_microsecond())
    }
}

impl SteadyClock for SystemClock {
    /// `CLOCK_BOOTTIME` counts while the machine sleeps, so a lease ends for a worker that was asleep.
    fn elapsed(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}
