//! Index of references: which entities depend on which names. Written with the queue's rows, so that both are of the
//! same position.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::SqliteConnection;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::QueueRow;
use stateward_domain::id::EntityId;
use stateward_domain::ports::sync_queue::Dependents;

use crate::sql_value::limit_of;
use crate::sql_value::parsed;
use crate::sqlite::queue::encode;
use crate::sqlite::queue::schema::NAME;
use crate::sqlite::transaction::PipelinedTransaction;
use crate::sqlite::views_db;

/// Dependents, each with the name of a target.
type References = Vec<(EntityId, ClaimKey)>;

/// Replaces the references of these rows' entities.
pub(super) fn put(transaction: &mut PipelinedTransaction<'_>, rows: &[&QueueRow]) {
    let entities: Vec<EntityId> = rows.iter().map(|row| row.entity).collect();
    remove(transaction, &entities);
    // The last row of an entity wins, as in the queue.
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

/// Deletes the references of these entities.
pub(super) fn remove(transaction: &mut PipelinedTransaction<'_>, entities: &[EntityId]) {
    transaction
        .push("DELETE FROM sync_uses WHERE user IN (SELECT value FROM json_each(?))")
        .push(encode(&entities));
}

/// Names that an entity depends on.
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

/// Entities above `after` that depend on any of these names, in ascending order.
pub(super) async fn dependents_of(
    connection: &mut SqliteConnection,
    used: &[ClaimKey],
    after: Option<EntityId>,
    limit: usize,
) -> Result<Dependents, sqlx::Error> {
    // Read first: a write in between makes the dependents newer than `as_of`, never older.
    let as_of = views_db::checkpoint(connection, NAME).await?;
    let dependents: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT user FROM sync_uses \
             WHERE used IN (SELECT value FROM json_each(?)) AND user > ? ORDER BY user LIMIT ?",
    )
    .bind(encode(&used))
    .bind(after.map(|after| after.to_string()).unwrap_or_default())
    .bind(limit_of(limit))
    .fetch_all(connection)
    .await?;
    let id = |text: &String| parsed(("sync_uses", "user"), text, text);
    let entities = dependents.iter().map(id).collect::<Result<_, _>>()?;
    Ok(Dependents { entities, as_of })
}
