//! Installs files into a store's directory: all of them or none, with the restore hold set before they are in place.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::{Connection, SqliteConnection};
use stateward_domain::time::Timestamp;

use crate::sqlite::error::{OpenError, RESTORE};
use crate::sqlite::files::database::{create_directory, fresh_epoch};
use crate::sqlite::files::lock::Lock;
use crate::sqlite::files::restore_hold::{Mark, RestoreHoldFile, sync_directory};
use crate::sqlite::files::stale_views::{self, remove_if_present};

/// Suffix of a file that is not complete.
const STAGING_SUFFIX: &str = "incoming";

/// Files staged in a directory. They take effect at [`commit`](Self::commit); dropping it before restores the
/// directory.
pub(in crate::sqlite) struct StagedInstall {
    directory: PathBuf,
    /// Whether the directory was created for this.
    made: bool,
    files: Vec<&'static str>,
    committed: bool,
    lock: Lock,
}

impl StagedInstall {
    /// Locks the directory.
    pub(in crate::sqlite) fn begin(directory: &Path) -> Result<Self, OpenError> {
        let made = !directory.exists();
        create_directory(directory)?;
        let lock = Lock::take(directory)?;
        let (directory, files) = (directory.to_owned(), Vec::new());
        Ok(Self { directory, made, files, committed: false, lock })
    }

    /// The path that the file `name` has to be written to; leftovers of an earlier try are removed.
    pub(in crate::sqlite) fn stage(&mut self, name: &'static str) -> PathBuf {
        self.files.push(name);
        self.discard(name);
        self.staging_path(name)
    }

    /// Puts the staged files in place, durably and with the restore hold set. Existing views are moved aside: their
    /// log is replaced.
    pub(in crate::sqlite) fn commit(mut self, now: Timestamp) -> Result<(), OpenError> {
        RestoreHoldFile::new(&self.directory).set(Mark::OfEpoch)?;
        // The recorded head is of the log that was here before.
        self.lock.clear()?;
        let failed = |error: std::io::Error| OpenError::from_io(&self.directory, &error);
        stale_views::move_aside(&self.directory, now, fresh_epoch()).map_err(failed)?;
        for name in ["events.db-wal", "events.db-shm"] {
            remove_if_present(&self.directory.join(name)).map_err(failed)?;
        }
        for name in &self.files {
            let from = self.staging_path(name);
            File::open(&from).and_then(|file| file.sync_all()).map_err(failed)?;
            std::fs::rename(&from, self.directory.join(name)).map_err(failed)?;
        }
        sync_directory(&self.directory).map_err(failed)?;
        self.committed = true;
        Ok(())
    }

    fn staging_path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{STAGING_SUFFIX}"))
    }

    fn discard(&self, name: &str) {
        let path = self.staging_path(name);
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = path.as_os_str().to_owned();
            path.push(end);
            // A leftover that cannot be removed makes the next try fail with an error.
            let _ = remove_if_present(Path::new(&path));
        }
    }
}

impl Drop for StagedInstall {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        for name in &self.files {
            self.discard(name);
        }
        if self.made {
            // A directory that contains other files stays.
            let _ = remove_if_present(&self.directory.join("lock"));
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

/// Writes a consistent copy of a database to `to`, which must not exist; readable by its owner alone.
pub(in crate::sqlite) async fn copy_database(
    from: &mut SqliteConnection,
    to: &Path,
) -> Result<(), OpenError> {
    // Created here and not by SQLite, because its files would be readable by everybody; it accepts an empty file.
    let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(to);
    made.map_err(|error| OpenError::from_io(to, &error))?;
    let failed = |error: sqlx::Error| OpenError::from_sqlx(to.to_owned(), &error, RESTORE);
    let copied = sqlx::query("VACUUM INTO ?").bind(to.display().to_string()).execute(from).await;
    copied.map_err(failed)?;
    File::open(to).and_then(|file| file.sync_all()).map_err(|error| OpenError::from_io(to, &error))
}

/// Closes a connection before its file is handed on.
pub(in crate::sqlite) async fn close_connection(
    connection: SqliteConnection,
    path: &Path,
) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, RESTORE);
    connection.close().await.map_err(failed)
}
