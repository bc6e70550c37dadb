//! The embedded store: one directory, one process.
//!
//! - `open`: the directory, its lock, the two files
//! - `log`, `writer`, `batch`, `rows`: `events.db`, the authority, written by one task with group commit; `tail`: its
//!   newest events in memory
//! - `audit`: verification, checkpoints and exports; `backup`, `restore`, `import`: copies, which `landing` puts in
//!   place; `put_back`: the mark by which a store is known that was put back
//! - `derived`, `queue`, `uses`, `leases`, `views`: `views.db`, which can be deleted at any time
//! - `script`: how both files are written
//!
//! An I/O error in a commit ends the process, because nobody knows what the disk holds then: see
//! [`Store::broken`].

mod audit;
mod backup;
mod batch;
mod derived;
mod error;
mod import;
mod landing;
mod leases;
mod log;
mod open;
mod put_back;
mod queue;
mod restore;
mod rows;
mod script;
mod tail;
mod uses;
mod views;
mod writer;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use stateward_domain::time::Clock;
use tokio::runtime::Handle;
use tokio::sync::watch;

pub use audit::Auditor;
pub use backup::backup;
pub use error::OpenError;
pub use import::{ImportError, import};
pub use log::Log;
pub use put_back::Marker;
pub use queue::Queue;
pub use restore::restore;
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
    pub put_back: Arc<Marker>,
    /// Set when `views.db` was ahead of the log or of another log: one of the two files was put back. The
    /// views were dropped to be rebuilt; nothing should act on backends before a person looked.
    pub mismatched: bool,
    broken: watch::Receiver<Option<String>>,
    /// Holds the directory's lock as long as it lives.
    _lock: File,
}

impl Store {
    /// Opens the store in `directory`; makes what is missing.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing was changed that was there before.
    pub async fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::open_beside(directory, clock, &Handle::current()).await
    }

    /// As [`open`](Self::open); what only follows the log is written with the priority that `background` has.
    ///
    /// # Errors
    /// As for `open`.
    pub async fn open_beside(
        directory: &Path,
        clock: Arc<dyn Clock>,
        background: &Handle,
    ) -> Result<Self, OpenError> {
        open::open(directory, clock, background).await
    }

    /// Resolves with one line when the log cannot be written any more; the process has to end then.
    pub async fn broken(&self) -> String {
        let mut broken = self.broken.clone();

        match broken.wait_for(Option::is_some).await {
            Ok(message) => message.clone().unwrap_or_default(),
            Err(_) => "the log's writer is gone".to_owned(),
        }
    }

    /// Writes out what is buffered and closes both files.
    pub async fn close(&self) {
        self.audit.close().await;
        self.log.close().await;
        self.entities.close().await;
    }
}
