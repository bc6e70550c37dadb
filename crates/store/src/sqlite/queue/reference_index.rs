//! Who uses whom: rows that the executor writes with those of the queue, so that both are of the same moment.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::SqliteConnection;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::work::QueueRow;
use stateward_domain::id::EntityId;
use stateward_domain::ports::sync_queue::Dependents;

use crate::sqlite::queue::{NAME, encode};
use crate::sqlite::transaction::PipelinedTransaction;
use crate::sqlite::views_db::{self, undecodable};

/// Dependents and names of those that they use.
type References = Vec<(EntityId, ClaimKey)>;

/// Adds that these are the uses of these rows, in the place of what was known of the same entities.
pub(super) fn put(transaction: &mut PipelinedTransaction<'_>, rows: &[&QueueRow]) {
    let entities: Vec<EntityId> = rows.iter().map(|row| row.entity).collect();
    remove(transaction, &entities);
    // The last row of an entity counts, as it does in the queue.
    let last: BTreeMap<EntityId, &BTreeSet<ClaimKey>> =
        rows.iter().map(|row| (row.entity, &row.dependencies)).collect();
    let pairs = |(entity, used): (EntityId, &BTreeSet<ClaimKey>)| {
        used.iter().map(move |used| (entity, used.clone())).collect::<References>()
    };
    let references: References = last.into_iter().flat_map(pairs).collect();
    if references.is_empty() {
        return;
    }
    transaction
        .push(
            "INSERT INTO sync_uses (user, used) SELECT value ->> 0, value ->> 1 FROM json_each(?)",
        )
        .push(encode(&references));
}

/// Adds that nothing is known of whom these use.
pub(super) fn remove(transaction: &mut PipelinedTransaction<'_>, entities: &[EntityId]) {
    transaction
        .push("DELETE FROM sync_uses WHERE user IN (SELECT value FROM json_each(?))")
        .push(encode(&entities));
}

/// Whom an entity uses.
pub(super) async fn targets_of(
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
pub(super) async fn dependents_of(
    connection: &mut SqliteConnection,
    used: &[ClaimKey],
    limit: usize,
) -> Result<Dependents, sqlx::Error> {
    // First: what is written in between makes the users newer than they are said to be, never older.
    let as_of = views_db::checkpoint(connection, NAME).await?;
    let dependents: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT user FROM sync_uses \
             WHERE used IN (SELECT value FROM json_each(?)) ORDER BY user LIMIT ?",
    )
    .bind(encode(&used))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?;
    let id = |text: String| text.parse().map_err(|error| undecodable(Box::new(error)));
    let entities = dependents.into_iter().map(id).collect::<Result<_, _>>()?;
    Ok(Dependents { entities, as_of })
}
