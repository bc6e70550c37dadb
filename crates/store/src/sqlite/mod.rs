//! The embedded store: one directory, one process.
//!
//! - `files`: the directory, its lock, both files, and copies of them
//! - `log`: `events.db`, the source of truth, written by one task with group commit
//! - `audit`: verification, checkpoints and exports
//! - `views_db`, `queue`, `views`: `views.db`, which can be deleted at any time
//! - `transaction`: how both files are written; `error`: classes of errors
//!
//! An I/O error in a commit ends the process, because it is unknown what the disk holds then: see [`Broken`].

mod audit;
mod error;
mod files;
mod log;
mod quarantine;
mod queue;
mod transaction;
mod views;
mod views_db;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use stateward_domain::id::LogId;
use stateward_domain::ports::audit::LogLife;
use stateward_domain::ports::event_store::EventStore as _;
use stateward_domain::ports::health::{Check, StoreHealth};
use stateward_domain::ports::store_ports::StorePorts;
use stateward_domain::time::LogClock;
use tokio::runtime::Handle;

use crate::opened::{Broken, Opened, StoreLifetime};
use crate::single_node::SingleNode;
use files::directory_guard::DirectoryGuard;
use files::inodes::Inodes;
use files::lock::LogHead;

pub use audit::Auditor;
pub use error::OpenError;
pub use files::backup::backup;
pub use files::copy::{CopyError, SourceLock, copy};
pub use files::import::{ImportError, import};
pub use files::restore::restore;
pub use files::restore_hold::RestoreHoldFile;
pub use log::Log;
pub use queue::Queue;
pub use views::Entities;
#[cfg(test)]
pub(crate) use views::tables::SHAPE as VIEWS_SHAPE;

/// The open store in one directory.
pub struct Store {
    /// The event log.
    pub log: Arc<Log>,
    /// The sync queue with its leases.
    pub queue: Arc<Queue>,
    /// The read models `entities` and `operations`, for writing and for queries.
    pub entities: Arc<Entities>,
    /// Audits both files as they are stored.
    pub audit: Arc<Auditor>,
    /// The hold of a restored store.
    pub restore_hold: Arc<RestoreHoldFile>,
    /// The present life of the log. Under the restore hold the log was restored, imported, or is older than its recorded
    /// head: then nothing should act on backends before a person lifts the hold.
    pub life: LogLife,
    log_id: LogId,
    broken: tokio::sync::watch::Receiver<Option<Broken>>,
    inodes: Arc<Inodes>,
    guard: DirectoryGuard,
}

impl Store {
    /// Opens the store in `directory`; creates what is missing. `clock` continues from the newest time in the log.
    ///
    /// # Errors
    /// [`OpenError`]; then nothing that existed was changed.
    pub async fn open(directory: &Path, clock: impl Into<LogClock>) -> Result<Self, OpenError> {
        Self::open_beside(directory, clock, &Handle::current()).await
    }

    /// As [`open`](Self::open); the views are written with the thread priority of `background`.
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

    /// The store as a bundle of ports.
    #[must_use]
    pub fn opened(self) -> Opened {
        let health = Health { broken: self.broken.clone(), inodes: Arc::clone(&self.inodes) };
        let ports = StorePorts {
            log: self.log.clone(),
            queue: self.queue.clone(),
            models: vec![self.entities.clone()],
            views: self.entities.clone(),
            auditor: self.audit.clone(),
            restore_hold: self.restore_hold.clone(),
            cluster: Arc::new(SingleNode::default()),
            health: Arc::new(health),
        };
        Opened { ports, life: self.life, lifetime: Box::new(self) }
    }

    /// Writes out what is buffered, closes both files, and records the log's head.
    pub async fn close(&self) {
        self.audit.close().await;
        self.log.close().await;
        self.entities.close().await;
        // Appends that were queued at the close are in the log now.
        if let Ok(position) = self.log.head().await {
            self.guard.record_end(LogHead { log_id: self.log_id, position });
        }
    }
}

#[async_trait]
impl StoreLifetime for Store {
    async fn broken(&self) -> Broken {
        let gone = || Broken::Unwritable("the log's writer is gone".to_owned());
        let mut broken = self.broken.clone();
        let broken = broken.wait_for(Option::is_some).await.ok();
        broken.and_then(|broken| broken.clone()).unwrap_or_else(gone)
    }

    fn in_place(&self) -> Result<(), Broken> {
        self.inodes.check().map_err(Broken::Moved)
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}

/// The state of the files.
struct Health {
    broken: tokio::sync::watch::Receiver<Option<Broken>>,
    inodes: Arc<Inodes>,
}

#[async_trait]
impl StoreHealth for Health {
    async fn health(&self) -> Vec<Check> {
        let broken = self.broken.borrow().as_ref().map(ToString::to_string);
        vec![
            Check::serious("store/log", broken),
            Check::serious("store/files", self.inodes.check().err()),
        ]
    }
}
