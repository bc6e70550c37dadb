//! Log time and steady time: what events are recorded at, and what waits are measured by, independent of wall clock
//! steps.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Clock, SteadyClock, Timestamp};

/// Smaller steps of the wall clock are slewing, or the time between two readings.
const STEP_MIN: Duration = Duration::from_millis(1);
/// Forward steps that are remembered, at most; the oldest are dropped.
const STEPS_MAX: usize = 64;

/// One reading of all times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock: what people mean by the times that they give. It may run back.
    pub wall: Timestamp,
    /// Log time, which events are recorded at: the latest of the wall clock and the newest known time, advanced by
    /// the steady clock. It never runs back.
    pub log: Timestamp,
    /// Steady time, which waits and leases are measured by: log time at the start, advanced by the steady clock
    /// alone. It neither runs back nor jumps, and is never ahead of log time.
    pub steady: Timestamp,
}

impl Moment {
    /// How far the wall clock is behind log time: it was set back, or had been ahead.
    #[must_use]
    pub fn skew(&self) -> Duration {
        self.log.since(self.wall)
    }

    /// The rest of a wait that ends at `due`, an instant of log time. Zero when it is over.
    ///
    /// No instant in the log is later than log time when it is recorded, so this never exceeds the length of the
    /// wait, whichever clock recorded it.
    #[must_use]
    pub fn until(&self, due: Timestamp) -> Duration {
        due.since(self.log)
    }

    /// The end, in steady time, of a wait that ends at `due`, an instant of log time, when it starts now; never later
    /// than `due`.
    #[must_use]
    pub fn steady_of(&self, due: Timestamp) -> Timestamp {
        if due == Timestamp::NEVER {
            return due;
        }
        Timestamp(due.0.saturating_sub(self.log.0.saturating_sub(self.steady.0)))
    }
}

/// The clock of one process and its log. Clones share it.
#[derive(Clone)]
pub struct LogClock(Arc<Inner>);

struct Inner {
    wall: Arc<dyn Clock>,
    steady: Arc<dyn SteadyClock>,
    timelines: Mutex<Timelines>,
}

impl LogClock {
    /// Both times start at the wall clock's.
    #[must_use]
    pub fn new(wall: Arc<dyn Clock>, steady: Arc<dyn SteadyClock>) -> Self {
        let timelines = Mutex::new(Timelines::at(wall.now(), steady.elapsed()));
        Self(Arc::new(Inner { wall, steady, timelines }))
    }

    /// Reads all times.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.read(&mut self.timelines())
    }

    /// Moves both times forward to `newest`, the newest time in the opened log. Called before any wait is measured.
    pub fn begin_at(&self, newest: Timestamp) {
        let mut timelines = self.timelines();
        let gap = newest.since(self.read(&mut timelines).log);
        timelines.log = timelines.log.after(gap);
        timelines.steady = timelines.steady.after(gap);
    }

    /// Log time, moved forward to `known` if that is later.
    #[must_use]
    pub fn not_before(&self, known: Timestamp) -> Timestamp {
        let mut timelines = self.timelines();
        self.read(&mut timelines);
        timelines.reach(known);
        timelines.log
    }

    /// Time that passed since `at`, an instant of log time, by the steady clock: steps of the wall clock since the
    /// start do not count. Zero for a future instant.
    #[must_use]
    pub fn since(&self, at: Timestamp) -> Duration {
        let mut timelines = self.timelines();
        let steady = self.read(&mut timelines).steady;
        steady.since(Timestamp(at.0.saturating_sub(timelines.ahead_at(at))))
    }

    /// The steady clock itself: time since some fixed moment of this machine's life.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.steady.elapsed()
    }

    /// Reads the wall clock first: a delay between the two readings makes log time late by that much, never ahead.
    fn read(&self, timelines: &mut Timelines) -> Moment {
        let wall = self.0.wall.now();
        timelines.advance(wall, self.0.steady.elapsed())
    }

    fn timelines(&self) -> MutexGuard<'_, Timelines> {
        self.0.timelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock + SteadyClock + 'static> From<Arc<C>> for LogClock {
    fn from(clock: Arc<C>) -> Self {
        Self::new(clock.clone(), clock)
    }
}

/// Log time.
impl Clock for LogClock {
    fn now(&self) -> Timestamp {
        self.moment().log
    }
}

/// Both times at the last reading, and the steps between them.
struct Timelines {
    /// The steady clock at that reading.
    read_at: Duration,
    log: Timestamp,
    steady: Timestamp,
    steps: VecDeque<ClockStep>,
}

/// A forward step of log time that steady time did not make.
struct ClockStep {
    /// The first instant of log time after it.
    from: Timestamp,
    /// How far log time is ahead of steady time since then, in microseconds.
    ahead: i64,
}

impl Timelines {
    const fn at(wall: Timestamp, elapsed: Duration) -> Self {
        Self { read_at: elapsed, log: wall, steady: wall, steps: VecDeque::new() }
    }

    fn advance(&mut self, wall: Timestamp, elapsed: Duration) -> Moment {
        let passed = elapsed.saturating_sub(self.read_at);
        self.read_at = self.read_at.max(elapsed);
        self.log = self.log.after(passed);
        self.steady = self.steady.after(passed);
        self.reach(wall);
        Moment { wall, log: self.log, steady: self.steady }
    }

    fn reach(&mut self, at: Timestamp) {
        let gap = at.since(self.log);
        if gap.is_zero() {
            return;
        }
        self.log = at;
        if gap < STEP_MIN {
            self.steady = self.steady.after(gap);
            return;
        }
        if self.steps.len() == STEPS_MAX {
            self.steps.pop_front();
        }
        let ahead = self.log.0.saturating_sub(self.steady.0);
        self.steps.push_back(ClockStep { from: at, ahead });
    }

    /// How far log time was ahead of steady time at the instant `at`.
    fn ahead_at(&self, at: Timestamp) -> i64 {
        let step = self.steps.iter().rev().find(|step| step.from <= at);
        step.map_or(0, |step| step.ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ManualClock;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_hours(24);

    fn clocks() -> (Arc<ManualClock>, LogClock, Timestamp) {
        let clock = ManualClock::new();
        let log = LogClock::from(clock.clone());
        (clock, log, Clock::now(&*ManualClock::new()))
    }

    #[test]
    fn a_clock_that_runs_on_is_all_three_times() {
        let (clock, log, start) = clocks();
        clock.advance(SECOND);
        let now = start.after(SECOND);
        assert_eq!(log.moment(), Moment { wall: now, log: now, steady: now });
        assert_eq!(log.since(start), SECOND);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_stops_neither_time() {
        let (clock, log, start) = clocks();
        for back in [Duration::from_mins(1), Duration::from_hours(3)] {
            let before = log.moment();
            clock.set_back(back);
            clock.advance(SECOND);
            let now = log.moment();
            assert_eq!(now.log, before.log.after(SECOND));
            assert_eq!(now.steady, before.steady.after(SECOND));
        }
        assert_eq!(log.moment().skew(), Duration::from_mins(181));
        assert_eq!(log.since(start), SECOND * 2);
    }

    #[test]
    fn a_wall_clock_that_is_set_forward_takes_log_time_along_and_no_wait() {
        let (clock, log, start) = clocks();
        let due = log.moment().log.after(SECOND * 10);
        let due = log.moment().steady_of(due);
        clock.set_forward(DAY);
        let ahead = log.moment();
        assert_eq!((ahead.log, ahead.steady), (start.after(DAY), start));
        assert_eq!(ahead.skew(), Duration::ZERO);
        assert!(due > ahead.steady, "ten seconds are ten seconds");
        clock.set_back(DAY);
        clock.advance(SECOND * 10);
        let now = log.moment();
        assert_eq!(now.log, start.after(DAY + SECOND * 10), "it never runs back");
        assert_eq!((now.skew(), now.steady), (DAY, due));
        // A wait that starts now has its nominal length.
        let later = now.log.after(SECOND);
        assert_eq!((now.until(later), now.steady_of(later)), (SECOND, due.after(SECOND)));
    }

    #[test]
    fn what_passed_is_known_on_both_sides_of_a_step() {
        let (clock, log, start) = clocks();
        clock.advance(SECOND);
        let before = log.moment().log;
        clock.set_forward(DAY);
        clock.advance(SECOND);
        let after = log.moment().log;
        clock.advance(SECOND);
        assert_eq!(log.since(start), SECOND * 3);
        assert_eq!(log.since(before), SECOND * 2);
        assert_eq!(log.since(after), SECOND);
        assert_eq!(log.since(after.after(DAY)), Duration::ZERO);
    }

    #[test]
    fn a_log_that_knows_later_times_is_gone_on_from() {
        let (clock, log, start) = clocks();
        let newest = start.after(DAY * 365);
        log.begin_at(newest);
        clock.advance(SECOND);
        let now = log.moment();
        assert_eq!((now.log, now.steady), (newest.after(SECOND), newest.after(SECOND)));
        assert_eq!(now.skew(), DAY * 365);
        log.begin_at(start);
        assert_eq!(log.moment(), now, "an older one changes nothing");
        assert_eq!(log.not_before(start), now.log);
        assert_eq!(log.not_before(now.log.after(SECOND)), now.log.after(SECOND));
        assert_eq!(log.moment().steady, now.steady, "no lease ends for that");
    }

    #[test]
    fn times_at_the_end_of_time_stay_there() {
        let (clock, log, _) = clocks();
        clock.set_forward(DAY);
        assert_eq!(log.moment().steady_of(Timestamp::NEVER), Timestamp::NEVER);
        log.begin_at(Timestamp::NEVER);
        clock.advance(SECOND);
        assert_eq!(log.moment().log, Timestamp::NEVER);
    }

    #[test]
    fn no_more_steps_are_remembered_than_fit() {
        let (clock, log, start) = clocks();
        for _ in 0..STEPS_MAX * 2 {
            clock.set_forward(SECOND);
            clock.advance(SECOND);
            assert_eq!(log.since(log.moment().log), Duration::ZERO);
        }
        assert_eq!(log.timelines().steps.len(), STEPS_MAX);
        assert!(log.since(start) <= SECOND * u32::try_from(STEPS_MAX * 2).expect("few"));
    }
}
