//! Opens the store that a URL names: who uses it names no adapter.

use std::path::{Path, PathBuf};

use stateward_domain::time::LogClock;
use tokio::runtime::Handle;

use crate::opened::Opened;
use crate::sqlite;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The embedded store in this directory.
    Directory(PathBuf),
}

impl Location {
    /// The location that `url` names; `None` for a scheme without an adapter.
    #[must_use]
    pub fn of(url: &str) -> Option<Self> {
        url.strip_prefix("sqlite:").map(|path| Self::Directory(PathBuf::from(path)))
    }

    /// The directory for the files of this process that belong to the store.
    #[must_use]
    pub fn directory(&self) -> &Path {
        let Self::Directory(directory) = self;
        directory
    }
}

/// Opens the store at `location`; creates what is missing. `clock` continues from the newest time in the log; what can
/// be derived from the log is written with the thread priority of `background`.
///
/// # Errors
/// One line for the terminal; then nothing that existed was changed.
pub async fn open(
    location: &Location,
    clock: LogClock,
    background: &Handle,
) -> Result<Opened, sqlite::OpenError> {
    match location {
        Location::Directory(directory) => {
            Ok(sqlite::Store::open_beside(directory, clock, background).await?.opened())
        }
    }
}
