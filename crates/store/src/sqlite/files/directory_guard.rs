//! Once a second: whether the store's files are still where they were, and how far the log is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stateward_domain::id::LogId;
use stateward_domain::ports::event_store::EventStore;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::sqlite::error::OpenError;
use crate::sqlite::files::inodes::Inodes;
use crate::sqlite::files::lock::{Lock, LogHead};
use crate::sqlite::log::Log;
use crate::sqlite::log::group_commit::Broken;

/// What a crash can take from the head that is known beside the log; what is read of the log within that time is in
/// the views' checkpoints.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The lock of a store that is open, and the task that looks after its files. Dropped, the directory is free.
pub(in crate::sqlite) struct DirectoryGuard {
    lock: Arc<Mutex<Option<Lock>>>,
    task: AbortHandle,
}

impl DirectoryGuard {
    /// Begins to look after the files of `log`, by a task of `background`.
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

    /// Writes down, durably, where a log ends that is closed now.
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
        // The task may live on for a moment; the lock must not.
        locked(&self.lock).take();
    }
}

fn locked(lock: &Mutex<Option<Lock>>) -> MutexGuard<'_, Option<Lock>> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// # Errors
/// One line, when the files are not ours any more.
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
