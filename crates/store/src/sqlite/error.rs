//! Errors of the embedded store, classified by what a person or the process has to do about them.

use std::path::{Path, PathBuf};

use stateward_domain::ports::store_error::StoreError;

use crate::sql_value::inconsistency;

/// Advice for a damaged log.
pub(super) const RESTORE: &str = "restore it from a backup";
/// Advice for damaged views.
pub(super) const DELETE: &str = "delete it: it is rebuilt from the log";

/// Why the embedded store could not be opened: one line for the terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("another stateward serves {} already", .0.display())]
    Locked(PathBuf),
    /// The directory or a file in it cannot be created or written.
    #[error("{} is not writable: {message}", path.display())]
    Unwritable {
        /// What cannot be written.
        path: PathBuf,
        /// The system's error.
        message: String,
    },
    /// The file is a database of another program.
    #[error("{} is not a database of stateward; nothing was changed", .0.display())]
    Foreign(PathBuf),
    /// The file is not a database, or is damaged.
    #[error("{} is damaged: {message}; {advice}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        message: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// There is no log to read.
    #[error("there is no log {}", .0.display())]
    Missing(PathBuf),
    /// The destination of a copy exists.
    #[error("{} is there already; nothing was changed", .0.display())]
    Occupied(PathBuf),
    /// The disk is full.
    #[error("the disk that holds {} is full", .0.display())]
    Full(PathBuf),
    /// Everything else.
    #[error("{} cannot be opened: {message}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's error.
        message: String,
    },
}

/// Class of a database error, from `SQLite`'s primary result code (sqlite.org/rescode.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SqliteErrorClass {
    /// Another process writes; transient.
    Busy,
    /// The file cannot be written.
    ReadOnly,
    /// The disk is full.
    Full,
    /// The disk failed: it is unknown what was written.
    Io,
    /// The file is damaged.
    Damaged,
    /// The statement was rejected, or is wrong.
    Other,
}

pub(super) fn classify(error: &sqlx::Error) -> SqliteErrorClass {
    if matches!(error, sqlx::Error::WorkerCrashed | sqlx::Error::Io(_)) {
        return SqliteErrorClass::Io;
    }
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let code: i32 = code.and_then(|code| code.parse().ok()).unwrap_or(1);
    match code & 0xff {
        5 | 6 => SqliteErrorClass::Busy,
        8 | 14 => SqliteErrorClass::ReadOnly,
        13 => SqliteErrorClass::Full,
        10 => SqliteErrorClass::Io,
        11 | 26 => SqliteErrorClass::Damaged,
        _ => SqliteErrorClass::Other,
    }
}

impl OpenError {
    /// The error for a path that cannot be written.
    pub(super) fn from_io(path: &Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull => Self::Full(path.to_owned()),
            _ => Self::Unwritable { path: path.to_owned(), message: error.to_string() },
        }
    }

    pub(super) fn from_sqlx(path: PathBuf, error: &sqlx::Error, advice: &'static str) -> Self {
        let message = message(error);
        match classify(error) {
            SqliteErrorClass::Busy => Self::Locked(path),
            SqliteErrorClass::ReadOnly => Self::Unwritable { path, message },
            SqliteErrorClass::Full => Self::Full(path),
            SqliteErrorClass::Damaged => Self::Damaged { path, message, advice },
            SqliteErrorClass::Io | SqliteErrorClass::Other => Self::Io { path, message },
        }
    }
}

/// The innermost message: sqlx repeats it in every wrapper.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}

/// The error of a call that only read, or whose transaction was not committed.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    inconsistency(error).unwrap_or_else(|error| match classify(&error) {
        SqliteErrorClass::Damaged => StoreError::inconsistent(("", ""), "", message(&error)),
        _ => StoreError::unavailable(message(&error)),
    })
}
