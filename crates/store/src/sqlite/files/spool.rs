//! The file beside a directory in which a copy of a log collects the events of its source, so that a copy that broke off
//! goes on where it was.
//!
//! Invariant: only whole lines of the log that is copied are kept, from its first event on. The import verifies all of
//! them again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use stateward_domain::audit::Checkpoint;
use stateward_domain::cloud_event;
use stateward_domain::id::Position;
use stateward_domain::ports::audit::{Auditor, ChainedEvent};
use stateward_domain::ports::event_store::ReadError;

use crate::sqlite::error::OpenError;

/// The path of the file.
pub(super) struct Spool(pub(super) PathBuf);

/// The file, locked, and positioned behind the events that are there.
pub(super) struct Collected {
    pub(super) file: File,
    /// Number of events.
    pub(super) count: u64,
    /// The source's position of the last one.
    pub(super) last: Position,
}

/// The whole lines of a file.
#[derive(Default)]
struct Lines {
    count: u64,
    bytes: u64,
    last: Vec<u8>,
}

impl Spool {
    pub(super) fn beside(directory: &Path) -> Self {
        let mut name = directory.as_os_str().to_owned();
        name.push(".copy");
        Self(PathBuf::from(name))
    }

    /// What an earlier copy of the same log collected, which ends at `end`; else nothing. No other process may collect
    /// into the file until the result is dropped.
    ///
    /// # Errors
    /// The inner one when the file cannot be used; [`ReadError`] of the source.
    pub(super) async fn collected(
        &self,
        from: &dyn Auditor,
        end: &Checkpoint,
    ) -> Result<Result<Collected, OpenError>, ReadError> {
        let (mut file, lines) = match self.read() {
            Ok(read) => read,
            Err(error) => return Ok(Err(error)),
        };
        let mut collected = (0, 0, Position::START);
        if let Some(last) = last_event(&lines.last, end)
            && is_in_source(from, &last, end).await?
        {
            let last = Position { minor: last.event.position.minor, ..end.position };
            collected = (lines.count, lines.bytes, last);
        }
        let (count, bytes, last) = collected;
        let cut = file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0)));
        Ok(cut.map(|_| Collected { file, count, last }).map_err(|error| self.failed(&error)))
    }

    /// Deletes the file: what it has is in place, or of no use.
    pub(super) fn remove(&self) {
        // Its events are in the source.
        let _ = std::fs::remove_file(&self.0);
    }

    pub(super) fn failed(&self, error: &std::io::Error) -> OpenError {
        OpenError::from_io(&self.0, error)
    }

    /// The file, locked, and its lines.
    fn read(&self) -> Result<(File, Lines), OpenError> {
        let failed = |error: std::io::Error| self.failed(&error);
        let mut open = OpenOptions::new();
        open.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = open.open(&self.0).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked(self.0.clone())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let lines = lines(&mut BufReader::new(&file)).map_err(failed)?;
        Ok((file, lines))
    }
}

/// Reads to the end. A line that was cut off is left out.
fn lines(from: &mut impl BufRead) -> std::io::Result<Lines> {
    let (mut lines, mut line) = (Lines::default(), Vec::new());
    loop {
        line.clear();
        from.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(lines);
        }
        lines.count += 1;
        lines.bytes += line.len() as u64 + 1;
        std::mem::swap(&mut lines.last, &mut line);
    }
}

/// The event of a line; `None` = there is none, or it is of another log.
fn last_event(line: &[u8], end: &Checkpoint) -> Option<ChainedEvent> {
    let parsed = cloud_event::parse(std::str::from_utf8(line).ok()?).ok()?;
    Some(parsed).filter(|parsed| parsed.log_id == end.log_id).map(|parsed| parsed.chained)
}

/// Whether the source has this event at its position.
async fn is_in_source(
    from: &dyn Auditor,
    collected: &ChainedEvent,
    end: &Checkpoint,
) -> Result<bool, ReadError> {
    let minor = collected.event.position.minor;
    if minor == 0 || minor > end.position.minor {
        return Ok(false);
    }
    let at = Position { minor, ..end.position };
    let before = match minor - 1 {
        0 => Position::START,
        minor => Position { minor, ..end.position },
    };
    let found = from.chained_events(before, at, 1).await?;
    Ok(found.first().is_some_and(|found| {
        found.event.id == collected.event.id && found.event.hash == collected.event.hash
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_kept() {
        for (text, count, bytes, last) in [
            ("", 0, 0, ""),
            ("a", 0, 0, ""),
            ("a\n", 1, 2, "a"),
            ("a\nbc\nd", 2, 5, "bc"),
            ("a\n\n", 2, 3, ""),
        ] {
            let found = lines(&mut text.as_bytes()).unwrap();
            let found = (found.count, found.bytes, String::from_utf8(found.last).unwrap());
            assert_eq!(found, (count, bytes, last.to_owned()), "{text:?}");
        }
    }
}
