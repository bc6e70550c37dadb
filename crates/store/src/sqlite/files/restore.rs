//! Restores a backup: the same log in a new epoch, with the restore hold set.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};
use stateward_domain::time::Clock;

use crate::audit::Chains;
use crate::sqlite::Auditor;
use crate::sqlite::audit::offline;
use crate::sqlite::error::{OpenError, RESTORE};
use crate::sqlite::files::database::fresh_epoch;
use crate::sqlite::files::install::{StagedInstall, close_connection, copy_database};

/// Columns of `views.db` that hold positions.
const POSITIONS: [&str; 4] = [
    "UPDATE checkpoints SET position = ?1 || substr(position, 9) WHERE substr(position, 1, 8) = ?2",
    "UPDATE quarantine SET position = ?1 || substr(position, 9) WHERE substr(position, 1, 8) = ?2",
    "UPDATE sync_queue SET position = ?1 || substr(position, 9) WHERE substr(position, 1, 8) = ?2",
    "UPDATE sync_leases SET seen = ?1 || substr(seen, 9) WHERE substr(seen, 1, 8) = ?2",
];

/// Restores the backup in `from` into `data`, which must hold no log. The restored log begins a new epoch, because
/// the original may have gone on after the backup: positions of the two must not be confused. Returns the verified
/// chains.
///
/// # Errors
/// [`OpenError::Occupied`] when `data` holds a log, [`OpenError::Missing`] when `from` holds none, else any
/// [`OpenError`]; then nothing was changed.
pub async fn restore(from: &Path, data: &Path, clock: Arc<dyn Clock>) -> Result<Chains, OpenError> {
    let files = offline::open_files(&from.join("events.db"), &from.join("views.db")).await?;
    let log = data.join("events.db");
    if log.symlink_metadata().is_ok() {
        return Err(OpenError::Occupied(log));
    }
    let mut install = StagedInstall::begin(data)?;
    let failed = |error: sqlx::Error| OpenError::from_sqlx(from.to_owned(), &error, RESTORE);
    let epoch = fresh_epoch();
    if let Some(views) = &files.views {
        let path = install.stage("views.db");
        copy_database(&mut *views.acquire().await.map_err(failed)?, &path).await?;
        let mut copied = writable(&path).await?;
        for statement in POSITIONS {
            sqlx::query(statement)
                .bind(format!("{epoch:08x}"))
                .bind(format!("{:08x}", files.identity.epoch))
                .execute(&mut copied)
                .await
                .map_err(failed)?;
        }
        close_connection(copied, &path).await?;
    }
    let path = install.stage("events.db");
    copy_database(&mut *files.log.acquire().await.map_err(failed)?, &path).await?;
    let mut copied = writable(&path).await?;
    sqlx::query("UPDATE log SET epoch = ?")
        .bind(i64::from(epoch))
        .execute(&mut copied)
        .await
        .map_err(failed)?;
    close_connection(copied, &path).await?;
    install.commit(clock.now())?;
    let auditor = Auditor::offline(data, clock).await?;
    let chains = auditor.chains().await;
    auditor.close().await;
    chains.map_err(|error| OpenError::Io { path: data.to_owned(), message: error.to_string() })
}

async fn writable(path: &Path) -> Result<SqliteConnection, OpenError> {
    let options = SqliteConnectOptions::new().filename(path).disable_statement_logging();
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, RESTORE);
    options.connect().await.map_err(failed)
}
