//! Opening: the directory, its lock, and the two files with their marks.

use std::borrow::Cow;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FlockOperation;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlSafeStr, SqliteConnection};
use stateward_domain::id::LogId;
use stateward_domain::time::Clock;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::audit::source::Files;
use super::derived::Derived;
use super::error::OpenError;
use super::log::Log;
use super::{Auditor, Entities, Marker, Queue, Store, writer};
use crate::audit::Identity;

/// `application_id` of both files ("STWD"), by which a foreign database is told from ours.
pub(super) const APPLICATION_ID: i64 = 0x5354_5744;
/// The write-ahead log is cut to this size after a checkpoint.
const WAL_BYTES_MAX: &str = "67108864";
/// Pages of 4 KiB in the write-ahead log before they are taken into the file: under load the same pages are written
/// again and again, and each checkpoint costs two syncs.
const CHECKPOINT_PAGES: &str = "4000";
/// Memory for the pages of a writing connection, in KiB and negative (`cache_size` in <https://sqlite.org/pragma.html>):
/// what a large delivery touches, so that nothing has to be written before its commit.
const WRITER_CACHE_KIB: &str = "-8192";
/// Compiled scripts of a writing connection.
const WRITER_STATEMENTS: usize = 256;
/// Connections that read each file.
const READERS: u32 = 4;
/// Files up to this size are checked whole at the start, which takes less than half a second; larger ones as
/// they are read.
const CHECKED_BYTES_MAX: u64 = 256 * 1024 * 1024;
const BUSY: Duration = Duration::from_secs(5);
pub(super) const RESTORE: &str = "restore it from a backup";
const DELETE: &str = "delete it: it is rebuilt from the log";

pub(super) async fn open(
    directory: &Path,
    clock: Arc<dyn Clock>,
    background: &Handle,
) -> Result<Store, OpenError> {
    make(directory)?;
    let lock = lock(directory)?;
    let (broken, receiver) = watch::channel(None);
    let (log, identity) = open_log(directory, &clock, broken).await?;
    let (derived, mismatched) = open_views(directory, &log, Arc::clone(&clock), background).await?;
    let files = Files {
        identity,
        log: readers(&directory.join("events.db")),
        views: Some(readers(&directory.join("views.db"))),
    };
    Ok(Store {
        audit: Arc::new(Auditor::new(files, clock)),
        put_back: Arc::new(Marker::new(directory)),
        queue: Arc::new(Queue::new(Arc::clone(&derived))),
        entities: Arc::new(Entities::new(derived)),
        log: Arc::new(log),
        mismatched,
        broken: receiver,
        _lock: lock,
    })
}

pub(super) fn make(directory: &Path) -> Result<(), OpenError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| unwritable(directory, &error))
}

pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join("lock");
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(0o600).open(&path);
    let file = file.map_err(|error| unwritable(&path, &error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked(directory.to_owned())),
        Err(errno) => Err(OpenError::Io { path, message: errno.to_string() }),
    }
}

pub(super) fn unwritable(path: &Path, error: &std::io::Error) -> OpenError {
    match error.kind() {
        std::io::ErrorKind::StorageFull => OpenError::Full(path.to_owned()),
        _ => OpenError::Unwritable { path: path.to_owned(), message: error.to_string() },
    }
}

async fn open_log(
    directory: &Path,
    clock: &Arc<dyn Clock>,
    broken: watch::Sender<Option<String>>,
) -> Result<(Log, Identity), OpenError> {
    let path = directory.join("events.db");
    let mut connection = log_file(&path, SqliteSynchronous::Full, LogId(fresh_id())).await?;
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.clone(), &error, RESTORE);
    let (epoch, log_id, head): (i64, String, i64) = sqlx::query_as(
        "SELECT epoch, log_id, (SELECT coalesce(max(position), 0) FROM events) FROM log",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(failed)?;
    let epoch = u32::try_from(epoch).unwrap_or_default();
    let head = u64::try_from(head).unwrap_or_default();
    let readers = readers(&path);
    warm(&readers).await.map_err(failed)?;
    let handle = writer::spawn(connection, Arc::clone(clock), epoch, head, broken, path.clone());
    let identity = Identity { log_id: log_id.parse().unwrap_or_default(), epoch };
    Ok((Log::new(handle, readers, epoch, Arc::clone(clock)), identity))
}

/// A log's file with the newest tables; `log_id` is its name if it has none yet.
pub(super) async fn log_file(
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
    sqlx::query("INSERT INTO log (only, epoch, log_id) VALUES (1, ?, ?) ON CONFLICT DO NOTHING")
        .bind(i64::from(fresh_epoch()))
        .bind(log_id.to_string())
        .execute(&mut connection)
        .await
        .map_err(failed)?;
    Ok(connection)
}

#[expect(clippy::disallowed_methods, reason = "names a database; nothing is decided by it")]
fn fresh_id() -> uuid::Uuid {
    uuid::Uuid::new_v4()
}

/// Names one life of the database.
pub(super) fn fresh_epoch() -> u32 {
    let [a, b, c, d, ..] = *fresh_id().as_bytes();
    u32::from_be_bytes([a, b, c, d]).max(1)
}

fn migrator() -> Migrator {
    let step = |number, name, text: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(number, Cow::Borrowed(name), kind, text.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        step(1, "events", include_str!("../../../../migrations/sqlite/0001_events.sql")),
        step(2, "log_id", include_str!("../../../../migrations/sqlite/0002_log_id.sql")),
        step(
            3,
            "claims_by_age",
            include_str!("../../../../migrations/sqlite/0003_claims_by_age.sql"),
        ),
    ])
}

async fn open_views(
    directory: &Path,
    log: &Log,
    clock: Arc<dyn Clock>,
    background: &Handle,
) -> Result<(Arc<Derived>, bool), OpenError> {
    let path = directory.join("views.db");
    let derived = views(&path, Arc::clone(&clock), background).await?;
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.clone(), &error, DELETE);
    let checkpoints = derived.checkpoints().await.map_err(failed)?;
    let marker = Marker::new(directory);
    if checkpoints.iter().all(|position| log.contains(*position)) {
        let unseen = marker.is_set();
        if unseen {
            tracing::error!("observing only: the store was put back; look, then unfreeze");
        }
        return Ok((Arc::new(derived), unseen));
    }
    // The mark comes first: whoever dies after it starts by observing, until a person has looked.
    marker.set()?;
    tracing::error!(
        "views.db does not belong to events.db: one of them was put back; rebuilding, and observing only until somebody unfreezes"
    );
    derived.close().await;
    for name in ["views.db", "views.db-wal", "views.db-shm"] {
        match std::fs::remove_file(directory.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unwritable(&path, &error));
            }
            _ => {}
        }
    }
    Ok((Arc::new(views(&path, clock, background).await?), true))
}

async fn views(
    path: &Path,
    clock: Arc<dyn Clock>,
    background: &Handle,
) -> Result<Derived, OpenError> {
    // A connection's thread has the priority of the thread that opens it.
    let own = path.to_owned();
    let opened = background
        .spawn(async move { connect(&own, SqliteSynchronous::Normal, DELETE).await })
        .await;
    let connection = opened
        .map_err(|error| OpenError::Io { path: path.to_owned(), message: error.to_string() })??;
    let opened = Derived::open(connection, readers(path), clock).await;
    let failed = |error| OpenError::from_sqlx(path.to_owned(), &error, DELETE);
    let derived = opened.map_err(failed)?;
    warm(&derived.readers).await.map_err(failed)?;
    Ok(derived)
}

/// Opens one file for writing, after a look whether it is ours.
async fn connect(
    path: &Path,
    synchronous: SqliteSynchronous,
    advice: &'static str,
) -> Result<SqliteConnection, OpenError> {
    // Made here and not by SQLite, because its files would be readable by everybody.
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map_err(|error| unwritable(path, &error))?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .disable_statement_logging()
        .statement_cache_capacity(WRITER_STATEMENTS)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("cache_size", WRITER_CACHE_KIB)
        .pragma("journal_size_limit", WAL_BYTES_MAX);
    let failed = |error: sqlx::Error| OpenError::from_sqlx(path.to_owned(), &error, advice);
    // No journal mode yet: setting it writes, and a foreign file must not be touched.
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
    whole(path, &mut connection, advice).await?;
    let mark = format!("PRAGMA application_id = {APPLICATION_ID}");
    sqlx::query(sqlx::AssertSqlSafe(mark)).execute(&mut connection).await.map_err(failed)?;
    Ok(connection)
}

/// Whether the file's pages fit together.
async fn whole(
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

fn readers(path: &Path) -> SqlitePool {
    let path: PathBuf = path.to_owned();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY)
        .disable_statement_logging();
    // A file does not go away as a server does: asking before each use would double every read's way to its thread.
    // Nor does it tire: connections stay, with the priority of those who open the store.
    let pool = PoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    pool.connect_lazy_with(options)
}

/// Opens all connections of a pool now and here: else whoever is the first to read would, with the priority it has.
async fn warm(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    let mut opened = Vec::new();
    for _ in 0..READERS {
        opened.push(pool.acquire().await?);
    }
    Ok(())
}
