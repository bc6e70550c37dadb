//! Who uses whom: rows that the executor writes with those of the queue, so that both are of the same moment.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::SqliteConnection;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::id::EntityId;
use stateward_domain::ports::sync_queue::{QueueRow, Users};

use super::derived::{self, undecodable};
use super::queue::{NAME, encode};

/// Users and names of those that they use.
type Uses = Vec<(EntityId, ClaimKey)>;

/// Writes the uses of these rows in the place of what was known of the same entities.
pub(super) async fn put(
    connection: &mut SqliteConnection,
    rows: &[&QueueRow],
) -> Result<(), sqlx::Error> {
    let entities: Vec<EntityId> = rows.iter().map(|row| row.entity).collect();
    remove(connection, &entities).await?;
    // The last row of an entity counts, as it does in the queue.
    let last: BTreeMap<EntityId, &BTreeSet<ClaimKey>> =
        rows.iter().map(|row| (row.entity, &row.uses)).collect();
    let pairs = |(entity, used): (EntityId, &BTreeSet<ClaimKey>)| {
        used.iter().map(move |used| (entity, used.clone())).collect::<Uses>()
    };
    let uses: Uses = last.into_iter().flat_map(pairs).collect();
    if uses.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO sync_uses (user, used) SELECT value ->> 0, value ->> 1 FROM json_each(?)",
    )
    .bind(encode(&uses))
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets whom these use.
pub(super) async fn remove(
    connection: &mut SqliteConnection,
    entities: &[EntityId],
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sync_uses WHERE user IN (SELECT value FROM json_each(?))")
        .bind(encode(&entities))
        .execute(connection)
        .await?;
    Ok(())
}

/// Whom an entity uses.
pub(super) async fn of(
    connection: &mut SqliteConnection,
    entity: EntityId,
) -> Result<BTreeSet<ClaimKey>, sqlx::Error> {
    let used: Vec<String> = sqlx::query_scalar("SELECT used FROM sync_uses WHERE user = ?")
        .bind(entity.to_string())
        .fetch_all(connection)
        .await?;
    Ok(used.into_iter().map(ClaimKey).collect())
}

/// Who uses one with any of these names.
pub(super) async fn users(
    connection: &mut SqliteConnection,
    used: &[ClaimKey],
    limit: usize,
) -> Result<Users, sqlx::Error> {
    // First: what is written in between makes the users newer than they are said to be, never older.
    let as_of = derived::checkpoint(connection, NAME).await?;
    let users: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT user FROM sync_uses \
             WHERE used IN (SELECT value FROM json_each(?)) ORDER BY user LIMIT ?",
    )
    .bind(encode(&used))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    let id = |text: String| text.parse().map_err(|error| undecodable(Box::new(error)));
    let entities = users.into_iter().map(id).collect::<Result<_, _>>()?;
    Ok(Users { entities, as_of })
}
