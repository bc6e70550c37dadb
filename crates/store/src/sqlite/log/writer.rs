//! The writer of `events.db`: what the group commit runs on, and the end of the log that readers may see.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::id::Position;
use stateward_domain::ports::event_store::{Append, AppendError};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::LogClock;
use tokio::sync::watch;

use crate::opened::Broken;
use crate::shared::chain::{Outcome, StreamHeads};
use crate::shared::group_commit::{self, BatchError, CommitBatch, GroupCommitHandle};
use crate::shared::log_cache::LogCache;
use crate::sqlite::error::{SqliteErrorClass, classify, message, store_error};
use crate::sqlite::files::inodes::Inodes;
use crate::sqlite::log::batch::{self, BatchContext};
use crate::sqlite::transaction::{CommitError, WriteConnection};

/// Events between two truncations of the write-ahead log.
const CHECKPOINT_EVENTS: usize = 20_000;

/// Sends appends to the writer, and knows what it has written. Cheap to clone.
#[derive(Clone)]
pub(in crate::sqlite) struct LogWriterHandle {
    commits: GroupCommitHandle,
    head: watch::Receiver<u64>,
    cache: Arc<LogCache>,
}

impl LogWriterHandle {
    pub(in crate::sqlite) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// The newest events.
    pub(in crate::sqlite) fn cache(&self) -> &LogCache {
        &self.cache
    }

    pub(in crate::sqlite) async fn moved_past(&self, position: u64) {
        let mut head = self.head.clone();
        if head.wait_for(|head| *head > position).await.is_err() {
            // The writer is gone, so the log will not change any more.
            std::future::pending::<()>().await;
        }
    }

    pub(in crate::sqlite) const fn commits(&self) -> &GroupCommitHandle {
        &self.commits
    }
}

struct LogWriter {
    connection: WriteConnection,
    clock: LogClock,
    heads: StreamHeads,
    epoch: u32,
    head: watch::Sender<u64>,
    cache: Arc<LogCache>,
    broken: watch::Sender<Option<Broken>>,
    path: PathBuf,
    inodes: Arc<Inodes>,
    since_checkpoint: usize,
}

/// Starts the writer of the log on `connection`, which ends at `head`, in the file `path`.
pub(in crate::sqlite) fn spawn(
    (connection, head, path, inodes): (SqliteConnection, Position, PathBuf, Arc<Inodes>),
    clock: LogClock,
    broken: watch::Sender<Option<Broken>>,
) -> LogWriterHandle {
    let (epoch, head) = (head.epoch, watch::Sender::new(head.minor));
    let (receiver, cache) = (head.subscribe(), Arc::new(LogCache::default()));
    let writer = LogWriter {
        connection: WriteConnection::new(connection),
        clock,
        heads: StreamHeads::default(),
        epoch,
        head,
        cache: Arc::clone(&cache),
        broken,
        path,
        inodes,
        since_checkpoint: 0,
    };
    LogWriterHandle { commits: group_commit::spawn(writer), head: receiver, cache }
}

impl CommitBatch for LogWriter {
    async fn commit(&mut self, appends: &[Append]) -> Result<Vec<Outcome>, BatchError> {
        // As late as possible, to keep the window between this check and the commit small.
        if let Err(line) = self.inodes.check() {
            self.report_broken(Broken::Moved(line.clone()));
            return Err(BatchError::Final(StoreError::fatal(line).into()));
        }
        let context = BatchContext {
            now: self.clock.moment().log,
            epoch: self.epoch,
            head: *self.head.borrow(),
        };
        let written = batch::write(&mut self.connection, &mut self.heads, appends, context).await;
        let (outcomes, recorded) = match written {
            Ok(written) => written,
            Err(failure) => {
                self.heads.clear();
                return Err(self.batch_error(failure, appends.len()));
            }
        };
        if let Some(last) = recorded.last() {
            let head = last.position.minor;
            self.since_checkpoint += recorded.len();
            // Publish the events before the head: a reader that sees the head must find them.
            self.cache.extend(recorded);
            self.head.send_replace(head);
            self.bound_wal().await;
        }
        Ok(outcomes)
    }

    async fn forget_claims_before(&mut self, before: i64) -> Result<u64, StoreError> {
        if let Err(line) = self.inodes.check() {
            self.report_broken(Broken::Moved(line.clone()));
            return Err(StoreError::fatal(line));
        }
        // The pattern is a literal in the statement, so that the partial index applies.
        let forget = format!(
            "DELETE FROM claims WHERE taken_at < ? AND key GLOB '{}*'",
            ClaimKey::IDEMPOTENCY
        );
        let forget = sqlx::query(sqlx::AssertSqlSafe(forget)).bind(before);
        let deleted = forget.execute(&mut *self.connection).await;
        deleted.map(|done| done.rows_affected()).map_err(store_error)
    }

    async fn close(self) {
        // Fails only where the connection is closed already.
        let _ = self.connection.into_inner().close().await;
    }
}

impl LogWriter {
    /// The error of a batch. After a disk error in a commit it is unknown what is on the disk: the process has to
    /// end, and the next one reads what was really written. Where the appends are tried one by one next, only the
    /// error of such a try ends the process.
    fn batch_error(&self, failure: CommitError, appends: usize) -> BatchError {
        match failure {
            CommitError::NotStarted(error) if appends > 1 => {
                BatchError::Rejected(store_error(error).into())
            }
            CommitError::NotStarted(error) => {
                self.report_fatal(&error, false);
                BatchError::Rejected(store_error(error).into())
            }
            CommitError::Unknown(error) => {
                self.report_fatal(&error, true);
                BatchError::Final(AppendError::OutcomeUnknown)
            }
        }
    }

    fn report_fatal(&self, error: &sqlx::Error, in_commit: bool) {
        let text = message(error);
        let fatal = match classify(error) {
            SqliteErrorClass::Full => {
                Some(format!("the disk that holds {} is full", self.path.display()))
            }
            SqliteErrorClass::Io | SqliteErrorClass::Damaged | SqliteErrorClass::ReadOnly => {
                Some(format!("{} cannot be written: {text}", self.path.display()))
            }
            SqliteErrorClass::Busy | SqliteErrorClass::Other if in_commit => {
                Some(format!("a commit to {} failed: {text}", self.path.display()))
            }
            SqliteErrorClass::Busy | SqliteErrorClass::Other => None,
        };
        if let Some(line) = fatal {
            self.report_broken(Broken::Unwritable(line));
        }
    }

    /// Reports that the process has to end; the first reason wins.
    fn report_broken(&self, reason: Broken) {
        self.broken.send_if_modified(|broken| {
            let first = broken.is_none();
            broken.get_or_insert(reason);
            first
        });
    }

    /// Automatic checkpoints never shorten the file while a reader is active; this one does, every now and then.
    async fn bound_wal(&mut self) {
        if self.since_checkpoint < CHECKPOINT_EVENTS {
            return;
        }
        self.since_checkpoint = 0;
        let cut = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut *self.connection);
        if let Err(error) = cut.await {
            tracing::debug!(%error, "the write-ahead log was not cut");
        }
    }
}
