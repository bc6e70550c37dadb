//! The files of a store as databases: created, checked that they are ours, migrated, opened.

use std::borrow::Cow;
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, SqliteConnection};
use stateward_domain::id::LogId;

use crate::sqlite::error::{OpenError, RESTORE};

/// `application_id` of both files ("STWD"); tells them from databases of other programs.
pub(in crate::sqlite) const APPLICATION_ID: i64 = 0x5354_5744;
/// Size that the write-ahead log is truncated to after a checkpoint.
const WAL_BYTES_MAX: &str = "67108864";
/// Pages of 4 KiB in the write-ahead log before a checkpoint: under load the same pages are written again and again,
/// and each checkpoint costs two syncs.
const CHECKPOINT_PAGES: &str = "4000";
/// Page cache of a writing connection, in KiB and negative (`cache_size` in <https://sqlite.org/pragma.html>). It
/// holds the pages that a large delivery touches, so that none is written before the commit.
const WRITER_CACHE_KIB: &str = "-8192";
/// Prepared statements of a writing connection.
const WRITER_STATEMENTS: usize = 256;
/// Connections that read each file.
const READERS: u32 = 4;
/// Files up to this size are checked whole at the start, which takes less than half a second; larger ones as their
/// pages are read.
const CHECKED_BYTES_MAX: u64 = 256 * 1024 * 1024;
const BUSY: Duration = Duration::from_secs(5);

pub(in crate::sqlite) fn create_directory(directory: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| OpenError::from_io(directory, &error))
}

/// Opens a log's file and migrates it; `log_id` becomes its id if it has none.
pub(in crate::sqlite) async fn log_file(
    path: &Path,
    synchronous: SqliteSynchronous,
    log_id: LogId,
) -> Result<SqliteConnection, OpenError> {
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, RESTORE);
    let mut connection = connect(path, synchronous, RESTORE).await?;
    migrator().run_direct(None, &mut connection, false).await.map_err(|error| match error {
        sqlx::migrate::MigrateError::Execute(error)
        | sqlx::migrate::MigrateError::ExecuteMigration(error, _) => failed(error),
        other => OpenError::Damaged {
            path: path.to_owned(),
            message: other.to_string(),
            advice: "use the version of stateward that wrote it, or a newer one",
        },
    })?;
    let begin = "INSERT INTO log (only, epoch, log_id, objects_claimed) VALUES (1, ?, ?, 1) \
                 ON CONFLICT DO NOTHING";
    sqlx::query(begin)
        .bind(i64::from(fresh_epoch()))
        .bind(log_id.to_string())
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    Ok(connection)
}

#[expect(clippy::disallowed_methods, reason = "names a database; nothing is decided by it")]
pub(in crate::sqlite) fn fresh_id() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

/// A random number that identifies one epoch of a database.
pub(in crate::sqlite) fn fresh_epoch() -> u32 {
    let [a, b, c, d, ..] = *fresh_id().as_bytes();
    u32::from_be_bytes([a, b, c, d]).max(1)
}

fn migrator() -> Migrator {
    let step = |number, name, text: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(number, Cow::Borrowed(name), kind, text.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        step(1, "events", include_str!("../../../../../migrations/sqlite/0001_events.sql")),
        step(2, "log_id", include_str!("../../../../../migrations/sqlite/0002_log_id.sql")),
        step(
            3,
            "claims_by_age",
            include_str!("../../../../../migrations/sqlite/0003_claims_by_age.sql"),
        ),
        step(
            4,
            "objects_claimed",
            include_str!("../../../../../migrations/sqlite/0004_objects_claimed.sql"),
        ),
        step(5, "time_floor", include_str!("../../../../../migrations/sqlite/0005_time_floor.sql")),
    ])
}

/// Opens one file for writing, after a check that it is ours.
pub(in crate::sqlite) async fn connect(
    path: &Path,
    synchronous: SqliteSynchronous,
    advice: &'static str,
) -> Result<SqliteConnection, OpenError> {
    // Created here and not by SQLite, because its files would be readable by everybody.
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map_err(|error| OpenError::from_io(path, &error))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .disable_statement_logging()
        .statement_cache_capacity(WRITER_STATEMENTS)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", WRITER_CACHE_KIB)
        .pragma("journal_size_limit", WAL_BYTES_MAX);
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, advice);
    // No journal mode yet: setting it writes, and a foreign file must not be changed.
    let mut connection = options.clone().connect().await.map_err(failed)?;
    let marks =
        "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id";
    let (id, tables): (i64, i64) =
        sqlx::query_as(marks).fetch_one(&mut connection).await.map_err(failed)?;
    let ours = id == APPLICATION_ID || (id == 0 && tables == 0);
    connection.close().await.map_err(failed)?;
    if !ours {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(synchronous);
    let mut connection = options.connect().await.map_err(failed)?;
    check_pages(path, &mut connection, advice).await?;
    let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
    sqlx::query(sqlx::AssertSqlSafe(mark)).execute(&mut connection).await.map_err(failed)?;
    Ok(connection)
}

/// Runs `SQLite`'s quick check.
async fn check_pages(
    path: &Path,
    connection: &mut SqliteConnection,
    advice: &'static str,
) -> Result<(), OpenError> {
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes > CHECKED_BYTES_MAX {
        return Ok(());
    }
    let path = path.to_owned();
    let found =
        sqlx::query_scalar::<_, String>("PRAGMA quick_check(1)").fetch_one(connection).await;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(message) => Err(OpenError::Damaged { path, message: one_line(&message), advice }),
        Err(error) => Err(OpenError::from_sqlx(path, &error, advice)),
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(in crate::sqlite) fn readers(path: &Path) -> SqlitePool {
    let path: PathBuf = path.to_owned();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    // A local file does not disconnect as a server does: a test before each use would double the round trips to the
    // connection's thread. Connections stay open, with the priority of the process that opened the store.
    let pool = PoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    pool.connect_lazy_with(options)
}

/// Opens all connections of a pool now: else the first reader would, and they would inherit its priority.
pub(in crate::sqlite) async fn open_all(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut opened = Vec::new();
    for _ in 0..READERS {
        opened.push(pool.acquire().await?);
    }
    Ok(())
}

/// The log's id and epoch, as its file at `path` has them. A damaged one must not open: under another epoch it would give
/// positions out again.
pub(in crate::sqlite) fn stored_identity(
    path: &Path,
    log_id: &str,
    epoch: i64,
) -> Result<(LogId, u32), OpenError> {
    let damaged = |column: &str| OpenError::Damaged {
        path: path.to_owned(),
        message: format!("log.{column} cannot be read"),
        advice: RESTORE,
    };
    let epoch = u32::try_from(epoch).ok().filter(|epoch| *epoch > 0);
    let log_id = log_id.parse().map_err(|_| damaged("log_id"))?;
    Ok((log_id, epoch.ok_or_else(|| damaged("epoch"))?))
}
