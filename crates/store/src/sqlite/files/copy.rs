//! Copies the log of another store into a directory, and locks a directory whose log is copied elsewhere.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use stateward_domain::audit::{Checkpoint, VerificationProgress};
use stateward_domain::cloud_event;
use stateward_domain::ports::audit::{Auditor, ProgressFn};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::time::Timestamp;

use super::import::{ImportError, import, require_empty};
use super::lock::Lock;
use super::restore_hold::{Mark, RestoreHoldFile};
use super::spool::{Collected, Spool};
use crate::sqlite::error::OpenError;

/// Events of a page.
const PAGE: usize = 1_000;

/// Why a log was not copied; then the directory is as it was. After [`Source`](Self::Source) the next copy goes on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source was not read.
    #[error("the source cannot be read: {0}")]
    Source(#[from] ReadError),
    /// The target cannot be written, or an event of the source is not sound: its line is its ordinal.
    #[error(transparent)]
    Target(#[from] ImportError),
    /// The copy has other events than the source.
    #[error("the copy has {0} events, and other hashes than the source")]
    Different(u64),
}

/// Copies the log that `from` reads into the store in `directory`, which must be empty: the same log, in a new epoch and
/// under the restore hold. The source takes no append meanwhile. Counts, hashes and claims are verified. Needs the size
/// of an export beside the directory: a copy whose source broke off, or that was killed, leaves the file `DIRECTORY.copy`
/// there, and the next one of the same log reads on behind it.
///
/// # Errors
/// [`CopyError`] in one line; then the directory is as it was.
pub async fn copy(
    from: &dyn Auditor,
    directory: &Path,
    now: Timestamp,
    progress: ProgressFn<'_>,
) -> Result<Checkpoint, CopyError> {
    require_empty(directory).await?;
    let end = from.checkpoint().await?;
    let spool = Spool::beside(directory);
    let mut collected = spool.collected(from, &end).await?.map_err(ImportError::from)?;
    let copied = match collect(from, &end, &mut collected, &spool, progress).await {
        // What was read so far is not read again.
        Err(broken @ CopyError::Source(_)) => return Err(broken),
        Err(other) => Err(other),
        Ok(()) => install(&spool, directory, now, &end).await,
    };
    spool.remove();
    copied
}

/// Reads the events behind those that are collected up to `end`.
async fn collect(
    from: &dyn Auditor,
    end: &Checkpoint,
    collected: &mut Collected,
    spool: &Spool,
    progress: ProgressFn<'_>,
) -> Result<(), CopyError> {
    let failed = |error: std::io::Error| ImportError::from(spool.failed(&error));
    let (mut at, mut done) = (collected.last, collected.count);
    loop {
        progress(VerificationProgress { done, total: end.count });
        let page = from.chained_events(at, end.position, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        at = last.event.position;
        done += page.len() as u64;
        let mut lines = String::new();
        for chained in &page {
            lines.push_str(&cloud_event::render(chained, end.log_id, false));
            lines.push('\n');
        }
        collected.file.write_all(lines.as_bytes()).map_err(failed)?;
        fail::fail_point!("store::copy::page", |_| std::process::abort());
    }
}

/// Imports what was collected, and compares it with the source.
async fn install(
    spool: &Spool,
    directory: &Path,
    now: Timestamp,
    end: &Checkpoint,
) -> Result<Checkpoint, CopyError> {
    let read = File::open(&spool.0).map_err(|error| ImportError::from(spool.failed(&error)))?;
    let copied = import(BufReader::new(read), directory, now).await?;
    if (copied.count, copied.digest) != (end.count, end.digest) {
        return Err(CopyError::Different(copied.count));
    }
    Ok(copied)
}

/// Keeps every process from serving a directory whose log is copied elsewhere.
pub struct SourceLock {
    directory: PathBuf,
    _lock: Lock,
}

impl SourceLock {
    /// Locks `directory` until this is dropped.
    ///
    /// # Errors
    /// [`OpenError::Locked`]: a process serves it; else any [`OpenError`].
    pub fn take(directory: &Path) -> Result<Self, OpenError> {
        Ok(Self { directory: directory.to_owned(), _lock: Lock::take(directory)? })
    }

    /// The log was moved elsewhere: a process that serves this directory later changes nothing on any backend.
    ///
    /// # Errors
    /// [`OpenError::Io`].
    pub fn moved(&self) -> Result<(), OpenError> {
        RestoreHoldFile::new(&self.directory).set(Mark::OfLog)
    }
}
