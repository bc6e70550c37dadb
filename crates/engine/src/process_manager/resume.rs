//! Resuming attempts of earlier rounds: the backend is still working, or the attempt's worker is gone.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{FailureReport, Intent};
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{AttemptStep, RunningAttempt};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::OperationId;
use stateward_domain::time::Timestamp;

use crate::error::Error;
use crate::process_manager::retry::backoff;
use crate::process_manager::round::{Round, StepResult};

impl Round<'_> {
    /// The backend is still working on the attempt: polls it, or cancels it when it is no longer wanted.
    pub(crate) async fn poll_pending(
        &self,
        entity: &Arc<Entity>,
        running: &RunningAttempt,
        handle: &Value,
        poll_at: Timestamp,
    ) -> Result<StepResult, Error> {
        if entity.is_to_be_stopped() {
            return self.cancel_pending(entity, running, handle).await;
        }
        if poll_at > self.now() {
            return Ok(StepResult::RequeueAfter(poll_at.since(self.now())));
        }
        let context = self.call_context(entity.attempt, entity);
        let outcome = self.call(self.driver().resume(&context, handle)).await;
        match outcome {
            // The handle is the only trace of the work: a failed poll does not end the attempt.
            Err(failure) if is_retryable_poll(&failure) => {
                Ok(StepResult::RequeueAfter(self.poll_pause(running, &failure)))
            }
            outcome => self.record_outcome(entity, outcome.map_err(with_possible_effect)).await,
        }
    }

    async fn cancel_pending(
        &self,
        entity: &Arc<Entity>,
        running: &RunningAttempt,
        handle: &Value,
    ) -> Result<StepResult, Error> {
        let context = self.call_context(entity.attempt, entity);
        match self.call(self.driver().cancel(&context, handle)).await {
            Err(failure) if is_retryable_poll(&failure) => {
                Ok(StepResult::RequeueAfter(self.poll_pause(running, &failure)))
            }
            // Cancelled or not, only an observation shows the present state.
            Ok(()) | Err(_) => {
                let message = "stopped on request";
                let error = Failure::doubtful(ErrorClass::Cancelled, "cancelled", message);
                let action = match &running.step {
                    AttemptStep::Action { operation_id } => Some(*operation_id),
                    _ => None,
                };
                let failing = FailureReport {
                    attempt: Some(entity.attempt),
                    takes_over: None,
                    error,
                    next: Next::Retry { at: self.now() },
                    remaining: Vec::new(),
                    action,
                };
                self.report(entity, &Intent::Fail(failing)).await?;
                Ok(StepResult::Continue)
            }
        }
    }

    /// Takes over an attempt whose worker is gone: its lease ended, or this worker would not hold one.
    pub(crate) async fn take_over(
        &self,
        entity: &Arc<Entity>,
        running: &RunningAttempt,
    ) -> Result<StepResult, Error> {
        let action = match &running.step {
            AttemptStep::Action { operation_id } => Some(*operation_id),
            _ => None,
        };
        if entity.trouble.abandoned + 1 >= Entity::MAX_ABANDONED {
            let message =
                format!("{} attempts in a row ended without a result", Entity::MAX_ABANDONED);
            let failure = Failure::doubtful(ErrorClass::Bug, "attempts_abandoned", message);
            return self.abandon(entity, failure, Next::Erred, action).await;
        }
        if let Some(operation) = action.filter(|id| !self.is_repeatable(entity, *id)) {
            let message = "the worker vanished: the action may have been done";
            let failure =
                Failure::doubtful(ErrorClass::Ambiguous, "action_outcome_unknown", message);
            let next = Next::Retry { at: self.now() };
            return self.abandon(entity, failure, next, Some(operation)).await;
        }
        self.reconcile(entity, Some(entity.attempt)).await
    }

    async fn abandon(
        &self,
        entity: &Arc<Entity>,
        error: Failure,
        next: Next,
        action: Option<OperationId>,
    ) -> Result<StepResult, Error> {
        let failing = FailureReport {
            attempt: None,
            takes_over: Some(entity.attempt),
            error,
            next,
            remaining: Vec::new(),
            action,
        };
        let done = self.report(entity, &Intent::Fail(failing)).await?;
        Ok(self.result_after(&done.entity))
    }

    /// The pause until the next poll grows with the attempt's age, so that an absent backend is not polled all the
    /// time.
    fn poll_pause(&self, running: &RunningAttempt, failure: &Failure) -> Duration {
        let policy = &self.backend.settings.retry;
        let age = self.shared.clock.log_clock.since(running.since);
        let grown = (age / 4).clamp(backoff(policy, 0), policy.max);
        failure.retry_after().unwrap_or(grown)
    }
}

/// The failure of a poll: the poll changed nothing, but the accepted work may have.
fn with_possible_effect(failure: Failure) -> Failure {
    let effect = if failure.effect == Effect::None { Effect::Maybe } else { failure.effect };
    Failure { effect, ..failure }
}

/// Whether the poll can be repeated.
fn is_retryable_poll(failure: &Failure) -> bool {
    matches!(
        failure.class,
        ErrorClass::Transient
            | ErrorClass::Ambiguous
            | ErrorClass::Conflict
            | ErrorClass::RateLimited { .. }
            | ErrorClass::Unauthorized
            | ErrorClass::Misconfigured
            | ErrorClass::QuotaExceeded
            | ErrorClass::Refused
            | ErrorClass::Exhausted
            | ErrorClass::Cancelled
    )
}
