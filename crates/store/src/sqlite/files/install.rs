//! Putting files where a store will be: all of them or none, marked as put back before they count.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sqlx::{Connection, SqliteConnection};
use stateward_domain::time::Timestamp;

use crate::sqlite::error::OpenError;
use crate::sqlite::files::lock::Lock;
use crate::sqlite::files::open::{RESTORE, fresh_epoch, make, unwritable};
use crate::sqlite::files::restore_hold::{Marker, synced};
use crate::sqlite::files::stale_views::{self, gone};

/// What a file is called until it is whole.
const INCOMING: &str = "incoming";

/// A directory in which nothing counts before [`land`](Self::land). Dropped before that, it is as it was.
pub(in crate::sqlite) struct Landing {
    directory: PathBuf,
    /// Whether the directory was made for this.
    made: bool,
    files: Vec<&'static str>,
    landed: bool,
    lock: Lock,
}

impl Landing {
    /// Takes the directory for itself.
    pub(in crate::sqlite) fn begin(directory: &Path) -> Result<Self, OpenError> {
        let made = !directory.exists();
        make(directory)?;
        let lock = Lock::take(directory)?;
        let (directory, files) = (directory.to_owned(), Vec::new());
        Ok(Self { directory, made, files, landed: false, lock })
    }

    /// Where the file called `name` has to be written; what an earlier try left there is gone.
    pub(in crate::sqlite) fn file(&mut self, name: &'static str) -> PathBuf {
        self.files.push(name);
        self.discard(name);
        self.incoming(name)
    }

    /// Makes the files count: durable, and marked as put back. Views that are there are kept aside: their log is gone.
    pub(in crate::sqlite) fn land(mut self, now: Timestamp) -> Result<(), OpenError> {
        Marker::new(&self.directory).set()?;
        // What is known here is known of the log that was here before.
        self.lock.forget()?;
        let failed = |error: std::io::Error| unwritable(&self.directory, &error);
        stale_views::aside(&self.directory, now, fresh_epoch()).map_err(failed)?;
        for name in ["events.db-wal", "events.db-shm"] {
            gone(&self.directory.join(name)).map_err(failed)?;
        }
        for name in &self.files {
            let from = self.incoming(name);
            File::open(&from).and_then(|file| file.sync_all()).map_err(failed)?;
            std::fs::rename(&from, self.directory.join(name)).map_err(failed)?;
        }
        synced(&self.directory).map_err(failed)?;
        self.landed = true;
        Ok(())
    }

    fn incoming(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.{INCOMING}"))
    }

    fn discard(&self, name: &str) {
        let path = self.incoming(name);
        for end in ["", "-wal", "-shm", "-journal"] {
            let mut path = path.as_os_str().to_owned();
            path.push(end);
            // What cannot be removed is in the way of the next try, which says so.
            let _ = gone(Path::new(&path));
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        for name in &self.files {
            self.discard(name);
        }
        if self.made {
            // A directory that somebody put something into stays.
            let _ = gone(&self.directory.join("lock"));
            let _ = std::fs::remove_dir(&self.directory);
        }
    }
}

/// Writes a consistent copy of a database, readable by its owner alone, to `to`, which must not be there.
pub(in crate::sqlite) async fn copy(
    from: &mut SqliteConnection,
    to: &Path,
) -> Result<(), OpenError> {
    // Made here and not by SQLite, because its file would be readable by everybody; an empty one it takes.
    let made = OpenOptions::new().create_new(true).write(true).mode(0o600).open(to);
    made.map_err(|error| unwritable(to, &error))?;
    let failed = |error: sqlx::Error| OpenError::from_sqlx(to.to_owned(), &error, RESTORE);
    let copied = sqlx::query("VACUUM INTO ?").bind(to.display().to_string()).execute(from).await;
    copied.map_err(failed)?;
    File::open(to).and_then(|file| file.sync_all()).map_err(|error| unwritable(to, &error))
}

/// Closes a connection whose file others take over.
pub(in crate::sqlite) async fn close(
    connection: SqliteConnection,
    path: &Path,
) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, RESTORE);
    connection.close().await.map_err(failed)
}
