//! Group commit: the only writer of `events.db`. Whatever queued during one commit goes into the next: no timer, and
//! under load many appends share one sync of the disk.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::{Connection, SqliteConnection};
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::Position;
use stateward_domain::ports::event_store::{Append, AppendError, Appended, ReadError};
use stateward_domain::time::LogClock;
use tokio::sync::{mpsc, oneshot, watch};

use crate::shared::chain::{Outcome, StreamHeads};
use crate::sqlite::error::{SqliteErrorClass, classify, message};
use crate::sqlite::files::inodes::Inodes;
use crate::sqlite::log::batch::{self, BatchContext};
use crate::sqlite::log::log_cache::LogCache;
use crate::sqlite::transaction::{CommitError, WriteConnection};

/// Appends that queue, at most; further callers wait for a place.
const QUEUE: usize = 4_096;
/// Events of one commit at most.
const BATCH_EVENTS: usize = 512;
/// Events between two truncations of the write-ahead log.
const CHECKPOINT_EVENTS: usize = 20_000;

/// Why the process has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The log cannot be written any more. Open files may be closed in order.
    Unwritable(String),
    /// The files were moved. Nothing may be written or closed any more: closing a database removes its write-ahead
    /// log by path, and that path is another process's now.
    Moved(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Unwritable(line) | Self::Moved(line)) = self;
        f.write_str(line)
    }
}

enum Job {
    Append(PendingAppend),
    Forget { before: i64, reply: oneshot::Sender<Result<u64, ReadError>> },
    Close { reply: oneshot::Sender<()> },
}

struct PendingAppend {
    append: Append,
    reply: oneshot::Sender<Outcome>,
}

/// Sends appends to the group commit. Cheap to clone.
#[derive(Clone)]
pub(in crate::sqlite) struct GroupCommitHandle {
    jobs: mpsc::Sender<Job>,
    head: watch::Receiver<u64>,
    cache: Arc<LogCache>,
}

impl GroupCommitHandle {
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

    pub(in crate::sqlite) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let gone = || AppendError::Unavailable("the writer is gone".to_owned());
        if append.events.is_empty() {
            return Err(AppendError::Unavailable("an append needs an event".to_owned()));
        }
        let (reply, outcome) = oneshot::channel();
        self.jobs.send(Job::Append(PendingAppend { append, reply })).await.map_err(|_| gone())?;
        outcome.await.unwrap_or(Err(AppendError::OutcomeUnknown))
    }

    pub(in crate::sqlite) async fn forget_claims_before(
        &self,
        before: i64,
    ) -> Result<u64, ReadError> {
        let gone = || ReadError::Unavailable("the writer is gone".to_owned());
        let (reply, outcome) = oneshot::channel();
        self.jobs.send(Job::Forget { before, reply }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }

    pub(in crate::sqlite) async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.jobs.send(Job::Close { reply }).await.is_ok() {
            // An error means that it is closed already.
            let _ = done.await;
        }
    }
}

struct GroupCommit {
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
) -> GroupCommitHandle {
    let (jobs, receiver) = mpsc::channel(QUEUE);
    let (epoch, head) = (head.epoch, watch::Sender::new(head.minor));
    let cache = Arc::new(LogCache::default());
    let writer = GroupCommitHandle { jobs, head: head.subscribe(), cache: Arc::clone(&cache) };
    let (heads, since_checkpoint) = (StreamHeads::default(), 0);
    let connection = WriteConnection::new(connection);
    let task = GroupCommit {
        connection,
        clock,
        heads,
        epoch,
        head,
        cache,
        broken,
        path,
        inodes,
        since_checkpoint,
    };
    tokio::spawn(task.run(receiver));
    writer
}

impl GroupCommit {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = VecDeque::new();
        loop {
            let job = if waiting.is_empty() { jobs.recv().await } else { jobs.try_recv().ok() };
            match job {
                Some(Job::Append(append)) => {
                    waiting.push_back(append);
                    // Appends that are queued already join this commit.
                    if waiting.len() < BATCH_EVENTS && !jobs.is_empty() {
                        continue;
                    }
                }
                Some(Job::Forget { before, reply }) => {
                    // The caller may have stopped waiting.
                    let _ = reply.send(self.forget(before).await);
                }
                Some(Job::Close { reply }) => {
                    jobs.close();
                    self.drain(&mut waiting).await;
                    let _ = self.connection.into_inner().close().await;
                    let _ = reply.send(());
                    return;
                }
                None if waiting.is_empty() => return,
                None => {}
            }
            self.write_batch(&mut waiting).await;
        }
    }

    async fn drain(&mut self, waiting: &mut VecDeque<PendingAppend>) {
        while !waiting.is_empty() {
            self.write_batch(waiting).await;
        }
    }

    /// Writes a batch of the queued appends: at most one per stream and per claim key, in order of arrival.
    async fn write_batch(&mut self, waiting: &mut VecDeque<PendingAppend>) {
        let mut streams: HashSet<StreamId> = HashSet::new();
        let mut keys: HashSet<ClaimKey> = HashSet::new();
        let mut events = 0;
        let mut batch = Vec::new();
        let mut later = VecDeque::new();
        for one in waiting.drain(..) {
            let append = &one.append;
            let clash = streams.contains(&append.stream)
                || append.claims.iter().any(|claim| keys.contains(claim.key()));
            // An append that has to wait blocks its own stream too, so that the order is kept.
            streams.insert(append.stream.clone());
            keys.extend(append.claims.iter().map(|claim| claim.key().clone()));
            let fits = batch.is_empty() || events + append.events.len() <= BATCH_EVENTS;
            if clash || !fits {
                later.push_back(one);
            } else {
                events += append.events.len();
                batch.push(one);
            }
        }
        *waiting = later;
        if !batch.is_empty() {
            self.write(batch).await;
        }
    }

    async fn write(&mut self, batch: Vec<PendingAppend>) {
        let (appends, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.append, waiting.reply)).unzip();
        crate::failpoints::reach("store::append::before");
        // As late as possible, to keep the window between this check and the commit small.
        if let Err(line) = self.inodes.check() {
            for reply in replies {
                let _ = reply.send(Err(AppendError::Unavailable(line.clone())));
            }
            return self.report_broken(Broken::Moved(line));
        }
        let outcomes = match self.commit(&appends).await {
            Ok(outcomes) => outcomes,
            // Retry one by one, so that one invalid append does not fail the others.
            Err(CommitError::NotStarted(_)) if appends.len() > 1 => {
                let mut outcomes = Vec::with_capacity(appends.len());
                for append in &appends {
                    let alone = self.commit(std::slice::from_ref(append)).await;
                    outcomes.push(match alone {
                        Ok(mut outcome) => outcome.remove(0),
                        Err(error) => Err(self.append_error(&error)),
                    });
                }
                outcomes
            }
            Err(error) => appends.iter().map(|_| Err(self.append_error(&error))).collect(),
        };
        crate::failpoints::reach("store::append::after");
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // The caller may have stopped waiting; its events are in the log all the same.
            let _ = reply.send(outcome);
        }
    }

    async fn commit(&mut self, appends: &[Append]) -> Result<Vec<Outcome>, CommitError> {
        let context = BatchContext {
            now: self.clock.moment().log,
            epoch: self.epoch,
            head: *self.head.borrow(),
        };
        let written = batch::write(&mut self.connection, &mut self.heads, appends, context).await;
        let (outcomes, recorded) = written.inspect_err(|_| self.heads.clear())?;
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

    /// The caller's error. After a disk error in a commit it is unknown what is on the disk: the process has to end,
    /// and the next one reads what was really written.
    fn append_error(&self, failure: &CommitError) -> AppendError {
        let (error, in_commit) = match failure {
            CommitError::NotStarted(error) => (error, false),
            CommitError::Unknown(error) => (error, true),
        };
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
        if in_commit { AppendError::OutcomeUnknown } else { AppendError::Unavailable(text) }
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

    async fn forget(&mut self, before: i64) -> Result<u64, ReadError> {
        if let Err(line) = self.inodes.check() {
            self.report_broken(Broken::Moved(line.clone()));
            return Err(ReadError::Unavailable(line));
        }
        // The pattern is a literal in the statement, so that the partial index applies.
        let forget = format!(
            "DELETE FROM claims WHERE taken_at < ? AND key GLOB '{}*'",
            ClaimKey::IDEMPOTENCY
        );
        let forget = sqlx::query(sqlx::AssertSqlSafe(forget)).bind(before);
        let deleted = forget.execute(&mut *self.connection).await;
        deleted
            .map(|done| done.rows_affected())
            .map_err(|error| ReadError::Unavailable(message(&error)))
    }
}
