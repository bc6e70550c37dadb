//! The embedded store: one directory, one process.
//!
//! - `open`: the directory and the two files; `lock`: who has them, and how far the log was; `inodes`, `watch`: whether they
//!   are still where they were
//! - `log`, `writer`, `batch`, `rows`: `events.db`, the authority, written by one task with group commit; `tail`: its
//!   newest events in memory
//! - `audit`: verification, checkpoints and exports; `backup`, `restore`, `import`: copies, which `landing` puts in
//!   place; `restore_hold`: how a store is known that was put back; `kept`: views that know more than their log
//! - `objects`: claims that older versions did not take, derived from the `lives` of entities
//! - `derived`, `queue`, `uses`, `leases`, `views`: `views.db`, which can be deleted at any time
//! - `transaction`: how both files are written
//!
//! An I/O error in a commit ends the process, because nobody knows what the disk holds then: see
//! [`Store::broken`].

mod audit;
mod error;
mod files;
mod log;
mod queue;
mod transaction;
mod views;
mod views_db;

use std::path::Path;
use std::sync::Arc;

use stateward_domain::id::LogId;
use stateward_domain::ports::event_store::EventStore as _;
use stateward_domain::time::LogClock;
use tokio::runtime::Handle;

use files::directory_guard::DirectoryGuard;
use files::inodes::Inodes;
use files::lock::LogHead;

pub use audit::Auditor;
pub use error::OpenError;
pub use files::backup::backup;
pub use files::import::{ImportError, import};
pub use files::restore::restore;
pub use files::restore_hold::RestoreHoldFile;
pub use log::Log;
pub use log::group_commit::Broken;
pub use queue::Queue;
pub use views::Entities;

/// Everything that one directory holds.
pub struct Store {
    /// The log.
    pub log: Arc<Log>,
    /// Queue and leases.
    pub queue: Arc<Queue>,
    /// The read models `entities` and `operations`, for writing and for queries.
    pub entities: Arc<Entities>,
    /// Looks at both files as they are stored.
    pub audit: Arc<Auditor>,
    /// The mark of a store that was put back.
    pub restore_hold: Arc<RestoreHoldFile>,
    /// Set when the log is older than what was known of it, or another one: it was put back, and a new epoch has begun.
    /// Nothing should act on backends before a person looked.
    pub observe_only: bool,
    log_id: LogId,
    broken: tokio::sync::watch::Receiver<Option<Broken>>,
    inodes: Arc<Inodes>,
    guard: DirectoryGuard,
}

impl Store {
    /// Opens the store in `directory`; makes what is missing. `clock` goes on from the newest time in the log.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing was changed that was there before.
    pub async fn open(directory: &Path, clock: impl Into<LogClock>) -> Result<Self, OpenError> {
        Self::open_beside(directory, clock, &Handle::current()).await
    }

    /// As [`open`](Self::open); what only follows the log is written with the priority that `background` has.
    ///
    /// # Errors
    /// As for `open`.
    pub async fn open_beside(
        directory: &Path,
        clock: impl Into<LogClock>,
        background: &Handle,
    ) -> Result<Self, OpenError> {
        files::open::open(directory, clock.into(), background).await
    }

    /// Resolves when the log cannot be written any more; the process has to end then.
    pub async fn broken(&self) -> Broken {
        let gone = || Broken::Unwritable("the log's writer is gone".to_owned());
        let mut broken = self.broken.clone();
        let broken = broken.wait_for(Option::is_some).await.ok();
        broken.and_then(|broken| broken.clone()).unwrap_or_else(gone)
    }

    /// Whether the files are where they were opened, and may be closed.
    ///
    /// # Errors
    /// [`Broken::Moved`]: then the process has to end without closing them.
    pub fn in_place(&self) -> Result<(), Broken> {
        self.inodes.check().map_err(Broken::Moved)
    }

    /// Writes out what is buffered, closes both files, and writes down how far the log is.
    pub async fn close(&self) {
        self.audit.close().await;
        self.log.close().await;
        self.entities.close().await;
        // What was queued when the log was closed is in it now.
        if let Ok(position) = self.log.head().await {
            self.guard.record_end(LogHead { log_id: self.log_id, position });
        }
    }
}
