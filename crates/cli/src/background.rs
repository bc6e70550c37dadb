//! Where what was accepted is worked off: projections and rounds, in threads that step back while processors are scarce.
//!
//! An answer is a promise that somebody waits for; what follows from it only has to come soon. So the threads that answer
//! and those that write the log come first, and what follows them keeps about a quarter of a busy machine: enough that
//! nothing ever stands still.

use std::ops::Deref;

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// Steps of niceness (sched(7)): each is worth about a quarter less of a processor that others want too.
const NICE: i32 = 5;

/// Threads of their own for tasks that can wait a little.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    /// Starts them.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let builder = builder.enable_all().thread_name("background").on_thread_start(step_back);
        Ok(Self(Some(builder.build().context("there are no threads for the background")?)))
    }
}

impl Deref for Background {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        self.0.as_ref().expect("it is only taken when it is dropped").handle()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropped by a task, which must not wait for other tasks.
            runtime.shutdown_background();
        }
    }
}

/// Lowers the priority of the calling thread, and of those that it starts. On Linux alone it is a thread's own.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "the background runs with the priority of everything else");
    }
}
