//! What follows a failure: the table of error classes, as a pure function.

use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::BlockedOn;
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::kind::KindSpec;
use stateward_domain::time::Timestamp;

use crate::backends::{BackendSettings, RetryPolicy};

/// Longest pause for an object to become visible to a call that answered "not found".
const VISIBLE_IN_MAX: Duration = Duration::from_secs(30);

/// The context in which a failure is handled.
pub(crate) struct RetryContext<'a> {
    pub(crate) entity: &'a Entity,
    pub(crate) kind: &'a KindSpec,
    pub(crate) settings: &'a BackendSettings,
    pub(crate) now: Timestamp,
    /// Random factor between one half and one: entities that failed together are not retried together.
    pub(crate) jitter: f64,
}

impl RetryContext<'_> {
    /// What follows a failed attempt for the desired state.
    pub(crate) fn next(&self, failure: &Failure) -> Next {
        let slowly = self.now.after(self.settings.retry.max);
        match &failure.class {
            ErrorClass::Transient | ErrorClass::Ambiguous | ErrorClass::Cancelled => {
                self.again(1, Duration::ZERO)
            }
            // The object may not be visible yet.
            ErrorClass::NotFound => self.again(1, self.kind.settle.min(VISIBLE_IN_MAX)),
            // A concurrent change won; a new observation is enough.
            ErrorClass::Conflict => self.again(10, Duration::ZERO),
            ErrorClass::RateLimited { .. } => self.after_pause(failure),
            ErrorClass::Unauthorized | ErrorClass::Misconfigured => Next::Blocked {
                on: BlockedOn::Backend,
                check_at: self.now.after(self.settings.breaker.probe_interval),
            },
            ErrorClass::Exhausted => Next::Retry { at: self.now.after(self.first_pause()) },
            ErrorClass::QuotaExceeded => Next::Blocked { on: BlockedOn::Quota, check_at: slowly },
            ErrorClass::Refused => Next::Blocked { on: BlockedOn::Refused, check_at: slowly },
            ErrorClass::DependencyNotReady { on } => {
                Next::Blocked { on: BlockedOn::Entity(*on), check_at: slowly }
            }
            ErrorClass::ReferenceNotReady { on } => {
                Next::Blocked { on: BlockedOn::Reference(on.as_ref().clone()), check_at: slowly }
            }
            ErrorClass::InUse { by } => {
                Next::Blocked { on: BlockedOn::InUse(*by), check_at: slowly }
            }
            ErrorClass::InUseOutside => {
                Next::Blocked { on: BlockedOn::InUseOutside, check_at: self.ever_more_slowly() }
            }
            ErrorClass::MissingOutside => {
                Next::Blocked { on: BlockedOn::MissingOutside, check_at: self.ever_more_slowly() }
            }
            ErrorClass::AlreadyExists { .. } => {
                Next::Blocked { on: BlockedOn::Decision, check_at: Timestamp::NEVER }
            }
            ErrorClass::Invalid | ErrorClass::Immutable | ErrorClass::Bug => Next::Erred,
        }
    }

    /// What follows a change that was accepted but left the fields `remaining` different.
    pub(crate) fn after_unconverged(&self, failure: &Failure, remaining: &[String]) -> Next {
        let trouble = &self.entity.trouble;
        let same = trouble.remaining == remaining;
        if same && trouble.unconverged + 1 >= Entity::MAX_UNCONVERGED {
            let check_at = self.now.after(self.settings.retry.max);
            return Next::Blocked { on: BlockedOn::NotConverging, check_at };
        }
        self.next(failure)
    }

    /// What follows a failed clean-up: it is always retried, and never makes the entity erred.
    pub(crate) fn after_clean_up(&self, failure: &Failure) -> Next {
        match failure.class {
            ErrorClass::RateLimited { .. } => self.after_pause(failure),
            ErrorClass::Exhausted => Next::Retry { at: self.now.after(self.first_pause()) },
            _ => Next::Retry { at: self.now.after(self.settings.retry.max.mul_f64(self.jitter)) },
        }
    }

    /// What follows a failed action, and whether the action ends with it.
    pub(crate) fn after_action(&self, failure: &Failure, idempotent: bool) -> (Next, bool) {
        let repeatable = failure.effect == Effect::None || idempotent;
        let passing = matches!(
            failure.class,
            ErrorClass::Transient
                | ErrorClass::Ambiguous
                | ErrorClass::Conflict
                // The next observation shows whether there is an object to act on.
                | ErrorClass::NotFound
                | ErrorClass::Cancelled
                | ErrorClass::Exhausted
                | ErrorClass::RateLimited { .. }
                | ErrorClass::Unauthorized
                | ErrorClass::Misconfigured
                | ErrorClass::QuotaExceeded
                | ErrorClass::DependencyNotReady { .. }
                | ErrorClass::ReferenceNotReady { .. }
                | ErrorClass::InUse { .. }
                | ErrorClass::InUseOutside
                | ErrorClass::MissingOutside
        );
        let next = self.next(failure);
        if repeatable && passing && next != Next::Erred {
            (next, false)
        } else {
            (Next::Retry { at: self.now }, true)
        }
    }

    /// The next try for something that ends without us.
    fn ever_more_slowly(&self) -> Timestamp {
        self.now.after(self.ever_longer())
    }

    /// The pause before something is tried, or observed, again that ends without us: a quarter of the time that the
    /// oldest operation has waited. No event tells of the end, and most such obstacles go in seconds, or in hours.
    pub(crate) fn ever_longer(&self) -> Duration {
        let RetryPolicy { first, max, .. } = self.settings.retry;
        let oldest = self.entity.operations.first();
        let pause = oldest.map_or(max, |open| self.now.since(open.since) / 4);
        pause.max(first).min(max).mul_f64(self.jitter)
    }

    fn first_pause(&self) -> Duration {
        backoff(&self.settings.retry, 0).mul_f64(self.jitter)
    }

    fn after_pause(&self, failure: &Failure) -> Next {
        let pause = failure.retry_after().unwrap_or(self.settings.retry.first);
        Next::Retry { at: self.now.after(pause) }
    }

    /// A retry after the backoff divided by `sooner`, but no earlier than `at_least`; erred once the budget is used up.
    fn again(&self, sooner: u32, at_least: Duration) -> Next {
        let budget = self.settings.retry.budget.unwrap_or(self.kind.retry_budget);
        let failures = self.entity.trouble.failures;
        if failures + 1 >= budget {
            return Next::Erred;
        }
        let wait = backoff(&self.settings.retry, failures) / sooner;
        Next::Retry { at: self.now.after(wait.mul_f64(self.jitter).max(at_least)) }
    }
}

/// Backoff after `failures` earlier failures in a row, without jitter.
pub(crate) fn backoff(policy: &RetryPolicy, failures: u32) -> Duration {
    policy.first.saturating_mul(2_u32.saturating_pow(failures.min(30))).min(policy.max)
}

#[cfg(test)]
mod tests;
