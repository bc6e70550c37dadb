//! File system work runs on the blocking pool and cannot be cancelled from outside, so it checks a [`Permit`] itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::ports::driver::{CallContext, CallControl};

use crate::instrumented::not_sent;

/// Permission to go on; checked right before each step with a visible effect.
pub(super) struct Permit {
    control: Arc<dyn CallControl>,
    abandoned: Arc<AtomicBool>,
}

impl Permit {
    /// Checks that the caller still waits and the engine still permits changes.
    ///
    /// # Errors
    /// `Cancelled` without effect: the step must not be taken.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.is_abandoned() || !self.control.may_send() { Err(not_sent()) } else { Ok(()) }
    }

    /// Whether the caller dropped the call; long reads stop then.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

struct AbandonOnDrop(Arc<AtomicBool>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Runs `work` on the blocking pool. Dropping the future makes every later check of the permit fail; a step that was
/// already permitted may still happen.
pub(super) async fn run<T: Send + 'static>(
    context: &CallContext,
    work: impl FnOnce(&Permit) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let abandoned = Arc::new(AtomicBool::new(false));
    let permit = Permit { control: context.control.clone(), abandoned: abandoned.clone() };
    let _abandon = AbandonOnDrop(abandoned);
    match tokio::task::spawn_blocking(move || work(&permit)).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => {
            Err(Failure::harmless(ErrorClass::Transient, "shutting_down", "the process is ending"))
        }
    }
}
