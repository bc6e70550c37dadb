//! The lock of a data directory, and the log's newest head as it is recorded beside the log.
//!
//! Two locks are held: on the directory itself, which no change of a file in it can undo, and on the file `lock`,
//! which every version locks and which works where directories cannot be locked. The file also records the log's
//! head: a copy of `events.db` alone, restored later, does not carry that along, so a rollback is detected.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use stateward_domain::id::{LogId, Position};

use crate::hex;
use crate::sqlite::error::OpenError;
use crate::sqlite::files::inodes::Inode;

const NAME: &str = "lock";
/// First word of the file; its number is the version of the format.
const FORMAT: &str = "stateward-head-1";
/// Bytes that are read, at most. A record is shorter than that, and than a sector, so that a crash does not tear it.
const BYTES_MAX: u64 = 256;
/// Hexadecimal digits of the record's checksum.
const CHECK_DIGITS: usize = 16;
/// Attempts to lock a directory whose path leads elsewhere by the time it is locked.
const TRIES: usize = 8;

/// The end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sqlite) struct LogHead {
    /// The log's id.
    pub(in crate::sqlite) log_id: LogId,
    /// Position of its last event; always a durable one.
    pub(in crate::sqlite) position: Position,
}

impl LogHead {
    /// The head with the convention of the ports: a log without events is at [`Position::START`], in any epoch.
    pub(in crate::sqlite) fn or_start(self) -> Self {
        let begun = self.position.minor > 0;
        Self { position: if begun { self.position } else { Position::START }, ..self }
    }
}

/// Held while this value lives; the system releases it with the process, even after a crash.
pub(in crate::sqlite) struct Lock {
    path: PathBuf,
    _directory: File,
    file: File,
    /// What was last written to the file.
    written: Option<LogHead>,
}

impl Lock {
    /// Locks `directory`, which must exist.
    ///
    /// # Errors
    /// [`OpenError::Locked`] when another process has it, [`OpenError::Unwritable`], [`OpenError::Io`].
    pub(in crate::sqlite) fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(NAME);
        for _ in 0..TRIES {
            let folder =
                File::open(directory).map_err(|error| OpenError::from_io(directory, &error))?;
            exclusive_where_possible(&folder, directory)?;
            let file = open(&path).map_err(|error| OpenError::from_io(&path, &error))?;
            exclusive(&file, directory)?;
            // The directory or the file may have been replaced between being opened and being locked.
            let same = |file: &File, path: &Path| Inode::of_file(file).ok() == Inode::at(path).ok();
            if same(&folder, directory) && same(&file, &path) {
                return Ok(Self { path, _directory: folder, file, written: None });
            }
        }
        Err(OpenError::Locked(directory.to_owned()))
    }

    /// The recorded head; `None` = there is none, or the record is torn.
    pub(in crate::sqlite) fn recorded_head(&self) -> Option<LogHead> {
        let mut text = String::new();
        let file = File::open(&self.path).ok()?;
        file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
        parse(&text)
    }

    /// Records the log's head without a sync: after a crash the file has this head or an older one. A removed file is
    /// created again; an unchanged head is not rewritten.
    ///
    /// # Errors
    /// [`OpenError::Unwritable`] when the file cannot be written, [`OpenError::Locked`] when another process locked a
    /// file in its place.
    pub(in crate::sqlite) fn write(&mut self, head: LogHead) -> Result<(), OpenError> {
        let failed = |error: std::io::Error| OpenError::from_io(&self.path, &error);
        if Inode::of_file(&self.file).map_err(failed)? != Inode::at(&self.path).unwrap_or_default()
        {
            let made = open(&self.path).map_err(failed)?;
            exclusive(&made, self.path.parent().unwrap_or(&self.path))?;
            (self.file, self.written) = (made, None);
        }
        if self.written != Some(head) {
            let text = render(head);
            self.file.write_all_at(text.as_bytes(), 0).map_err(failed)?;
            self.file.set_len(text.len() as u64).map_err(failed)?;
            self.written = Some(head);
        }
        Ok(())
    }

    /// Syncs the record to the disk.
    ///
    /// # Errors
    /// [`OpenError::Unwritable`].
    pub(in crate::sqlite) fn sync(&self) -> Result<(), OpenError> {
        self.file.sync_all().map_err(|error| OpenError::from_io(&self.path, &error))
    }

    /// Removes the record, durably: another log is about to be installed.
    ///
    /// # Errors
    /// [`OpenError::Unwritable`].
    pub(in crate::sqlite) fn clear(&mut self) -> Result<(), OpenError> {
        self.written = None;
        let forgotten = self.file.set_len(0).and_then(|()| self.file.sync_all());
        forgotten.map_err(|error| OpenError::from_io(&self.path, &error))
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn exclusive(file: &File, directory: &Path) -> Result<(), OpenError> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(OpenError::Locked(directory.to_owned())),
        Err(errno) => Err(OpenError::Io { path: directory.to_owned(), message: errno.to_string() }),
    }
}

/// Network file systems lock only files that are open for writing (flock(2)), which a directory cannot be.
fn exclusive_where_possible(folder: &File, directory: &Path) -> Result<(), OpenError> {
    match exclusive(folder, directory) {
        Err(OpenError::Io { message, .. }) => {
            tracing::debug!(message, "the directory itself cannot be locked, only the file in it");
            Ok(())
        }
        outcome => outcome,
    }
}

fn render(LogHead { log_id, position }: LogHead) -> String {
    let record = format!("{FORMAT} {log_id} {position}");
    format!("{record} {}\n", check(&record))
}

fn parse(text: &str) -> Option<LogHead> {
    let (record, found) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    if found != check(record) {
        return None;
    }
    let (log_id, position) = record.strip_prefix(FORMAT)?.strip_prefix(' ')?.split_once(' ')?;
    Some(LogHead { log_id: log_id.parse().ok()?, position: position.parse().ok()? })
}

fn check(record: &str) -> String {
    let digest = Sha256::digest(record);
    hex::encode(&digest[..CHECK_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(minor: u64) -> LogHead {
        let position = Position { epoch: 7, major: 0, minor };
        LogHead { log_id: LogId(uuid::Uuid::from_u128(9)), position }
    }

    #[test]
    fn a_record_is_read_back_whole_or_not_at_all() {
        let text = render(head(12));
        assert_eq!(parse(&text), Some(head(12)));
        assert!(text.len() < usize::try_from(BYTES_MAX).expect("small"));
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "{end}");
        }
        assert_eq!(parse(&text.replace('c', "d")), None);
        assert_eq!(render(head(u64::MAX)).len(), text.len(), "each is written over the other");
    }

    #[test]
    fn neither_a_removed_file_nor_a_moved_directory_undoes_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let (one, other) = (parent.path().join("one"), parent.path().join("other"));
        std::fs::create_dir(&one).expect("made");
        let lock = Lock::take(&one).expect("free");
        let locked = |path: &Path| matches!(Lock::take(path), Err(OpenError::Locked(_)));
        assert!(locked(&one));
        std::fs::remove_file(one.join(NAME)).expect("removed");
        assert!(locked(&one));
        std::fs::rename(&one, &other).expect("moved");
        assert!(locked(&other));
        drop(lock);
        assert!(!locked(&other));
    }

    #[test]
    fn a_removed_file_is_made_anew_with_what_it_knew() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut lock = Lock::take(folder.path()).expect("free");
        assert_eq!(lock.recorded_head(), None);
        lock.write(head(3)).expect("written");
        std::fs::remove_file(folder.path().join(NAME)).expect("removed");
        lock.write(head(4)).expect("written");
        assert_eq!(lock.recorded_head(), Some(head(4)));
        lock.clear().expect("forgotten");
        assert_eq!(lock.recorded_head(), None);
        // A version that does not lock the directory has locked a new file.
        std::fs::remove_file(folder.path().join(NAME)).expect("removed");
        let other = open(&folder.path().join(NAME)).expect("made");
        exclusive(&other, folder.path()).expect("free");
        assert!(matches!(lock.write(head(5)), Err(OpenError::Locked(_))));
    }
}
