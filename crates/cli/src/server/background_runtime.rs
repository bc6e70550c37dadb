//! A low-priority runtime for projections and rounds.
//!
//! Threads that answer requests or write the log take precedence, because a caller waits for them. On a busy machine the
//! background keeps about a quarter of the processors, so it never starves (ADR 13).

use std::ops::Deref;

use anyhow::Context;
use tokio::runtime::{Builder, Handle, Runtime};

/// Niceness (sched(7)): each step costs about a fifth of a contended processor.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

/// A runtime whose threads have a lower priority.
pub(crate) struct BackgroundRuntime(Option<Runtime>);

impl BackgroundRuntime {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let niceness = background_niceness();
        let mut builder = Builder::new_multi_thread();
        let builder = builder.enable_all().thread_name("background");
        let builder = builder.on_thread_start(move || set(niceness));
        Ok(Self(Some(builder.build().context("there are no threads for the background")?)))
    }
}

impl Deref for BackgroundRuntime {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        self.0.as_ref().expect("it is only taken when it is dropped").handle()
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Dropped inside a task, which must not block on other tasks.
            runtime.shutdown_background();
        }
    }
}

/// The niceness of the background: [`NICE`] steps above that of the calling thread.
#[cfg(target_os = "linux")]
fn background_niceness() -> i32 {
    // It cannot fail for the calling thread.
    rustix::process::getpriority_process(None).unwrap_or_default() + NICE
}

/// Sets the niceness of the calling thread. Threads inherit it from the thread that starts them, so it is set, not added.
#[cfg(target_os = "linux")]
fn set(niceness: i32) {
    if let Err(error) = rustix::process::setpriority_process(None, niceness) {
        tracing::debug!(%error, "the background runs with the priority of everything else");
    }
}

/// On other systems niceness belongs to the process.
#[cfg(not(target_os = "linux"))]
const fn background_niceness() -> i32 {
    0
}

#[cfg(not(target_os = "linux"))]
const fn set(_niceness: i32) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_thread_has_the_same_niceness_whichever_thread_starts_it() {
        let own = || rustix::process::getpriority_process(None).expect("its own");
        let here = own();
        let background = BackgroundRuntime::start().expect("threads");
        let worker = background.spawn(async move { own() }).await.expect("an answer");
        let handle = background.clone();
        // Started by a thread that has the lower priority already.
        let blocking = background.spawn(async move { handle.spawn_blocking(own).await });
        let blocking = blocking.await.expect("an answer").expect("an answer");
        assert_eq!((worker, blocking), ((here + NICE).min(19), (here + NICE).min(19)));
        assert_eq!(own(), here, "the starting thread keeps its own");
    }
}
