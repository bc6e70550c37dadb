//! Reads the stored rows of derived tables, a page of entities at a time.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow as _, Row as _, SqliteConnection};
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{Position, Version};

use super::shadow_tables::DerivedTable;
use super::untrusted_row::{cell, lossy};
use crate::audit::{
    Cell, ENTITIES, QUEUE, QuarantinedStream, StoredCheckpoint, StoredRows, TableRow, ViewPage,
};
use crate::shared::queue_row::{self, QueueColumns};

/// Sorts behind every text.
const LAST: &str = "\u{10ffff}";
/// Checkpoints that are read, at most; three exist.
const CHECKPOINTS_MAX: i64 = 100;

/// All checkpoints.
pub(super) async fn checkpoints(
    connection: &mut SqliteConnection,
) -> Result<Vec<StoredCheckpoint>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT name, position, tables, tables = 0 OR EXISTS (SELECT 1 FROM sqlite_schema \
         WHERE type = 'table' AND sqlite_schema.name = 'entities_v' || tables) \
         FROM checkpoints ORDER BY name LIMIT ?",
    );
    let rows = rows.bind(CHECKPOINTS_MAX).fetch_all(connection).await?;
    let checkpoint = |row: &SqliteRow| {
        let tables = row.try_get(2);
        StoredCheckpoint {
            name: lossy(row, 0),
            position: position(row, 1),
            has_tables: tables.is_ok() && row.try_get(3).unwrap_or_default(),
            tables: tables.unwrap_or_default(),
        }
    };
    Ok(rows.iter().map(checkpoint).collect())
}

/// A position column; `None` = it is not a valid position.
fn position(row: &SqliteRow, place: usize) -> Option<Position> {
    let Cell::Text(text) = cell(row, place) else { return None };
    text.parse().ok()
}

/// Quarantine rows behind this model and stream.
pub(super) async fn quarantine(
    connection: &mut SqliteConnection,
    after: (&str, &str),
    limit: i64,
) -> Result<Vec<QuarantinedStream>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT model, stream, position FROM quarantine WHERE (model, stream) > (?, ?) \
         ORDER BY model, stream LIMIT ?",
    );
    let rows = rows.bind(after.0).bind(after.1).bind(limit).fetch_all(connection).await?;
    let row = |row: &SqliteRow| QuarantinedStream {
        model: lossy(row, 0),
        stream: lossy(row, 1),
        position: position(row, 2),
    };
    Ok(rows.iter().map(row).collect())
}

/// Rows of `tables` of entities behind `after`, about `limit` of each table. Called within one transaction, so that
/// all rows are of one snapshot.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    epoch: u32,
    tables: &[DerivedTable],
    after: &str,
    limit: i64,
) -> Result<ViewPage, sqlx::Error> {
    let stored = checkpoints(connection).await?;
    let of = |name: &str| stored.iter().find(|checkpoint| checkpoint.name == name);
    // Another epoch is a fault that was reported, and no reason to skip the comparison.
    let ours = |at: Position| if at == Position::START { at } else { Position { epoch, ..at } };
    let at = |name: &str| of(name).and_then(|checkpoint| checkpoint.position).map(ours);
    let mut page = ViewPage { queue: at(QUEUE), ..ViewPage::default() };
    let live = of(ENTITIES).filter(|checkpoint| checkpoint.tables != 0 && checkpoint.has_tables);
    if live.is_some() {
        page.entities = at(ENTITIES);
    }
    let live = live.map(|checkpoint| checkpoint.tables);
    let there = tables.iter().filter(|table| table.model() == QUEUE || live.is_some());
    let there: Vec<(&DerivedTable, &str, String)> = there
        .filter_map(|table| {
            Some((table, table.entity.as_deref()?, table.named(live.unwrap_or_default())))
        })
        .collect();
    for (_, entity, name) in &there {
        let last = format!(
            "SELECT {entity} FROM {name} WHERE {entity} > ? ORDER BY {entity} LIMIT 1 OFFSET ?"
        );
        let last = sqlx::query(AssertSqlSafe(last)).bind(after).bind(limit - 1);
        let last = last.fetch_optional(&mut *connection).await?.map(|row| lossy(&row, 0));
        let until = page.until.take();
        page.until = match (last, until) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    // The last page has no upper bound, so that it includes ids that are not valid text, which sort behind every
    // text.
    let ends = page.until.is_some();
    let upper = |entity: &str| {
        if ends { format!("AND {entity} <= ?") } else { "AND ? IS NULL".to_owned() }
    };
    let mut dependencies: HashMap<String, Vec<ClaimKey>> = HashMap::new();
    let mut queued = HashMap::new();
    for (table, entity, name) in &there {
        let rows =
            format!("SELECT * FROM {name} WHERE {entity} > ? {} ORDER BY {entity}", upper(entity));
        let rows = sqlx::query(AssertSqlSafe(rows)).bind(after).bind(page.until.clone());
        let rows = rows.fetch_all(&mut *connection).await?;
        for (raw, (id, row)) in rows.iter().zip(table.rows(&rows)) {
            match row.table.name.as_str() {
                "sync_uses" => dependencies.entry(id.clone()).or_default().extend(used(&row)),
                "sync_queue" => drop(queued.insert(id.clone(), QueueColumns::from_row(raw))),
                _ => {}
            }
            let stored = page.stored.entry(id).or_default();
            stored.version = stored.version.or_else(|| version(&row));
            stored.rows.push(row);
        }
    }
    for (id, columns) in queued {
        let dependencies = dependencies.remove(&id).unwrap_or_default().into_iter().collect();
        let stored: &mut StoredRows = page.stored.entry(id).or_default();
        stored.queue_row =
            columns.ok().and_then(|columns| queue_row::decode(columns, dependencies).ok());
    }
    let until = page.until.as_deref().unwrap_or(LAST);
    page.set_aside = set_aside(connection, after, until).await?;
    Ok(page)
}

fn used(row: &TableRow) -> Option<ClaimKey> {
    let place = row.table.columns.iter().position(|column| column == "used")?;
    match &row.cells[place] {
        Cell::Text(text) => Some(ClaimKey(text.clone())),
        _ => None,
    }
}

/// Version of the model's row of an entity; `None` = the row is of another table.
fn version(row: &TableRow) -> Option<Version> {
    let place = row.table.columns.iter().position(|column| column == "version")?;
    match &row.cells[place] {
        Cell::Integer(version) if row.table.name == ENTITIES => {
            u64::try_from(*version).ok().map(Version)
        }
        _ => None,
    }
}

async fn set_aside(
    connection: &mut SqliteConnection,
    after: &str,
    until: &str,
) -> Result<HashMap<String, Position>, sqlx::Error> {
    let stream = |id: &str| format!("{}/{id}", StreamId::ENTITY);
    let rows = sqlx::query(
        "SELECT stream, position FROM quarantine WHERE model = ? AND stream > ? AND stream <= ?",
    );
    let rows = rows.bind(ENTITIES).bind(stream(after)).bind(stream(until));
    let rows = rows.fetch_all(connection).await?;
    let entry = |row: &SqliteRow| {
        let stream: StreamId = lossy(row, 0).parse().ok()?;
        // An unreadable position counts as quarantined from the start.
        Some((stream.id, position(row, 1).unwrap_or_default()))
    };
    Ok(rows.iter().filter_map(entry).collect())
}
