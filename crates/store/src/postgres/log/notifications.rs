//! Notifications between processes, that the log has grown or a projection has applied it: only hints, beside polling.
//!
//! They are sent outside of appends, because the server's lock for them would serialise commits, and at most once in
//! 20 ms.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use uuid::Uuid;

use super::reader::LogReader;
use crate::postgres::connect::Database;

/// The log has grown.
pub(super) const LOG: &str = "stateward_log";
/// The checkpoint of a projection moved.
pub(super) const CHECKPOINTS: &str = "stateward_checkpoints";
/// Shortest time between two notifications.
const INTERVAL: Duration = Duration::from_millis(20);
/// Pause before a lost connection is dialled again; shortened by up to half.
const PAUSE: Duration = Duration::from_secs(1);

/// Notifies other processes by `channel` when this one, `own`, did what they wait for, until the future is dropped.
pub(super) async fn send(database: &Database, channel: &str, done: &Notify, own: Uuid) {
    loop {
        done.notified().await;
        // The log does not depend on it: nothing waits for the disk.
        let notify =
            "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)::text";
        let query = sqlx::query(notify).bind(channel).bind(own.to_string());
        if let Err(error) = database.execute(query).await {
            tracing::debug!(%error, "other processes were not notified");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Hints at what other processes than `own` did until the future is dropped.
pub(super) async fn receive(database: Database, reader: LogReader, own: Uuid) {
    loop {
        if let Err(error) = listen(&database, &reader, own).await {
            tracing::debug!(error, "notifications do not arrive");
        }
        reader.set_listening(false);
        reader.hint();
        database.checkpoint_hints().set_listening(false);
        tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.5..=1.0))).await;
    }
}

/// Listens until the connection is lost, or the primary is.
async fn listen(database: &Database, reader: &LogReader, own: Uuid) -> Result<(), String> {
    let text = |error: sqlx::Error| error.to_string();
    let (pool, primary) = database.dedicated().await?;
    let mut listener = PgListener::connect_with(&pool).await.map_err(text)?;
    listener.eager_reconnect(false);
    listener.listen_all([LOG, CHECKPOINTS]).await.map_err(text)?;
    reader.set_listening(true);
    // What happened before the first notification is read now.
    reader.hint();
    database.checkpoint_hints().set_listening(true);
    loop {
        let notification = tokio::select! {
            received = listener.try_recv() => received.map_err(text)?,
            () = primary.close_event() => None,
        };
        let Some(notification) = notification else { return Ok(()) };
        if notification.payload() == own.to_string() {
            continue;
        }
        match notification.channel() {
            CHECKPOINTS => database.checkpoint_hints().hear(),
            _ => reader.hint(),
        }
    }
}
