//! Tables of the queue, and of its workers.

use sqlx::SqliteConnection;
use stateward_domain::id::Position;

use crate::sqlite::views_db::begin;

/// Name of the projection's checkpoint.
pub(in crate::sqlite) const NAME: &str = "sync_queue";

pub(in crate::sqlite) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sync_queue (
    entity    TEXT    PRIMARY KEY,
    backend   TEXT    NOT NULL,
    priority  INTEGER NOT NULL,
    since     INTEGER,
    due       INTEGER,
    waits_for TEXT,
    position  TEXT    NOT NULL,
    lease_after INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sync_queue_waits ON sync_queue (waits_for) WHERE waits_for IS NOT NULL;
CREATE TABLE IF NOT EXISTS sync_uses (
    user TEXT NOT NULL,
    used TEXT NOT NULL,
    PRIMARY KEY (user, used)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sync_uses_used ON sync_uses (used, user);
CREATE TABLE IF NOT EXISTS sync_leases (
    entity    TEXT    PRIMARY KEY,
    backend   TEXT    NOT NULL,
    worker    TEXT,
    until     INTEGER NOT NULL DEFAULT 0,
    snooze    INTEGER NOT NULL DEFAULT 0,
    seen      TEXT    NOT NULL DEFAULT '',
    drift_due INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS sync_leases_drift ON sync_leases (backend, drift_due)
    WHERE drift_due IS NOT NULL;
CREATE TABLE IF NOT EXISTS sync_observed (
    entity       TEXT    PRIMARY KEY,
    confirmation INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sync_observed_since (
    backend      TEXT    PRIMARY KEY,
    confirmation INTEGER NOT NULL
) WITHOUT ROWID;
";

/// Adds the column that older tables lack: the end of a row's wait in steady time, where `due` is the log's time.
const LEASE_AFTER: &str = "
ALTER TABLE sync_queue ADD COLUMN lease_after INTEGER;
UPDATE sync_queue SET lease_after = due;
DROP INDEX IF EXISTS sync_queue_due;
";
const LEASE_AFTER_INDEX: &str = "
CREATE INDEX IF NOT EXISTS sync_queue_lease_after ON sync_queue (backend, priority, lease_after)
    WHERE lease_after IS NOT NULL;
";

/// Creates the tables, and upgrades those of older versions.
pub(in crate::sqlite) async fn prepare(
    connection: &mut SqliteConnection,
) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(SCHEMA).execute(&mut *connection).await?;
    add_lease_after(connection).await?;
    sqlx::query("INSERT INTO checkpoints (name, position) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(NAME)
        .bind(Position::START.to_string())
        .execute(connection)
        .await
        .map(drop)
}

/// Deletes the rows that the executor writes, also its quarantine, and resets its checkpoint.
pub(in crate::sqlite) async fn clear(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("DELETE FROM sync_queue; DELETE FROM sync_uses;")
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM quarantine WHERE model = ?")
        .bind(NAME)
        .execute(&mut *connection)
        .await?;
    sqlx::query("UPDATE checkpoints SET position = ? WHERE name = ?")
        .bind(Position::START.to_string())
        .bind(NAME)
        .execute(connection)
        .await
        .map(drop)
}

async fn add_lease_after(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let column = "SELECT count(*) FROM pragma_table_info('sync_queue') WHERE name = 'lease_after'";
    let known: i64 = sqlx::query_scalar(column).fetch_one(&mut *connection).await?;
    let mut transaction = begin(connection).await?;
    if known == 0 {
        sqlx::raw_sql(LEASE_AFTER).execute(&mut *transaction).await?;
    }
    sqlx::raw_sql(LEASE_AFTER_INDEX).execute(&mut *transaction).await?;
    transaction.commit().await
}
