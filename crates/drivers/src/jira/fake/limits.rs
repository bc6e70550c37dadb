//! Rate limits, and the rates that were seen.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::options::Options;

/// Issues whose writes are counted at most; beyond that, all counts start again.
const ISSUES_MAX: usize = 100_000;

/// The rates of the requests so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rates {
    /// Requests to the REST interface, refused ones included.
    pub requests: u64,
    /// Requests that were answered 429 because of a limit of [`Options`].
    pub refused: u64,
    /// Greatest number of requests within one second.
    pub greatest_per_second: usize,
}

/// A refusal: how long to wait, and for which reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) retry_after: Duration,
    pub(crate) reason: &'static str,
}

/// The state of the limits.
#[derive(Default)]
pub(crate) struct Limits {
    rates: Rates,
    /// Requests of the last second.
    recent: VecDeque<Instant>,
    /// Requests that may come at once, and when that was counted.
    bucket: Option<(f64, Instant)>,
    /// Writes to each issue within the longest window.
    writes: BTreeMap<u64, VecDeque<Instant>>,
}

impl Limits {
    pub(crate) fn rates(&self) -> Rates {
        self.rates
    }

    /// Starts to count anew.
    pub(crate) fn forget_rates(&mut self) {
        self.rates = Rates::default();
        self.recent.clear();
    }

    /// Counts a request, and admits or refuses it. `written` is the issue that it writes to.
    ///
    /// # Errors
    /// The refusal when a limit is passed.
    pub(crate) fn admit(
        &mut self,
        options: &Options,
        now: Instant,
        written: Option<u64>,
    ) -> Result<(), Refusal> {
        self.count(now);
        let admitted =
            self.draw(options, now).and_then(|()| self.draw_write(options, now, written));
        self.rates.refused += u64::from(admitted.is_err());
        admitted
    }

    fn count(&mut self, now: Instant) {
        self.rates.requests += 1;
        self.recent.push_back(now);
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= Duration::from_secs(1);
        while self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
        self.rates.greatest_per_second = self.rates.greatest_per_second.max(self.recent.len());
    }

    fn draw(&mut self, options: &Options, now: Instant) -> Result<(), Refusal> {
        let Some(limit) = options.rate_limit else { return Ok(()) };
        let burst = f64::from(limit.burst);
        let (tokens, since) = self.bucket.unwrap_or((burst, now));
        let refilled = now.saturating_duration_since(since).as_secs_f64() * limit.per_second;
        let tokens = (tokens + refilled).min(burst);
        let is_admitted = tokens >= 1.0;
        self.bucket = Some((if is_admitted { tokens - 1.0 } else { tokens }, now));
        if is_admitted {
            return Ok(());
        }
        let missing = (1.0 - tokens) / limit.per_second.max(0.001);
        Err(Refusal { retry_after: Duration::from_secs_f64(missing), reason: "jira-burst-based" })
    }

    fn draw_write(
        &mut self,
        options: &Options,
        now: Instant,
        written: Option<u64>,
    ) -> Result<(), Refusal> {
        let Some(issue) = written else { return Ok(()) };
        let longest = options.write_limits.iter().map(|limit| limit.window).max();
        let Some(longest) = longest else { return Ok(()) };
        if self.writes.len() >= ISSUES_MAX {
            self.writes.clear();
        }
        let writes = self.writes.entry(issue).or_default();
        while writes.front().is_some_and(|at| now.saturating_duration_since(*at) >= longest) {
            writes.pop_front();
        }
        for limit in &options.write_limits {
            let within =
                writes.iter().filter(|at| now.saturating_duration_since(**at) < limit.window);
            let within: Vec<_> = within.collect();
            if within.len() >= limit.writes {
                let oldest = within.first().map_or(now, |at| **at);
                let passed = now.saturating_duration_since(oldest);
                let retry_after = limit.window.saturating_sub(passed);
                return Err(Refusal { retry_after, reason: "jira-per-issue-on-write" });
            }
        }
        writes.push_back(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::RateLimit;
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        let limit = RateLimit { per_second: 10.0, burst: 3 };
        let options = Options { rate_limit: Some(limit), ..Options::default() };
        let start = Instant::now();
        let mut limits = Limits::default();
        let mut admit = |ms| limits.admit(&options, start + Duration::from_millis(ms), None);
        assert!((0..3).all(|_| admit(0).is_ok()));
        let refusal = admit(0).unwrap_err();
        assert_eq!((refusal.retry_after.as_millis(), refusal.reason), (100, "jira-burst-based"));
        assert!(admit(101).is_ok());
        assert!(admit(102).is_err());
        let rates = Rates { requests: 6, refused: 2, greatest_per_second: 6 };
        assert_eq!(limits.rates(), rates);
    }

    #[test]
    fn the_writes_to_one_issue_are_limited_alone() {
        let options = Options::default();
        let start = Instant::now();
        let mut limits = Limits::default();
        let mut admit =
            |ms, issue| limits.admit(&options, start + Duration::from_millis(ms), issue);
        assert!((0..20).all(|_| admit(0, Some(1)).is_ok()));
        let refusal = admit(500, Some(1)).unwrap_err();
        assert_eq!(refusal.reason, "jira-per-issue-on-write");
        assert_eq!(refusal.retry_after.as_millis(), 1_500);
        assert!(admit(500, Some(2)).is_ok());
        assert!(admit(500, None).is_ok());
        assert!(admit(2_001, Some(1)).is_ok());
    }
}
