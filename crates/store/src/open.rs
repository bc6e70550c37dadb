//! Opens the store that a URL names: who uses it names no adapter.

use std::path::{Path, PathBuf};

use stateward_domain::time::LogClock;
use tokio::runtime::Handle;

use crate::opened::Opened;
use crate::{postgres, sqlite};

/// Where a store is.
#[derive(Clone, Debug)]
pub enum Location {
    /// The embedded store in this directory.
    Directory(PathBuf),
    /// A database that several processes share.
    Database(Box<postgres::Settings>),
}

/// A URL that names no store, in one line without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLocation {
    /// No adapter has this scheme; empty for a text without one.
    #[error(
        "store.url: {0:?} is no kind of store: use sqlite:DIRECTORY or postgres://USER@HOST/DATABASE"
    )]
    UnknownScheme(String),
    /// It is of PostgreSQL, but names no database.
    #[error(transparent)]
    Database(#[from] postgres::BadUrl),
}

/// Why a store cannot be opened, in one line for the terminal.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded one.
    #[error(transparent)]
    Directory(#[from] sqlite::OpenError),
    /// One on PostgreSQL.
    #[error(transparent)]
    Database(#[from] postgres::OpenError),
}

impl Location {
    /// The location that `url` names. Nothing is connected to.
    ///
    /// # Errors
    /// [`BadLocation`].
    pub fn of(url: &str) -> Result<Self, BadLocation> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            return Ok(Self::Directory(PathBuf::from(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Database(Box::new(postgres::Settings::of(url.parse()?))));
        }
        // The rest may hold a password.
        let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
        Err(BadLocation::UnknownScheme(scheme.to_owned()))
    }

    /// The directory that holds the store; `None` = it is on a server.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Database(_) => None,
        }
    }
}

/// Opens the store at `location`. An embedded one is created when it is missing; a database has to be migrated before.
/// `clock` continues from the newest time in the log; what can be derived from an embedded log is written with the
/// thread priority of `background`.
///
/// # Errors
/// [`OpenError`]; then nothing that existed was changed.
pub async fn open(
    location: &Location,
    clock: LogClock,
    background: &Handle,
) -> Result<Opened, OpenError> {
    match location {
        Location::Directory(directory) => {
            Ok(sqlite::Store::open_beside(directory, clock, background).await?.opened())
        }
        Location::Database(settings) => Ok(postgres::open(settings, clock).await?),
    }
}
