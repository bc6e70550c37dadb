//! The mark of a store that was put back: a restored, imported or copied log must not act on any backend before a
//! person has looked.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use stateward_domain::ports::audit::PutBack;
use stateward_domain::ports::event_store::ReadError;

use super::error::OpenError;
use super::open::unwritable;

/// A file in the store's directory; while it is there, nothing is changed on any backend.
pub struct Marker {
    directory: PathBuf,
}

impl Marker {
    const NAME: &'static str = "put-back";

    pub(super) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(Self::NAME)
    }

    pub(super) fn is_set(&self) -> bool {
        self.path().exists()
    }

    /// Sets the mark; it is durable afterwards.
    pub(super) fn set(&self) -> Result<(), OpenError> {
        let path = self.path();
        let made = File::create(&path).and_then(|file| file.sync_all());
        made.and_then(|()| synced(&self.directory)).map_err(|error| unwritable(&path, &error))
    }

    /// Takes the mark away; it is gone for good afterwards.
    pub(super) fn unset(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.path()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => synced(&self.directory),
        }
    }
}

/// Makes names in `directory` durable.
pub(super) fn synced(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

#[async_trait]
impl PutBack for Marker {
    async fn clear(&self) -> Result<(), ReadError> {
        let failed = |error| ReadError::Unavailable(format!("{}: {error}", self.path().display()));
        self.unset().map_err(failed)
    }
}
