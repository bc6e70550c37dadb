//! The engine's side of a call, for tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use stateward_domain::failure::Failure;
use stateward_domain::id::{Attempt, ExternalId};
use stateward_domain::ports::driver::{CallContext, CallControl, Driver};
use stateward_domain::time::SteadyClock;
use stateward_drivers::{ConnectError, Settings};

/// Permits calls, and records the ids that they report.
pub(crate) struct Control {
    pub(crate) may_send: AtomicBool,
    pub(crate) recorded: Mutex<Vec<ExternalId>>,
    ends: Instant,
}

#[async_trait]
impl CallControl for Control {
    fn may_send(&self) -> bool {
        self.may_send.load(Ordering::SeqCst)
    }

    fn remaining(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    async fn cancelled(&self) {
        std::future::pending::<()>().await;
    }

    async fn record_id(&self, id: &ExternalId) -> Result<(), Failure> {
        self.recorded.lock().unwrap().push(id.clone());
        Ok(())
    }
}

impl Control {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_time(Duration::from_mins(1))
    }

    /// With a shorter deadline.
    pub(crate) fn with_time(remaining: Duration) -> Arc<Self> {
        let ends = Instant::now() + remaining;
        Arc::new(Self { may_send: AtomicBool::new(true), recorded: Mutex::default(), ends })
    }
}

/// A driver whose clock runs as this process does.
pub(crate) fn connect(driver: &str, settings: &Settings) -> Result<Arc<dyn Driver>, ConnectError> {
    let clock: Arc<dyn SteadyClock> = Arc::new(RunningClock(Instant::now()));
    stateward_drivers::connect(driver, settings, &clock)
}

struct RunningClock(Instant);

impl SteadyClock for RunningClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

pub(crate) fn context(control: &Arc<Control>) -> CallContext {
    CallContext { attempt: Attempt(1), control: control.clone() }
}
