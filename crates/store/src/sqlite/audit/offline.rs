//! Opens a store's files read-only, whether or not a server has them open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use stateward_domain::time::Clock;

use super::Auditor;
use super::file_source::FileSource;
use crate::audit::Identity;
use crate::sqlite::error::{OpenError, RESTORE, SqliteErrorClass, classify, message};
use crate::sqlite::files::database::{APPLICATION_ID, stored_identity};

const BUSY: Duration = Duration::from_secs(5);
/// One streams the log while another runs a query in between.
const CONNECTIONS: u32 = 2;

impl Auditor {
    /// Opens the store in `directory` for an audit, without changing it; a server may have it open.
    ///
    /// # Errors
    /// [`OpenError::Missing`] when there is no log; else any [`OpenError`].
    pub async fn offline(directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Ok(Self::new(
            open_files(&directory.join("events.db"), &directory.join("views.db")).await?,
            clock,
        ))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.files.log.close().await;
        if let Some(views) = &self.files.views {
            views.close().await;
        }
    }
}

/// Opens a log and its views read-only; the views may be missing.
pub(in crate::sqlite) async fn open_files(
    log: &Path,
    views: &Path,
) -> Result<FileSource, OpenError> {
    if !log.exists() {
        return Err(OpenError::Missing(log.to_owned()));
    }
    let pool = reader(log).await?;
    let failed = |error: sqlx::Error| OpenError::from_sqlx(log.to_owned(), &error, RESTORE);
    let row: Result<(i64, String), _> =
        sqlx::query_as("SELECT epoch, log_id FROM log").fetch_one(&pool).await;
    let (epoch, log_id) = row.map_err(|error| match classify(&error) {
        SqliteErrorClass::Other => OpenError::Damaged {
            path: log.to_owned(),
            message: message(&error),
            advice: "start `stateward serve` with it once: an older version wrote it",
        },
        _ => failed(error),
    })?;
    let (log_id, epoch) = stored_identity(log, &log_id, epoch)?;
    let identity = Identity { log_id, epoch, dense: true };
    let views = if views.exists() { Some(reader(views).await?) } else { None };
    Ok(FileSource::new(identity, log.parent().unwrap_or(log), pool, views))
}

/// A pool of read-only connections. On a read-only medium, which cannot hold a write-ahead log either, the file is
/// opened as immutable.
async fn reader(path: &Path) -> Result<SqlitePool, OpenError> {
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, RESTORE);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    let mut pool =
        PoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(options.clone());
    let mut id = application_id(&pool).await;
    if id.as_ref().is_err_and(|error| classify(error) == SqliteErrorClass::ReadOnly)
        && !wal(path).exists()
    {
        let options = options.immutable(true);
        pool = PoolOptions::new().max_connections(CONNECTIONS).connect_lazy_with(options);
        id = application_id(&pool).await;
    }
    if id.map_err(failed)? != APPLICATION_ID {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    Ok(pool)
}

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

async fn application_id(pool: &SqlitePool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT application_id FROM pragma_application_id").fetch_one(pool).await
}
