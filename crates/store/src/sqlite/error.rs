//! Faults of the embedded store, told apart by what a person or the process has to do about them.

use std::path::PathBuf;

/// Why the embedded store could not be opened: one line, fit for the person at the terminal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it.
    #[error("another stateward serves {} already", .0.display())]
    Locked(PathBuf),
    /// The directory or a file in it cannot be made or written.
    #[error("{} is not writable: {message}", path.display())]
    Unwritable {
        /// What cannot be written.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The file is a database of something else.
    #[error("{} is not a database of stateward; nothing was changed", .0.display())]
    Foreign(PathBuf),
    /// The file is no database, or a broken one.
    #[error("{} is damaged: {message}; {advice}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was met.
        message: String,
        /// What helps.
        advice: &'static str,
    },
    /// There is no log where one is to be looked at.
    #[error("there is no log {}", .0.display())]
    Missing(PathBuf),
    /// There is something where a copy is to be put.
    #[error("{} is there already; nothing was changed", .0.display())]
    Occupied(PathBuf),
    /// No room left.
    #[error("the disk that holds {} is full", .0.display())]
    Full(PathBuf),
    /// Everything else.
    #[error("{} cannot be opened: {message}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
}

/// Class of a database error, from `SQLite`'s primary result code (sqlite.org/rescode.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SqliteErrorClass {
    /// Somebody else writes; passes.
    Busy,
    /// The file cannot be written.
    ReadOnly,
    /// No room.
    Full,
    /// The disk failed: what was written is not known.
    Io,
    /// The file is broken.
    Damaged,
    /// The statement was refused or is wrong.
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

/// The innermost text: sqlx repeats itself on the way out.
pub(super) fn message(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}
