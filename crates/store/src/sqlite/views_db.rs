//! `views.db`: the writing connection that queue and read models share, and their checkpoints.

use sqlx::sqlite::SqlitePool;
use sqlx::{Connection, SqliteConnection};
use stateward_domain::id::Position;
use stateward_domain::time::{LogClock, Moment};
use tokio::sync::{Mutex, MutexGuard};

use crate::sql_value::parsed;
use crate::sqlite::transaction::{PipelinedTransaction, WriteConnection};

/// Tables that all projections share.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS checkpoints (
    name     TEXT    PRIMARY KEY,
    position TEXT    NOT NULL,
    tables   INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
    model    TEXT NOT NULL,
    stream   TEXT NOT NULL,
    position TEXT NOT NULL,
    message  TEXT NOT NULL,
    PRIMARY KEY (model, stream)
) WITHOUT ROWID;
";

const POSITION: (&str, &str) = ("checkpoints", "position");

/// The open file.
pub(super) struct ViewsDb {
    writer: Mutex<WriteConnection>,
    pub(super) readers: SqlitePool,
    clock: LogClock,
}

impl ViewsDb {
    /// The file behind `connection`, whose tables are prepared.
    pub(super) fn new(connection: SqliteConnection, readers: SqlitePool, clock: LogClock) -> Self {
        Self { writer: Mutex::new(WriteConnection::new(connection)), readers, clock }
    }

    /// The one writing connection.
    pub(super) async fn writer(&self) -> MutexGuard<'_, WriteConnection> {
        let mut writer = self.writer.lock().await;
        writer.roll_back_abandoned().await;
        writer
    }

    /// The store's clock. Leases and waits are measured by its steady time.
    pub(super) fn now(&self) -> Moment {
        self.clock.moment()
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        let mut writer = self.writer().await;
        // Only makes the next start faster: everything is durable in the write-ahead log.
        let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut **writer).await;
    }
}

/// Creates the tables that all projections share.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SCHEMA).execute(connection).await.map(drop)
}

/// Positions of all checkpoints in the file; empty for a new one.
pub(super) async fn all_checkpoints(
    connection: &mut SqliteConnection,
) -> Result<Vec<Position>, sqlx::Error> {
    let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'checkpoints'";
    if sqlx::query_scalar::<_, i64>(there).fetch_one(&mut *connection).await? == 0 {
        return Ok(Vec::new());
    }
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, position FROM checkpoints").fetch_all(connection).await?;
    rows.iter().map(|(name, text)| parsed(POSITION, name, text)).collect()
}

/// The checkpoint of the projection `name`; [`Position::START`] when it has none.
pub(super) async fn checkpoint(
    connection: &mut SqliteConnection,
    name: &str,
) -> Result<Position, sqlx::Error> {
    let text: Option<String> =
        sqlx::query_scalar("SELECT position FROM checkpoints WHERE name = ?")
            .bind(name)
            .fetch_optional(connection)
            .await?;
    text.map_or(Ok(Position::START), |text| parsed(POSITION, name, &text))
}

/// Moves a checkpoint from `from` to `to`. Must be the first statement of a projection's transaction, which fails
/// when the checkpoint is elsewhere.
pub(super) fn compare_and_swap(
    transaction: &mut PipelinedTransaction<'_>,
    name: &str,
    from: Position,
    to: Position,
) {
    transaction
        .push("UPDATE checkpoints SET position = ? WHERE name = ? AND position = ?")
        .push(to.to_string())
        .push(name)
        .push(from.to_string());
    // A position cannot be NULL, so this violates the constraint, and fails the transaction, when nothing was moved.
    transaction
        .push("INSERT INTO checkpoints (name, position) SELECT '', NULL WHERE changes() = 0");
}

/// After a failed transaction: the checkpoint if it is not at `from`, which explains the failure; `None` = it is at
/// `from`.
pub(super) async fn moved_checkpoint(
    writer: &mut WriteConnection,
    name: &str,
    from: Position,
) -> Result<Option<Position>, sqlx::Error> {
    writer.roll_back_abandoned().await;
    Ok(Some(checkpoint(writer, name).await?).filter(|actual| *actual != from))
}

/// Begins a transaction with `BEGIN IMMEDIATE`, so that it never waits for the write lock in its middle.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
) -> Result<sqlx::Transaction<'_, sqlx::Sqlite>, sqlx::Error> {
    connection.begin_with("BEGIN IMMEDIATE").await
}
