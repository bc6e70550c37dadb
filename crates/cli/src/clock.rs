//! The system's clocks, passed to everything that needs the time.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use stateward_domain::time::{Clock, SteadyClock, Timestamp};

/// The system's clocks.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        let now = Timestamp(jiff::Timestamp::now().as_microsecond());
        Timestamp(now.0.saturating_add(set_by()))
    }
}

/// Offset of the wall clock in microseconds. In test builds the crash point `cli::clock::wall` names a file with seconds;
/// without it, and in other builds, the offset is 0.
fn set_by() -> i64 {
    fail::fail_point!("cli::clock::wall", |file| {
        let seconds = file.and_then(|file| std::fs::read_to_string(file).ok());
        let seconds = seconds.and_then(|text| text.trim().parse::<i64>().ok());
        seconds.unwrap_or_default().saturating_mul(1_000_000)
    });
    0
}

impl SteadyClock for SystemClock {
    /// `CLOCK_BOOTTIME` includes suspension, so the lease of a suspended worker expires.
    fn elapsed(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}
