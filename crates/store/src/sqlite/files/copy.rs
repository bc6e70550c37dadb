//! Copies the log of another store into a directory, and locks a directory whose log is copied elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use stateward_domain::audit::{Checkpoint, VerificationProgress};
use stateward_domain::cloud_event;
use stateward_domain::id::Position;
use stateward_domain::ports::audit::{Auditor, ProgressFn};
use stateward_domain::ports::event_store::ReadError;
use stateward_domain::time::Timestamp;

use super::import::{ImportError, import};
use super::lock::Lock;
use super::restore_hold::{Mark, RestoreHoldFile};
use crate::sqlite::error::OpenError;

/// Events of a page.
const PAGE: usize = 1_000;

/// Why a log was not copied; then the directory is as it was.
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
/// of an export beside the directory.
///
/// # Errors
/// [`CopyError`] in one line; then nothing was changed.
pub async fn copy(
    from: &dyn Auditor,
    directory: &Path,
    now: Timestamp,
    progress: ProgressFn<'_>,
) -> Result<Checkpoint, CopyError> {
    let end = from.checkpoint().await?;
    let spool = Spool::beside(directory);
    let failed = |error: std::io::Error| ImportError::from(OpenError::from_io(&spool.0, &error));
    let mut lines = BufWriter::new(spool.open()?);
    let (mut at, mut done) = (Position::START, 0);
    loop {
        progress(VerificationProgress { done, total: end.count });
        let page = from.chained_events(at, end.position, PAGE).await?;
        let Some(last) = page.last() else { break };
        at = last.event.position;
        done += page.len() as u64;
        for chained in &page {
            let line = cloud_event::render(chained, end.log_id, false);
            writeln!(lines, "{line}").map_err(failed)?;
        }
    }
    lines.into_inner().map_err(|error| failed(error.into_error()))?;
    let read = File::open(&spool.0).map_err(failed)?;
    let copied = import(BufReader::new(read), directory, now).await?;
    if (copied.count, copied.digest) != (end.count, end.digest) {
        return Err(CopyError::Different(copied.count));
    }
    Ok(copied)
}

/// A file with the events, deleted with this.
struct Spool(PathBuf);

impl Spool {
    fn beside(directory: &Path) -> Self {
        let mut name = directory.as_os_str().to_owned();
        name.push(".copy");
        Self(PathBuf::from(name))
    }

    /// Empty. One that a killed copy left is overwritten.
    fn open(&self) -> Result<File, ImportError> {
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.0);
        file.map_err(|error| OpenError::from_io(&self.0, &error).into())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Its events are in the source.
        let _ = std::fs::remove_file(&self.0);
    }
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
