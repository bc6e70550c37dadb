//! Rows of the model's tables, read and written.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{AssertSqlSafe, SqliteConnection};
use stateward_domain::entity::Entity;
use stateward_domain::id::{EntityId, OperationId, Version};
use stateward_domain::ports::read_model::{
    EntityRow, ModelError, OperationRow, OperationState, Quarantined,
};
use stateward_domain::time::Timestamp;

use super::super::script::{Insert, Script, Values};
use super::tables::Tables;
use super::{BESIDE, NAME, unavailable};

/// What is selected for an [`EntityRow`].
pub(in crate::sqlite) const ENTITY_COLUMNS: &str = "data, version, created_at, updated_at";
/// Its columns as they come.
pub(in crate::sqlite) type EntityColumns = (String, i64, i64, i64);

/// What of an entity's row changes after its first event; indexes of the other columns are left alone.
const ENTITY_CHANGES: &str = "ON CONFLICT (id) DO UPDATE SET backend = excluded.backend, state = excluded.state, \
     drifted = excluded.drifted, blocked = excluded.blocked, dead = excluded.dead, version = excluded.version, \
     updated_at = excluded.updated_at, labels = excluded.labels, data = excluded.data";
/// See [`ENTITY_CHANGES`].
const OPERATION_CHANGES: &str =
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, data = excluded.data";

pub(in crate::sqlite) fn entity(columns: EntityColumns) -> Result<EntityRow, ModelError> {
    let (data, version, created_at, updated_at) = columns;
    Ok(EntityRow {
        entity: decode::<Entity>(&data)?,
        version: Version(u64::try_from(version).unwrap_or_default()),
        created_at: Timestamp(created_at),
        updated_at: Timestamp(updated_at),
    })
}

pub(super) fn decode<T: DeserializeOwned>(data: &str) -> Result<T, ModelError> {
    let unreadable = |error| ModelError::Unavailable(format!("a row cannot be read: {error}"));
    serde_json::from_str(data).map_err(unreadable)
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
        "SELECT {ENTITY_COLUMNS} FROM entities_v{} \
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
    rows.iter().map(|data| decode::<OperationRow>(data).map(|row| (row.id, row))).collect()
}

/// Adds everything that the model holds of these entities and operations.
pub(in crate::sqlite) async fn save(
    script: &mut Script<'_>,
    tables: Tables,
    entities: &[&EntityRow],
    operations: &[&OperationRow],
) -> Result<(), ModelError> {
    save_entities(script, tables, entities).await?;
    save_operations(script, tables, operations).await
}

async fn save_entities(
    script: &mut Script<'_>,
    tables: Tables,
    rows: &[&EntityRow],
) -> Result<(), ModelError> {
    let insert = Insert {
        table: format!("entities_v{}", tables.0).into(),
        columns: &[
            "id",
            "namespace",
            "kind",
            "name",
            "backend",
            "state",
            "drifted",
            "blocked",
            "dead",
            "version",
            "created_at",
            "updated_at",
            "labels",
            "data",
        ],
        conflict: ENTITY_CHANGES,
    };
    let bind = |values: &mut Values, row: &&EntityRow| {
        let manifest = &row.entity.manifest;
        values
            .push(row.entity.id.to_string())
            .push(manifest.namespace.0.clone())
            .push(manifest.kind.0.clone())
            .push(manifest.name.0.clone())
            .push(manifest.backend.0.clone())
            .push(row.entity.state.name())
            .push(row.entity.drift.is_some() || row.entity.lost.is_some())
            .push(row.entity.blocked.as_ref().map_or("", |blocked| blocked.on.reason()))
            .push(row.entity.is_dead_letter())
            .push(i64::try_from(row.version.0).unwrap_or(i64::MAX))
            .push(row.created_at.0)
            .push(row.updated_at.0)
            .push(encode(&manifest.settings.labels))
            .push(encode(&row.entity));
    };
    script.insert(&insert, rows, bind).await.map_err(unavailable)
}

async fn save_operations(
    script: &mut Script<'_>,
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
    script.insert(&insert, rows, bind).await.map_err(unavailable)
}

/// Streams that an instance passes over.
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

pub(super) async fn quarantined(
    connection: &mut SqliteConnection,
    model: &str,
) -> Result<Vec<Quarantined>, ModelError> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT stream, position, message FROM quarantine WHERE model = ? ORDER BY stream",
    )
    .bind(model)
    .fetch_all(connection)
    .await
    .map_err(unavailable)?;
    let entry = |(stream, position, message): (String, String, String)| Quarantined {
        stream,
        position: position.parse().unwrap_or_default(),
        message,
    };
    Ok(rows.into_iter().map(entry).collect())
}

pub(super) async fn quarantine(
    connection: &mut SqliteConnection,
    model: &str,
    entry: &Quarantined,
) -> Result<(), ModelError> {
    sqlx::query(
        "INSERT OR REPLACE INTO quarantine (model, stream, position, message) VALUES (?, ?, ?, ?)",
    )
    .bind(model)
    .bind(&entry.stream)
    .bind(entry.position.to_string())
    .bind(&entry.message)
    .execute(connection)
    .await
    .map_err(unavailable)?;
    Ok(())
}

/// What the rebuilt instance set aside is now what the live one sets aside.
pub(super) async fn adopt_quarantine(connection: &mut SqliteConnection) -> Result<(), ModelError> {
    sqlx::query("DELETE FROM quarantine WHERE model = ?")
        .bind(NAME)
        .execute(&mut *connection)
        .await
        .map_err(unavailable)?;
    sqlx::query("UPDATE quarantine SET model = ? WHERE model = ?")
        .bind(NAME)
        .bind(BESIDE)
        .execute(connection)
        .await
        .map_err(unavailable)?;
    Ok(())
}

/// Drops everything that is held of a stream, its place in quarantine too.
pub(super) fn forget(script: &mut Script<'_>, tables: Tables, model: &str, stream: &str) {
    let id = stream.split_once('/').map_or(stream, |(_, id)| id);
    for statement in [
        format!("DELETE FROM entities_v{} WHERE id = ?", tables.0),
        format!("DELETE FROM operations_v{} WHERE entity = ?", tables.0),
    ] {
        script.push(&statement).push(id);
    }
    let quarantined = script.push("DELETE FROM quarantine WHERE model = ? AND stream = ?");
    quarantined.push(model).push(stream);
}
