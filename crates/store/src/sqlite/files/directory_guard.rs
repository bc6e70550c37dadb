//! Checks once a second that the store's files are still in place, and records the log's head in the lock file.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stateward_domain::id::LogId;
use stateward_domain::ports::event_store::EventStore;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::opened::Broken;
use crate::sqlite::error::OpenError;
use crate::sqlite::files::inodes::Inodes;
use crate::sqlite::files::lock::{Lock, LogHead};
use crate::sqlite::log::Log;

/// A crash loses at most this much of the recorded head. What was read of the log within that time is in the views'
/// checkpoints.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The lock of an open store, with the task that checks its files. Dropping it frees the directory.
pub(in crate::sqlite) struct DirectoryGuard {
    lock: Arc<Mutex<Option<Lock>>>,
    task: AbortHandle,
}

impl DirectoryGuard {
    /// Starts to check the files of `log`, in a task on `background`.
    pub(in crate::sqlite) fn begin(
        lock: Lock,
        (log_id, log): (LogId, Arc<Log>),
        inodes: Arc<Inodes>,
        broken: watch::Sender<Option<Broken>>,
        background: &Handle,
    ) -> Self {
        let lock = Arc::new(Mutex::new(Some(lock)));
        let shared = Arc::clone(&lock);
        let task = background.spawn(async move {
            loop {
                tokio::time::sleep(CHECK_INTERVAL).await;
                let Ok(position) = log.head().await else { continue };
                let head = LogHead { log_id, position };
                let Some(outcome) =
                    locked(&shared).as_mut().map(|lock| check_files(&inodes, lock, head))
                else {
                    return;
                };
                if let Err(line) = outcome {
                    broken.send_if_modified(|broken| {
                        broken.get_or_insert(Broken::Moved(line));
                        true
                    });
                    return;
                }
            }
        });
        Self { lock, task: task.abort_handle() }
    }

    /// Records durably where the log ends. Called when it was closed.
    pub(in crate::sqlite) fn record_end(&self, head: LogHead) {
        self.task.abort();
        let mut lock = locked(&self.lock);
        let Some(lock) = lock.as_mut() else { return };
        if let Err(error) = lock.write(head).and_then(|()| lock.sync()) {
            tracing::warn!(%error, "where the log ends is not written down beside it");
        }
    }
}

impl Drop for DirectoryGuard {
    fn drop(&mut self) {
        self.task.abort();
        // The task may run on for a moment; the lock must be free at once.
        locked(&self.lock).take();
    }
}

fn locked(lock: &Mutex<Option<Lock>>) -> MutexGuard<'_, Option<Lock>> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// # Errors
/// One line, when the files were moved, or another process locked the directory.
fn check_files(inodes: &Inodes, lock: &mut Lock, head: LogHead) -> Result<(), String> {
    inodes.check()?;
    match lock.write(head) {
        Err(error @ OpenError::Locked(_)) => Err(error.to_string()),
        Err(error) => {
            tracing::debug!(%error, "how far the log is was not written down");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
