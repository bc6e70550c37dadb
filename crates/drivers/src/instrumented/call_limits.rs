//! Limits of one call: deadline, cancellation, permission to send, panics.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::KindName;
use stateward_domain::ports::driver::CallContext;
use tracing::Instrument;

/// The call, for spans and messages.
pub(super) struct Call {
    pub(super) driver: &'static str,
    pub(super) name: &'static str,
    kind: String,
    changes: bool,
}

impl Call {
    pub(super) fn new(
        driver: &'static str,
        name: &'static str,
        kind: Option<&KindName>,
        changes: bool,
    ) -> Self {
        let kind = kind.map(|kind| kind.as_str().to_owned()).unwrap_or_default();
        Self { driver, name, kind, changes }
    }

    /// A fault of the driver; the effect is unknown if the call changes something.
    pub(super) fn bug(&self, code: &str, message: &str) -> Failure {
        let message = format!("{} of driver {}: {message}", self.name, self.driver);
        if self.changes {
            Failure::doubtful(ErrorClass::Bug, code, message)
        } else {
            Failure::harmless(ErrorClass::Bug, code, message)
        }
    }

    fn abandoned(&self, code: &str, message: &str) -> Failure {
        if self.changes {
            Failure::doubtful(ErrorClass::Ambiguous, code, message)
        } else {
            Failure::harmless(ErrorClass::Transient, code, message)
        }
    }
}

/// Runs `future` within the limits that `context` sets.
pub(super) async fn with_limits<T>(
    call: &Call,
    context: &CallContext,
    future: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    let span = tracing::info_span!(
        "driver.call",
        driver = call.driver,
        call = call.name,
        kind = call.kind,
        attempt = context.attempt.0,
    );
    run_limited(call, context, future).instrument(span).await
}

async fn run_limited<T>(
    call: &Call,
    context: &CallContext,
    future: impl Future<Output = Result<T, Failure>> + Send,
) -> Result<T, Failure> {
    if call.changes && !context.control.may_send() {
        return Err(not_sent());
    }
    let started = Instant::now();
    // The driver is polled first: a result that is ready is never discarded because of the deadline.
    let result = tokio::select! {
        biased;
        result = AssertUnwindSafe(future).catch_unwind() => {
            result.unwrap_or_else(|_| Err(call.bug("panic", "it panicked")))
        }
        () = context.control.cancelled() => Err(call.abandoned("given_up", "the call was given up")),
        () = deadline_reached(context, Duration::ZERO) => {
            Err(call.abandoned("deadline_passed", "no reply before the deadline"))
        }
    };
    tracing::debug!(elapsed_ms = started.elapsed().as_millis(), ok = result.is_ok(), "called");
    result.map_err(without_contradiction)
}

/// Resolves `margin` before the deadline of the call. Renewing the lease extends the deadline, so it is read again.
pub(crate) async fn deadline_reached(context: &CallContext, margin: Duration) {
    loop {
        let left = context.control.remaining().saturating_sub(margin);
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left).await;
    }
}

/// The failure of a request that was not sent because the engine no longer permits it.
pub(crate) fn not_sent() -> Failure {
    let message = "the attempt's time is over; nothing was sent";
    Failure::harmless(ErrorClass::Cancelled, "not_sent", message)
}

/// Gives `Ambiguous` failures at least the effect `Maybe`: with the effect `None` the engine would skip the observation
/// that an ambiguous failure requires.
fn without_contradiction(failure: Failure) -> Failure {
    match failure.class {
        ErrorClass::Ambiguous if failure.effect == Effect::None => {
            Failure { effect: Effect::Maybe, ..failure }
        }
        _ => failure,
    }
}
