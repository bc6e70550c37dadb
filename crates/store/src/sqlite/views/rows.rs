//! Reads and writes rows of the model's tables.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use sqlx::{AssertSqlSafe, SqliteConnection};
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::id::{EntityId, OperationId};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::EntityRow;

use super::tables::Tables;
use super::{NAME, REBUILD, unavailable};
use crate::shared::views::columns::{self, EntityColumns, FIXED_OF_ENTITY, READ_OF_ENTITY, encode};
use crate::shared::views::fold::RowStore;
use crate::shared::views::labels_and_counts::{
    ANY_VALUE, BeforeDelivery, EVERYWHERE, LabelAndCountChanges, LabelRow, is_deleted,
};
use crate::sqlite::transaction::{PipelinedTransaction, update_on_conflict};

/// Columns of an [`EntityRow`] in a query of `entities_v<n> e`.
pub(in crate::sqlite) static ENTITY_COLUMNS: LazyLock<String> =
    LazyLock::new(|| READ_OF_ENTITY.map(|column| format!("e.{column}")).join(", "));

/// Update of an entity's row after its first event. `deleted` is written at its end alone, which is final.
static ENTITY_CHANGES: LazyLock<String> = LazyLock::new(|| {
    update_on_conflict::<EntityRow>("id", |column| {
        !FIXED_OF_ENTITY.contains(&column) && column != "deleted"
    })
});
/// As [`ENTITY_CHANGES`], of an entity that is deleted.
static ENTITY_END: LazyLock<String> = LazyLock::new(|| {
    update_on_conflict::<EntityRow>("id", |column| !FIXED_OF_ENTITY.contains(&column))
});
/// As [`ENTITY_CHANGES`], of an operation.
const OPERATION_CHANGES: &str =
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, data = excluded.data";
const COUNT_CHANGES: &str = "ON CONFLICT (backend, kind, state, blocked, dead) \
     DO UPDATE SET number = number + excluded.number";

/// The tables of an instance, in a transaction.
pub(super) struct TablesInTransaction<'t, 'w> {
    pub(super) transaction: &'t mut PipelinedTransaction<'w>,
    pub(super) tables: Tables,
}

impl RowStore for TablesInTransaction<'_, '_> {
    async fn load_entities(
        &mut self,
        ids: &HashSet<EntityId>,
    ) -> Result<HashMap<EntityId, EntityRow>, ModelError> {
        load_entities(self.transaction.connection(), self.tables, ids).await
    }

    async fn load_operations(
        &mut self,
        ids: &HashSet<OperationId>,
    ) -> Result<BTreeMap<OperationId, OperationRow>, ModelError> {
        load_operations(self.transaction.connection(), self.tables, ids).await
    }

    async fn save(
        &mut self,
        before: &BeforeDelivery,
        entities: &[&EntityRow],
        operations: &[&OperationRow],
    ) -> Result<(), ModelError> {
        save_over(self.transaction, self.tables, before, entities, operations).await
    }
}

async fn load_entities(
    connection: &mut SqliteConnection,
    tables: Tables,
    ids: &HashSet<EntityId>,
) -> Result<HashMap<EntityId, EntityRow>, ModelError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = format!(
        "SELECT {} FROM entities_v{} e WHERE id IN (SELECT value FROM json_each(?))",
        *ENTITY_COLUMNS, tables.0
    );
    let rows: Vec<EntityColumns> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(encode(ids))
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    let row = |row: EntityRow| (row.entity.id, row);
    rows.into_iter().map(|columns| Ok(columns::entity(columns).map(row)?)).collect()
}

async fn load_operations(
    connection: &mut SqliteConnection,
    tables: Tables,
    ids: &HashSet<OperationId>,
) -> Result<BTreeMap<OperationId, OperationRow>, ModelError> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let statement = format!(
        "SELECT data FROM operations_v{} WHERE id IN (SELECT value FROM json_each(?))",
        tables.0
    );
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(statement))
        .bind(encode(ids))
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    let row = |row: OperationRow| (row.id, row);
    rows.iter().map(|data| Ok(columns::operation(data).map(row)?)).collect()
}

/// Adds all rows of these entities and operations, none of which exist.
pub(in crate::sqlite) async fn save(
    transaction: &mut PipelinedTransaction<'_>,
    tables: Tables,
    entities: &[&EntityRow],
    operations: &[&OperationRow],
) -> Result<(), ModelError> {
    save_over(transaction, tables, &BeforeDelivery::default(), entities, operations).await
}

/// Updates all rows of these entities and operations from the state `before`.
async fn save_over(
    transaction: &mut PipelinedTransaction<'_>,
    tables: Tables,
    before: &BeforeDelivery,
    entities: &[&EntityRow],
    operations: &[&OperationRow],
) -> Result<(), ModelError> {
    save_entities(transaction, tables, entities, &before.begun).await?;
    save_changes(transaction, tables, &LabelAndCountChanges::between(before, entities)).await?;
    let table = format!("operations_v{}", tables.0);
    transaction.insert_rows(table, OPERATION_CHANGES, operations).await.map_err(unavailable)
}

/// Writes rows; those of `begun` are new, and the primary key rejects them where they are not.
async fn save_entities(
    transaction: &mut PipelinedTransaction<'_>,
    tables: Tables,
    rows: &[&EntityRow],
    begun: &HashSet<EntityId>,
) -> Result<(), ModelError> {
    let (new, old): (Vec<_>, Vec<_>) =
        rows.iter().copied().partition(|row| begun.contains(&row.entity.id));
    let (ended, living): (Vec<_>, Vec<_>) = old.into_iter().partition(|row| is_deleted(row));
    for (rows, conflict) in [(new, ""), (living, &**ENTITY_CHANGES), (ended, &**ENTITY_END)] {
        let table = format!("entities_v{}", tables.0);
        transaction.insert_rows(table, conflict, &rows).await.map_err(unavailable)?;
    }
    Ok(())
}

/// Writes the changes of labels and counts, in the transaction that writes the entities' rows.
async fn save_changes(
    transaction: &mut PipelinedTransaction<'_>,
    tables: Tables,
    changes: &LabelAndCountChanges,
) -> Result<(), ModelError> {
    let n = tables.0;
    if !changes.gone.is_empty() {
        let row = |label: &LabelRow| {
            let LabelRow { namespace, key, value, id } = label;
            [namespace.clone(), key.clone(), value.clone(), id.to_string()]
        };
        let gone: Vec<_> = changes.gone.iter().map(row).collect();
        let delete = format!(
            "DELETE FROM labels_v{n} WHERE (namespace, key, value, id) IN \
             (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?))"
        );
        transaction.push(&delete).push(encode(&gone));
    }
    let labels = transaction.insert_rows(format!("labels_v{n}"), "", &changes.new);
    labels.await.map_err(unavailable)?;
    let counts = changes.counts();
    let added = transaction.insert_rows(format!("counts_v{n}"), COUNT_CHANGES, &counts);
    added.await.map_err(unavailable)?;
    if !counts.is_empty() {
        transaction.push(&format!("DELETE FROM counts_v{n} WHERE number = 0"));
    }
    Ok(())
}

/// Streams that the model has in quarantine.
pub(super) async fn set_aside(
    connection: &mut SqliteConnection,
    model: &str,
) -> Result<HashSet<String>, ModelError> {
    let streams: Vec<String> = sqlx::query_scalar("SELECT stream FROM quarantine WHERE model = ?")
        .bind(model)
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    Ok(streams.into_iter().collect())
}

/// Replaces the live model's quarantine by that of the rebuild.
pub(super) async fn adopt_quarantine(connection: &mut SqliteConnection) -> Result<(), ModelError> {
    sqlx::query("DELETE FROM quarantine WHERE model = ?")
        .bind(NAME)
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    sqlx::query("UPDATE quarantine SET model = ? WHERE model = ?")
        .bind(NAME)
        .bind(REBUILD)
        .execute(connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

/// Deletes all rows of a stream, that in quarantine too.
pub(super) fn delete_stream(
    transaction: &mut PipelinedTransaction<'_>,
    tables: Tables,
    model: &str,
    stream: &str,
) {
    let id = stream.split_once('/').map_or(stream, |(_, id)| id);
    let n = tables.0;
    for statement in [
        format!(
            "INSERT INTO counts_v{n} (backend, kind, state, blocked, dead, number) \
             SELECT backend, kind, state, blocked, dead, -1 FROM entities_v{n} \
             WHERE id = ? AND deleted = 0 {COUNT_CHANGES}"
        ),
        format!(
            "DELETE FROM labels_v{n} WHERE (namespace, key, value, id) IN \
             (SELECT place.value, label.key, form.value, e.id FROM entities_v{n} e, json_each(e.labels) label, \
             json_each(json_array('{EVERYWHERE}', e.namespace)) place, \
             json_each(json_array('{ANY_VALUE}', '=' || label.value)) form WHERE e.id = ?)"
        ),
        format!("DELETE FROM entities_v{n} WHERE id = ?"),
        format!("DELETE FROM operations_v{n} WHERE entity = ?"),
    ] {
        transaction.push(&statement).push(id);
    }
    transaction.push(&format!("DELETE FROM counts_v{n} WHERE number = 0"));
    let quarantined = transaction.push("DELETE FROM quarantine WHERE model = ? AND stream = ?");
    quarantined.push(model).push(stream);
}
