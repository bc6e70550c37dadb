//! Opens a store: the directory, its lock, and both files.

use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqliteSynchronous;
use sqlx::{Connection as _, SqliteConnection};
use stateward_domain::id::{LogId, Position};
use stateward_domain::ports::audit::LogLife;
use stateward_domain::time::{Clock as _, LogClock, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::audit::Identity;
use crate::sql_value::unsigned;
use crate::sqlite::audit::file_source::FileSource;
use crate::sqlite::error::{DELETE, OpenError, RESTORE};
use crate::sqlite::files::database::{
    connect, create_directory, fresh_epoch, fresh_id, log_file, open_all, readers, stored_identity,
};
use crate::sqlite::files::directory_guard::DirectoryGuard;
use crate::sqlite::files::inodes::Inodes;
use crate::sqlite::files::lock::{Lock, LogHead};
use crate::sqlite::files::restore_hold::Mark;
use crate::sqlite::files::{object_claims, restore_hold, stale_views};
use crate::sqlite::log::Log;
use crate::sqlite::log::writer;
use crate::sqlite::views_db::{self, ViewsDb};
use crate::sqlite::{Auditor, Entities, Queue, RestoreHoldFile, Store, queue, views};

pub(in crate::sqlite) async fn open(
    directory: &Path,
    clock: LogClock,
    background: &Handle,
) -> Result<Store, OpenError> {
    create_directory(directory)?;
    let mut lock = Lock::take(directory)?;
    let hold = RestoreHoldFile::new(directory);
    let path = directory.join("events.db");
    let log = log_file(&path, SqliteSynchronous::Full, LogId(fresh_id())).await?;
    let mut log = object_claims::derive_once(log, &path).await?;
    let mut head = head_of(directory, &mut log).await?;
    clock.begin_at(newest_time(directory, &mut log).await?);
    let mut views = views_file(directory, background).await?;
    let checkpoints = views_db::all_checkpoints(&mut views).await;
    let checkpoints = checkpoints.map_err(|error| damaged_views(directory, &error))?;
    if let Some(why) = restore_hold::detect_rollback(head, lock.recorded_head(), &checkpoints) {
        // The hold is set first: a process that dies after it starts with the hold, until a person lifts it. Until
        // the lock file is written, each start detects the same rollback and repeats all of this.
        hold.set(Mark::OfEpoch)?;
        tracing::error!(
            "{why}: positions that were seen are not given out again, the views are rebuilt, and backends are only observed until a person unfreezes"
        );
        head.position.epoch = begin_epoch(directory, &mut log).await?;
        views.close().await.map_err(|error| damaged_views(directory, &error))?;
        stale_views::retire(directory, &checkpoints, clock.now(), head.position.epoch)
            .map_err(|error| OpenError::from_io(directory, &error))?;
        views = views_file(directory, background).await?;
    } else if hold.is_set() {
        tracing::error!("observing only: the store was put back; look, then unfreeze");
    }
    lock.write(head.or_start())?;
    assemble(directory, lock, (log, head), views, clock, background).await
}

/// Assembles the store from its two files, which fit each other.
async fn assemble(
    directory: &Path,
    lock: Lock,
    (log, head): (SqliteConnection, LogHead),
    mut views: SqliteConnection,
    clock: LogClock,
    background: &Handle,
) -> Result<Store, OpenError> {
    let (log_path, views_path) = (directory.join("events.db"), directory.join("views.db"));
    let inodes = Arc::new(Inodes::of(directory, &["events.db", "views.db"])?);
    let (broken, receiver) = watch::channel(None);
    let identity = Identity { log_id: head.log_id, epoch: head.position.epoch, dense: true };
    let log_readers = readers(&log_path);
    let failed = |error: sqlx::Error| OpenError::from_sqlx(log_path.clone(), &error, RESTORE);
    open_all(&log_readers).await.map_err(failed)?;
    let task = (log, head.position, log_path.clone(), Arc::clone(&inodes));
    let writer = writer::spawn(task, clock.clone(), broken.clone());
    let log = Arc::new(Log::new(writer, log_readers, identity.epoch, clock.clone()));
    let prepared = prepare_views(&mut views).await;
    prepared.map_err(|error| damaged_views(directory, &error))?;
    let views_db = ViewsDb::new(views, readers(&views_path), clock.clone());
    open_all(&views_db.readers).await.map_err(|error| damaged_views(directory, &error))?;
    let views_db = Arc::new(views_db);
    let views = Some(readers(&views_path));
    let files = FileSource::new(identity, directory, readers(&log_path), views);
    let (named, beside) = ((head.log_id, Arc::clone(&log)), Arc::clone(&inodes));
    let guard = DirectoryGuard::begin(lock, named, beside, broken, background);
    let restore_hold = RestoreHoldFile::new(directory);
    let queue = Queue::new(Arc::clone(&views_db));
    // The lock on the directory proves that no other worker runs.
    queue.end_all_leases().await.map_err(|error| damaged_views(directory, &error))?;
    let held_epoch = restore_hold.is_of_epoch().then_some(identity.epoch);
    Ok(Store {
        audit: Arc::new(Auditor::new(files, Arc::new(clock))),
        life: LogLife { held: restore_hold.is_set(), held_epoch, lost_at: None },
        restore_hold: Arc::new(restore_hold),
        queue: Arc::new(queue),
        entities: Arc::new(Entities::new(views_db)),
        log,
        log_id: head.log_id,
        broken: receiver,
        inodes,
        guard,
    })
}

/// Id and end of the log; has the epoch even when the log has no event.
async fn head_of(directory: &Path, log: &mut SqliteConnection) -> Result<LogHead, OpenError> {
    let row = sqlx::query_as(
        "SELECT epoch, log_id, (SELECT coalesce(max(position), 0) FROM events) FROM log",
    );
    let row: Result<(i64, String, i64), _> = row.fetch_one(log).await;
    let failed =
        |error: sqlx::Error| OpenError::from_sqlx(directory.join("events.db"), &error, RESTORE);
    let (epoch, log_id, minor) = row.map_err(failed)?;
    let (log_id, epoch) = stored_identity(&directory.join("events.db"), &log_id, epoch)?;
    let minor = unsigned(("events", "position"), "", minor).map_err(failed)?;
    Ok(LogHead { log_id, position: Position { epoch, major: 0, minor } })
}

/// The time floor: no event of the log was recorded later.
async fn newest_time(directory: &Path, log: &mut SqliteConnection) -> Result<Timestamp, OpenError> {
    let newest = sqlx::query_scalar(
        "SELECT max(time_floor, coalesce((SELECT recorded_at FROM events \
         ORDER BY position DESC LIMIT 1), 0)) FROM log",
    );
    let newest: Result<i64, _> = newest.fetch_one(log).await;
    let path = directory.join("events.db");
    newest.map(Timestamp).map_err(|error| OpenError::from_sqlx(path, &error, RESTORE))
}

/// Begins a new epoch of the log, durably; returns it.
async fn begin_epoch(directory: &Path, log: &mut SqliteConnection) -> Result<u32, OpenError> {
    let epoch = fresh_epoch();
    let begun = sqlx::query("UPDATE log SET epoch = ?").bind(i64::from(epoch)).execute(log).await;
    begun.map_err(|error| OpenError::from_sqlx(directory.join("events.db"), &error, RESTORE))?;
    Ok(epoch)
}

/// Opens the views' file. A connection's thread inherits the priority of the thread that opens it.
async fn views_file(directory: &Path, background: &Handle) -> Result<SqliteConnection, OpenError> {
    let path = directory.join("views.db");
    let own = path.clone();
    let opened = background
        .spawn(async move { connect(&own, SqliteSynchronous::Normal, DELETE).await })
        .await;
    opened.map_err(|error| OpenError::Io { path, message: error.to_string() })?
}

/// Creates the tables of `views.db`, and upgrades those of older versions.
async fn prepare_views(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    views_db::prepare(connection).await?;
    queue::schema::prepare(connection).await?;
    let mut transaction = views_db::begin(connection).await?;
    if views::tables::prepare(&mut transaction).await? {
        queue::schema::clear(&mut transaction).await?;
    }
    transaction.commit().await
}

fn damaged_views(directory: &Path, error: &sqlx::Error) -> OpenError {
    OpenError::from_sqlx(directory.join("views.db"), error, DELETE)
}
