//! A consistent copy of a store, even while a server has it open.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqlitePool;
use stateward_domain::time::Clock;

use crate::audit::Chains;
use crate::sqlite::audit::offline;
use crate::sqlite::error::{OpenError, RESTORE};
use crate::sqlite::files::install::copy_database;
use crate::sqlite::files::restore_hold::sync_directory;
use crate::sqlite::{Auditor, audit};

/// Suffix of a file that is not complete: a killed backup has no `events.db`, so it cannot be taken for a whole one.
const PARTIAL: &str = "partial";

/// Copies the store in `data` to the new directory `to`: the views unless `log_only`, then the log, so that the views
/// are never ahead of it. Nothing else is copied, tokens in particular. Returns the verified chains of the copy.
///
/// # Errors
/// [`OpenError::Occupied`] when `to` exists, [`OpenError::Missing`] when there is no log, else any [`OpenError`];
/// then `to` does not exist.
pub async fn backup(
    data: &Path,
    to: &Path,
    log_only: bool,
    clock: Arc<dyn Clock>,
) -> Result<Chains, OpenError> {
    let files = offline::open_files(&data.join("events.db"), &data.join("views.db")).await?;
    if to.symlink_metadata().is_ok() {
        return Err(OpenError::Occupied(to.to_owned()));
    }
    DirBuilder::new().mode(0o700).create(to).map_err(|error| OpenError::from_io(to, &error))?;
    let copied = copy_files(&files, to, log_only, clock).await;
    if copied.is_err() {
        // It was created above, and holds nothing else.
        let _ = std::fs::remove_dir_all(to);
    }
    copied
}

async fn copy_files(
    files: &audit::file_source::FileSource,
    to: &Path,
    log_only: bool,
    clock: Arc<dyn Clock>,
) -> Result<Chains, OpenError> {
    if let Some(views) = files.views.as_ref().filter(|_| !log_only) {
        copy_file(views, to, "views.db").await?;
    }
    copy_file(&files.log, to, "events.db").await?;
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let names =
        sync_directory(to).and_then(|()| sync_directory(parent.unwrap_or_else(|| Path::new("."))));
    names.map_err(|error| OpenError::from_io(to, &error))?;
    let auditor = Auditor::offline(to, clock).await?;
    let chains = auditor.chains().await;
    auditor.close().await;
    chains.map_err(|error| OpenError::Io { path: to.to_owned(), message: error.to_string() })
}

async fn copy_file(from: &SqlitePool, to: &Path, name: &str) -> Result<(), OpenError> {
    let path = to.join(name);
    let partial = to.join(format!("{name}.{PARTIAL}"));
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.clone(), &error, RESTORE);
    let mut connection = from.acquire().await.map_err(failed)?;
    copy_database(&mut connection, &partial).await?;
    std::fs::rename(&partial, &path).map_err(|error| OpenError::from_io(&path, &error))
}
