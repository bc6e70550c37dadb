//! Where what was accepted is worked off: projections and rounds, in threads that step back while processors are scarce.
//!
//! An answer is a promise that somebody waits for; what follows from it only has to come soon. So the threads that answer
//! and those that write the log come first, and what follows them keeps about a quarter of a busy machine: enough that
//! nothing ever stands still.

use std::ops::Deref;

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// Steps of niceness (sched(7)): each is worth about a fifth less of a processor that others want too.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// Threads of their own for tasks that can wait a little.
pub(crate) struct Background(Option<Runtime>);

impl Background {
    /// Starts them.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let niceness = step_back();
        let mut builder = Builder::new_multi_thread();
        let builder = builder.enable_all().thread_name("background");
        let builder = builder.on_thread_start(move || set(niceness));
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

/// The niceness of the background: some steps from that of the calling thread.
#[cfg(target_os = "linux")]
fn step_back() -> i32 {
    // It cannot fail for the calling thread.
    rustix::process::getpriority_process(None).unwrap_or_default() + NICE
}

/// Gives the calling thread this niceness, which those that it starts inherit: so it is set, not added.
#[cfg(target_os = "linux")]
fn set(niceness: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        tracing::debug!(%error, "the background runs with the priority of everything else");
    }
}

/// Elsewhere niceness belongs to the process.
#[cfg(not(target_os = "linux"))]
const fn step_back() -> i32 {
    0
}

#[cfg(not(target_os = "linux"))]
const fn set(_niceness: i32) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_thread_steps_back_by_as_much_whoever_starts_it() {
        let own = || rustix::process::getpriority_process(None).expect("its own");
        let here = own();
        let background = Background::start().expect("threads");
        let worker = background.spawn(async move { own() }).await.expect("an answer");
        let handle = background.clone();
        // Started by a thread that has stepped back already.
        let blocking = background.spawn(async move { handle.spawn_blocking(own).await });
        let blocking = blocking.await.expect("an answer").expect("an answer");
        assert_eq!((worker, blocking), ((here + NICE).min(19), (here + NICE).min(19)));
        assert_eq!(own(), here, "whoever starts it does not");
    }
}
