//! Circuit breaker of one backend: open after too many failed calls in a row, counted over all members.
//!
//! A member that gets answers shows that the backend works: then each member counts its own failures only, because what
//! fails may be its own network.

use std::time::Duration;

use stateward_domain::ports::member_report::Calls;
use stateward_domain::time::Timestamp;

/// An answer says for as long that the backend works: longer than two heartbeats, so that each is reported.
const ANSWERED_FOR: Duration = Duration::from_secs(10);

/// Failed calls in a row, of this process and of the others.
pub(super) struct Breaker {
    /// Failures at which it opens.
    limit: u32,
    failures: u32,
    /// Failures of the other members that count.
    elsewhere: u32,
    /// When the backend answered last, in steady time; `None` = it never did.
    answered_at: Option<Timestamp>,
    open: bool,
}

impl Breaker {
    pub(super) const fn new(limit: u32) -> Self {
        Self { limit, failures: 0, elsewhere: 0, answered_at: None, open: false }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open
    }

    /// A call succeeded at steady time `now`: closes.
    pub(super) const fn succeed(&mut self, now: Timestamp) {
        self.answer(now);
        self.open = false;
    }

    /// The backend answered, even if it refused.
    pub(super) const fn answer(&mut self, now: Timestamp) {
        self.failures = 0;
        self.answered_at = Some(now);
    }

    /// A call failed.
    pub(super) fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
        self.decide();
    }

    /// What this process reports at steady time `now`.
    pub(super) fn calls(&self, now: Timestamp) -> Calls {
        let answered = self.answered_at.is_some_and(|at| now.since(at) <= ANSWERED_FOR);
        Calls { failures: self.failures, answered }
    }

    /// Counts what the other members report.
    pub(super) fn compare(&mut self, others: impl IntoIterator<Item = Calls>) {
        self.elsewhere = failures_of(others);
        self.decide();
    }

    /// A process without a failure of its own stays with the backend until its first one.
    fn decide(&mut self) {
        self.open |=
            self.failures > 0 && self.failures.saturating_add(self.elsewhere) >= self.limit;
    }
}

/// Failures in a row of these members together; 0 when one of them gets answers.
fn failures_of(members: impl IntoIterator<Item = Calls>) -> u32 {
    let mut failures = 0_u32;
    for calls in members {
        if calls.answered {
            return 0;
        }
        failures = failures.saturating_add(calls.failures);
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(0);

    fn calls(failures: u32, answered: bool) -> Calls {
        Calls { failures, answered }
    }

    #[test]
    fn failures_of_all_members_together_open_it_unless_one_gets_answers() {
        for (own, others, open) in [
            (4, vec![], false),
            (5, vec![], true),
            (2, vec![calls(2, false), calls(1, false)], true),
            (2, vec![calls(2, false), calls(0, false)], false),
            (1, vec![calls(u32::MAX, false), calls(9, false)], true),
            (4, vec![calls(9, false), calls(0, true)], false),
            (5, vec![calls(0, true)], true),
            (0, vec![calls(9, false)], false),
        ] {
            let (mut before, mut after) = (Breaker::new(5), Breaker::new(5));
            before.compare(others.clone());
            (0..own).for_each(|_| before.fail());
            (0..own).for_each(|_| after.fail());
            after.compare(others.clone());
            assert_eq!((before.is_open(), after.is_open()), (open, open), "{own}, {others:?}");
        }
    }

    #[test]
    fn a_success_closes_it_and_any_answer_ends_the_row() {
        let mut breaker = Breaker::new(2);
        breaker.fail();
        breaker.answer(NOW);
        breaker.fail();
        assert!(!breaker.is_open());
        assert_eq!(breaker.calls(NOW), calls(1, true));
        let later = NOW.after(ANSWERED_FOR + Duration::from_micros(1));
        assert_eq!(breaker.calls(later), calls(1, false));
        breaker.fail();
        breaker.answer(NOW);
        assert!(breaker.is_open(), "a refusal proves little");
        breaker.succeed(NOW);
        assert!(!breaker.is_open());
    }
}
