//! Copies the log of another store into a database, page by page: the same log, in a new epoch and under the restore hold.
//!
//! Invariant: the source takes no append meanwhile (see [`fence`] and [`crate::sqlite::SourceLock`]), and the target none
//! before it is complete. A copy that broke off goes on where it was, after a comparison of what is there.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::audit::{Fault, FaultKind, Report, VerificationProgress};
use stateward_domain::id::Position;
use stateward_domain::ports::audit::{Auditor as _, ProgressFn};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Clock;
use tokio::time::{Instant, sleep};

use super::audit::{Auditor, stream_heads};
use super::connect::Database;
use super::import::{ImportError, LogImport};
use crate::audit::CopyCheck;

/// Events of a page.
const PAGE: usize = 1_000;
/// Pause between two looks for appends in flight.
const POLL: Duration = Duration::from_millis(20);

/// Why a log was not copied. The target stays fenced, and the next copy goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source was not read.
    #[error("the source cannot be read: {0}")]
    Source(#[from] ReadError),
    /// An event of the source is not sound.
    #[error("event {number} of the source: {message}")]
    Unsound {
        /// Its ordinal, from 1.
        number: u64,
        /// What is wrong with it.
        message: String,
    },
    /// The target has another event at this ordinal.
    #[error("event {0} of the target is not the one of the source")]
    Different(u64),
    /// The target cannot be written.
    #[error(transparent)]
    Target(#[from] ImportError),
    /// The target is complete, and its verification found this.
    #[error("the copy is not sound: {0}")]
    Faults(String),
}

impl From<super::error::OpenError> for CopyError {
    fn from(error: super::error::OpenError) -> Self {
        Self::Target(error.into())
    }
}

/// Copies the log that `from` reads into `to`, whose log is empty, or an unfinished copy of the same one: the same ids,
/// versions, times, bytes, hashes and log id. Counts, hashes and claims are verified. Returns the report of the target.
///
/// # Errors
/// [`CopyError`] in one line.
pub async fn copy(
    from: &dyn stateward_domain::ports::audit::Auditor,
    to: &Database,
    clock: Arc<dyn Clock>,
    progress: ProgressFn<'_>,
) -> Result<Report, CopyError> {
    let (log_id, end) = (from.log_id(), from.checkpoint().await?);
    let mut target = Target { writer: LogImport::begin(to, Some(log_id)).await?, last: Some(0) };
    let (mut check, mut at, mut done) = (CopyCheck::default(), Position::START, 0);
    loop {
        progress(VerificationProgress { done, total: end.count });
        let page = from.chained_events(at, end.position, PAGE).await?;
        let Some(last) = page.last() else { break };
        at = last.event.position;
        let mut events = Vec::with_capacity(page.len());
        for (chained, number) in page.into_iter().zip(done + 1..) {
            let taken = check.take(log_id, chained);
            events.push(taken.map_err(|message| CopyError::Unsound { number, message })?);
        }
        target.write(&events, done).await?;
        done += events.len() as u64;
    }
    target.ends(done).await?;
    target.writer.finish(log_id).await?;
    let copied = Auditor::beside(to.clone(), clock).await?;
    // The views of the target follow when a process serves it.
    let report = copied.verify(Some(&end), &|_| ()).await?;
    let of_log = |fault: &&Fault| {
        fault.fault != FaultKind::View || fault.table.as_deref() == Some(stream_heads::TABLE)
    };
    let fault = report.faults.iter().find(of_log);
    if let Some(fault) = fault {
        return Err(CopyError::Faults(fault.to_string()));
    }
    if report.checkpoint.count != end.count {
        return Err(CopyError::Faults(format!("it has {} events", report.checkpoint.count)));
    }
    Ok(report)
}

/// The log that is written.
struct Target {
    writer: LogImport,
    /// Position up to which its events were compared; `None` = all of them were.
    last: Option<i64>,
}

impl Target {
    /// Writes those of `events`, which follow `done` others, that are not there.
    async fn write(
        &mut self,
        events: &[stateward_domain::envelope::Recorded],
        done: u64,
    ) -> Result<(), CopyError> {
        let mut there = 0;
        if let Some(last) = self.last {
            let written = self.writer.written(last, events.len()).await?;
            for ((event, (_, id, hash)), number) in events.iter().zip(&written).zip(done + 1..) {
                if event.id.0 != *id || event.hash[..] != hash[..] {
                    return Err(CopyError::Different(number));
                }
            }
            there = written.len();
            self.last = written.last().map(|row| row.0).filter(|_| there == events.len());
        }
        if there < events.len() {
            self.writer.write(&events[there..]).await?;
        }
        Ok(())
    }

    /// Fails if the target has more than `done` events.
    async fn ends(&mut self, done: u64) -> Result<(), CopyError> {
        match self.last {
            Some(last) if !self.writer.written(last, 1).await?.is_empty() => {
                Err(CopyError::Different(done + 1))
            }
            _ => Ok(()),
        }
    }
}

/// Lets the log of `database` take no append any more, and waits for those in flight. Idempotent.
///
/// # Errors
/// [`StoreError`], also when an append stays open: the fence is set then. A log that is itself an unfinished copy is no
/// source.
pub async fn fence(database: &Database) -> Result<(), StoreError> {
    refuse_unfinished(database).await?;
    database.execute(sqlx::query("UPDATE log SET fenced = true")).await?;
    let deadline = Instant::now() + database.statement_limit();
    let open = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 \
         AND classid::bigint >> 16 = x'5357'::bigint \
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    loop {
        let (open,): (bool,) = database.fetch_one(sqlx::query_as(open)).await?;
        if !open {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(StoreError::unavailable("an append of another program is open"));
        }
        sleep(POLL).await;
    }
}

/// Fails for a log that a copy has not finished: it has events, and no heads of their streams.
async fn refuse_unfinished(database: &Database) -> Result<(), StoreError> {
    let unfinished = "SELECT EXISTS (SELECT FROM events) AND NOT EXISTS (SELECT FROM streams)";
    let (unfinished,): (bool,) = database.fetch_one(sqlx::query_as(unfinished)).await?;
    if unfinished {
        return Err(StoreError::fatal(std::io::Error::other("its log is an unfinished copy")));
    }
    Ok(())
}

/// What tells the database from all others: its server's data and its own number.
///
/// # Errors
/// [`StoreError`].
pub async fn place(database: &Database) -> Result<String, StoreError> {
    let place = "SELECT (SELECT system_identifier::text FROM pg_control_system()) || '/' || oid::text \
         FROM pg_database WHERE datname = current_database()";
    let (place,): (String,) = database.fetch_one(sqlx::query_as(place)).await?;
    Ok(place)
}

/// The log of `database` takes appends again. For a person who knows that no copy of it is served: two copies would act on
/// the same objects. Idempotent.
///
/// # Errors
/// [`StoreError`]. A log that is itself an unfinished copy stays closed.
pub async fn end_fence(database: &Database) -> Result<(), StoreError> {
    refuse_unfinished(database).await?;
    database.execute(sqlx::query("UPDATE log SET fenced = false WHERE fenced")).await.map(drop)
}
