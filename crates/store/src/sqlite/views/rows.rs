//! Reads and writes rows of the model's tables.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, SqliteConnection};
use stateward_domain::entity::Entity;
use stateward_domain::entity::operation::{OperationRow, OperationState};
use stateward_domain::id::{EntityId, OperationId, Version};
use stateward_domain::ports::read_model::{EntityRow, ModelError};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Timestamp;

use super::labels_and_counts::{
    self, ANY_VALUE, BeforeDelivery, EVERYWHERE, Group, LabelAndCountChanges, LabelRow,
};
use super::tables::Tables;
use super::{NAME, REBUILD, unavailable};
use crate::sqlite::integer::{signed, unsigned};
use crate::sqlite::transaction::{Insert, PipelinedTransaction, Values};

/// Columns of an [`EntityRow`].
pub(in crate::sqlite) const ENTITY_COLUMNS: &str = "e.data, e.version, e.created_at, e.updated_at";
/// Their values.
pub(in crate::sqlite) type EntityColumns = (String, i64, i64, i64);

/// Update of an entity's row after its first event. Columns that never change are left out, so that their indexes are
/// not touched.
const ENTITY_CHANGES: &str = "ON CONFLICT (id) DO UPDATE SET state = excluded.state, drifted = excluded.drifted, \
     blocked = excluded.blocked, dead = excluded.dead, version = excluded.version, \
     updated_at = excluded.updated_at, labels = excluded.labels, data = excluded.data";
/// As [`ENTITY_CHANGES`], of an entity that is deleted, which is final.
const ENTITY_END: &str = "ON CONFLICT (id) DO UPDATE SET state = excluded.state, deleted = excluded.deleted, \
     drifted = excluded.drifted, blocked = excluded.blocked, dead = excluded.dead, version = excluded.version, \
     updated_at = excluded.updated_at, labels = excluded.labels, data = excluded.data";
/// As [`ENTITY_CHANGES`], of an operation.
const OPERATION_CHANGES: &str =
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, data = excluded.data";
const COUNT_CHANGES: &str = "ON CONFLICT (backend, kind, state, blocked, dead) \
     DO UPDATE SET number = number + excluded.number";

pub(in crate::sqlite) fn entity(columns: EntityColumns) -> Result<EntityRow, ModelError> {
    let (data, version, created_at, updated_at) = columns;
    let version = Version(unsigned(("entities", "version"), "", version).map_err(unavailable)?);
    let entity = decode::<Entity>("entities", &data)?;
    // Fields that a document lacks have defaults, so the row is checked by a fact that it holds twice.
    if entity.version != version {
        let why = format!("it is of version {}, and its row of {}", entity.version.0, version.0);
        return Err(StoreError::inconsistent(("entities", "data"), entity.id, why).into());
    }
    Ok(EntityRow {
        entity,
        version,
        created_at: Timestamp(created_at),
        updated_at: Timestamp(updated_at),
    })
}

/// The row of `table` that `data` holds.
pub(super) fn decode<T: DeserializeOwned>(table: &str, data: &str) -> Result<T, ModelError> {
    serde_json::from_str(data)
        .map_err(|error| StoreError::inconsistent((table, "data"), "", error).into())
}

fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("rows are plain data")
}

/// Name of an operation's state in its column.
pub(super) const fn state_name(state: OperationState) -> &'static str {
    match state {
        OperationState::Pending => "pending",
        OperationState::Running => "running",
        OperationState::Succeeded => "succeeded",
        OperationState::Failed => "failed",
        OperationState::Superseded => "superseded",
        OperationState::Cancelled => "cancelled",
    }
}

pub(super) async fn load_entities(
    connection: &mut SqliteConnection,
    tables: Tables,
    ids: &HashSet<EntityId>,
) -> Result<HashMap<EntityId, EntityRow>, ModelError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let statement = format!(
        "SELECT {ENTITY_COLUMNS} FROM entities_v{} e \
         WHERE id IN (SELECT value FROM json_each(?))",
        tables.0
    );
    let rows: Vec<EntityColumns> = sqlx::query_as(AssertSqlSafe(statement))
        .bind(encode(ids))
        .fetch_all(connection)
        .await
        .map_err(unavailable)?;
    rows.into_iter().map(|columns| entity(columns).map(|row| (row.entity.id, row))).collect()
}

pub(super) async fn load_operations(
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
    rows.iter()
        .map(|data| decode::<OperationRow>("operations", data).map(|row| (row.id, row)))
        .collect()
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
pub(super) async fn save_over(
    transaction: &mut PipelinedTransaction<'_>,
    tables: Tables,
    before: &BeforeDelivery,
    entities: &[&EntityRow],
    operations: &[&OperationRow],
) -> Result<(), ModelError> {
    save_entities(transaction, tables, entities, &before.begun).await?;
    save_changes(transaction, tables, &LabelAndCountChanges::between(before, entities)).await?;
    save_operations(transaction, tables, operations).await
}

/// Columns of an entity's row, in the order of [`bind_entity`].
const COLUMNS_OF_ENTITIES: &[&str] = &[
    "id",
    "namespace",
    "kind",
    "name",
    "backend",
    "state",
    "deleted",
    "drifted",
    "blocked",
    "dead",
    "version",
    "created_at",
    "updated_at",
    "labels",
    "data",
];

fn bind_entity(values: &mut Values, row: &EntityRow) {
    let manifest = &row.entity.manifest;
    values
        .push(row.entity.id.to_string())
        .push(manifest.namespace.0.clone())
        .push(manifest.kind.0.clone())
        .push(manifest.name.0.clone())
        .push(manifest.backend.0.clone())
        .push(row.entity.state.name())
        .push(labels_and_counts::is_deleted(row))
        .push(labels_and_counts::is_drifted(row))
        .push(labels_and_counts::blocked(row))
        .push(row.entity.is_dead_letter())
        .push(signed(row.version.0))
        .push(row.created_at.0)
        .push(row.updated_at.0)
        .push(encode(&manifest.settings.labels))
        .push(encode(&row.entity));
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
    let (ended, living): (Vec<_>, Vec<_>) =
        old.into_iter().partition(|row| labels_and_counts::is_deleted(row));
    for (rows, conflict) in [(new, ""), (living, ENTITY_CHANGES), (ended, ENTITY_END)] {
        let table = format!("entities_v{}", tables.0).into();
        let insert = Insert { table, columns: COLUMNS_OF_ENTITIES, conflict };
        let bind = |values: &mut Values, row: &&EntityRow| bind_entity(values, row);
        transaction.insert(&insert, &rows, bind).await.map_err(unavailable)?;
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
    let table = format!("labels_v{n}").into();
    let insert = Insert { table, columns: &["namespace", "key", "value", "id"], conflict: "" };
    let bind = |values: &mut Values, label: &LabelRow| {
        let LabelRow { namespace, key, value, id } = label;
        values.push(namespace.clone()).push(key.clone()).push(value.clone()).push(id.to_string());
    };
    transaction.insert(&insert, &changes.new, bind).await.map_err(unavailable)?;
    let counts: Vec<_> = changes.counts.iter().filter(|(_, by)| **by != 0).collect();
    let columns = &["backend", "kind", "state", "blocked", "dead", "number"];
    let table = format!("counts_v{n}").into();
    let insert = Insert { table, columns, conflict: COUNT_CHANGES };
    let bind = |values: &mut Values, (group, by): &(&Group, &i64)| {
        values
            .push(group.backend.clone())
            .push(group.kind.clone())
            .push(group.state)
            .push(group.blocked)
            .push(group.dead)
            .push(**by);
    };
    transaction.insert(&insert, &counts, bind).await.map_err(unavailable)?;
    if !counts.is_empty() {
        transaction.push(&format!("DELETE FROM counts_v{n} WHERE number = 0"));
    }
    Ok(())
}

async fn save_operations(
    transaction: &mut PipelinedTransaction<'_>,
    tables: Tables,
    rows: &[&OperationRow],
) -> Result<(), ModelError> {
    let insert = Insert {
        table: format!("operations_v{}", tables.0).into(),
        columns: &["id", "entity", "namespace", "state", "data"],
        conflict: OPERATION_CHANGES,
    };
    let bind = |values: &mut Values, row: &&OperationRow| {
        values
            .push(row.id.to_string())
            .push(row.entity_id.to_string())
            .push(row.namespace.0.clone())
            .push(state_name(row.state))
            .push(encode(row));
    };
    transaction.insert(&insert, rows, bind).await.map_err(unavailable)
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
