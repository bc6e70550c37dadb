//! Streams that a projection leaves out, in the table that all projections share.

use sqlx::SqliteConnection;
use stateward_domain::ports::projection::Quarantined;

use crate::sql_value::parsed;

/// The streams that `projection` has in quarantine, in order.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    projection: &str,
) -> Result<Vec<Quarantined>, sqlx::Error> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT stream, position, message FROM quarantine WHERE model = ? ORDER BY stream",
    )
    .bind(projection)
    .fetch_all(connection)
    .await?;
    let entry = |(stream, position, message): (String, String, String)| {
        let position = parsed(("quarantine", "position"), &stream, &position)?;
        Ok(Quarantined { stream, position, message })
    };
    rows.into_iter().map(entry).collect()
}

pub(super) async fn put(
    connection: &mut SqliteConnection,
    projection: &str,
    entry: &Quarantined,
) -> Result<(), sqlx::Error> {
    let put =
        "INSERT OR REPLACE INTO quarantine (model, stream, position, message) VALUES (?, ?, ?, ?)";
    let put = sqlx::query(put).bind(projection).bind(&entry.stream);
    put.bind(entry.position.to_string()).bind(&entry.message).execute(connection).await.map(drop)
}

pub(super) async fn remove(
    connection: &mut SqliteConnection,
    projection: &str,
    stream: &str,
) -> Result<(), sqlx::Error> {
    let remove = sqlx::query("DELETE FROM quarantine WHERE model = ? AND stream = ?");
    remove.bind(projection).bind(stream).execute(connection).await.map(drop)
}
