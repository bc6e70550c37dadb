//! Reads the stored rows of derived tables, a page of entities at a time, each from one short snapshot.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::StreamId;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::store_error::StoreError;
use tokio::time::timeout;
use uuid::Uuid;

use crate::audit::{
    Cell, ENTITIES, QUEUE, StoredCheckpoint, StoredRows, Table, TableRow, ViewPage,
};
use crate::postgres::column_arrays::ColumnType;
use crate::postgres::connect::Database;
use crate::postgres::error::store_error;
use crate::postgres::queue::TYPES as TYPES_OF_QUEUE;
use crate::postgres::views::tables::{TYPES_OF_ENTITY, TYPES_OF_OPERATION};
use crate::shared::queue_row::{self, QueueColumns, TimedQueueRow};
use crate::shared::stored_row::StoredRow;
use crate::sql_value::limit_of;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::ports::read_model::EntityRow;

/// Checkpoints that are read, at most; three exist.
const CHECKPOINTS_MAX: i64 = 100;
/// How long the queries of a page may take.
const PAGE_TIME: Duration = Duration::from_mins(1);
/// Times that a page is read whose tables are dropped meanwhile.
const TRIES: usize = 5;

/// A table whose rows have an entity, read by its id.
struct PagedTable {
    /// Its name, without the number of the model's tables.
    name: &'static str,
    /// Whether its name has that number.
    numbered: bool,
    model: &'static str,
    /// Column with the entity's id.
    entity: &'static str,
    /// Columns as they are compared, each with its name in the table and its type.
    columns: Vec<(&'static str, &'static str, ColumnType)>,
    /// Columns of the primary key.
    key: &'static [&'static str],
}

fn tables() -> [PagedTable; 4] {
    fn columns(
        names: &'static [&'static str],
        types: &[ColumnType],
    ) -> Vec<(&'static str, &'static str, ColumnType)> {
        names.iter().zip(types).map(|(name, kind)| (*name, *name, *kind)).collect()
    }
    let table = |name, numbered, entity, columns, key| PagedTable {
        name,
        numbered,
        model: if numbered { ENTITIES } else { QUEUE },
        entity,
        columns,
        key,
    };
    let uses = vec![("user", "user_id", ColumnType::Uuid), ("used", "used", ColumnType::Text)];
    [
        table("entities", true, "id", columns(EntityRow::COLUMNS, &TYPES_OF_ENTITY), &["id"]),
        table(
            "operations",
            true,
            "entity",
            columns(OperationRow::COLUMNS, &TYPES_OF_OPERATION),
            &["id"],
        ),
        table(
            "sync_queue",
            false,
            "entity",
            columns(TimedQueueRow::COLUMNS, &TYPES_OF_QUEUE),
            &["entity"],
        ),
        table("sync_uses", false, "user_id", uses, &["user", "used"]),
    ]
}

impl PagedTable {
    fn named(&self, n: i64) -> String {
        let name = self.name;
        if self.numbered {
            format!("stateward_views.{name}_v{n}")
        } else {
            format!("stateward_views.{name}")
        }
    }

    /// Its rows behind `$1` and, where the page has an end, up to `$2`.
    fn select(&self, n: i64) -> String {
        let column = |(_, stored, kind): &(&str, &str, ColumnType)| match kind {
            // `lease_after` depends on the clock of the process that wrote the row.
            _ if *stored == "lease_after" => "NULL::bigint".to_owned(),
            ColumnType::Uuid | ColumnType::Json => format!("{stored}::text"),
            ColumnType::Flag => format!("{stored}::int::bigint"),
            ColumnType::Text | ColumnType::Number => (*stored).to_owned(),
        };
        let columns: Vec<_> = self.columns.iter().map(column).collect();
        let (entity, name) = (self.entity, self.named(n));
        format!(
            "SELECT {entity}::text, {} FROM {name} WHERE ($1::uuid IS NULL OR {entity} > $1) \
             AND ($2::uuid IS NULL OR {entity} <= $2) ORDER BY {entity}",
            columns.join(", ")
        )
    }

    /// A row with the id of its entity.
    fn row(&self, table: &Arc<Table>, row: &PgRow) -> Result<(String, TableRow), sqlx::Error> {
        let mut cells = Vec::with_capacity(self.columns.len());
        for (place, (.., kind)) in self.columns.iter().enumerate() {
            cells.push(cell(row, place + 1, *kind)?);
        }
        let text = |name: &&str| {
            let place = self.columns.iter().position(|(column, ..)| column == name);
            match place.map(|place| &cells[place]) {
                Some(Cell::Text(text)) => text.clone(),
                other => other.map(ToString::to_string).unwrap_or_default(),
            }
        };
        let key = self.key.iter().map(text).collect::<Vec<_>>().join(" ");
        Ok((row.try_get(0)?, TableRow { table: Arc::clone(table), key, cells }))
    }
}

fn cell(row: &PgRow, place: usize, kind: ColumnType) -> Result<Cell, sqlx::Error> {
    Ok(match kind {
        ColumnType::Number | ColumnType::Flag => {
            row.try_get::<Option<i64>, _>(place)?.map_or(Cell::Null, Cell::Integer)
        }
        ColumnType::Json => row.try_get::<Option<&str>, _>(place)?.map_or(Cell::Null, |text| {
            // The server keeps no spelling of it: compared as this program writes it.
            let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
            Cell::Text(value.map_or_else(|| text.to_owned(), |value| value.to_string()))
        }),
        ColumnType::Text | ColumnType::Uuid => {
            row.try_get::<Option<String>, _>(place)?.map_or(Cell::Null, Cell::Text)
        }
    })
}

/// All checkpoints.
pub(super) async fn checkpoints(
    connection: &mut PgConnection,
) -> Result<Vec<StoredCheckpoint>, sqlx::Error> {
    let rows = sqlx::query_as(
        "SELECT name, position, tables, \
         tables = 0 OR to_regclass('stateward_views.entities_v' || tables) IS NOT NULL \
         FROM stateward_views.checkpoints ORDER BY name LIMIT $1",
    );
    let rows: Vec<(String, String, i64, bool)> =
        rows.bind(CHECKPOINTS_MAX).fetch_all(connection).await?;
    let checkpoint = |(name, position, tables, has_tables): (String, String, i64, bool)| {
        StoredCheckpoint { name, position: position.parse().ok(), tables, has_tables }
    };
    Ok(rows.into_iter().map(checkpoint).collect())
}

/// Rows of entities behind `after`, about `limit` of each table. A rebuild may drop tables meanwhile; then it is read
/// again.
pub(super) async fn read(
    database: &Database,
    epoch: u32,
    after: &str,
    limit: usize,
) -> Result<ViewPage, StoreError> {
    let mut result = Err(StoreError::unavailable("the page was not read"));
    for _ in 0..TRIES {
        let mut session = database.session().await?;
        let page = timeout(PAGE_TIME, snapshot(session.raw(), epoch, after, limit)).await;
        match page {
            Ok(Ok(page)) => {
                session.done();
                return Ok(page);
            }
            // The session is closed with its snapshot.
            Ok(Err(error)) => result = Err(store_error(error)),
            Err(_) => return Err(StoreError::unavailable("the views are not read in time")),
        }
    }
    result
}

async fn snapshot(
    connection: &mut PgConnection,
    epoch: u32,
    after: &str,
    limit: usize,
) -> Result<ViewPage, sqlx::Error> {
    let begin = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
    sqlx::query(begin).execute(&mut *connection).await?;
    let page = page(connection, epoch, after, limit).await?;
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(page)
}

async fn page(
    connection: &mut PgConnection,
    epoch: u32,
    after: &str,
    limit: usize,
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
    let n = live.map(|checkpoint| checkpoint.tables).unwrap_or_default();
    let there: Vec<_> =
        tables().into_iter().filter(|table| !table.numbered || live.is_some()).collect();
    let behind: Option<Uuid> = after.parse().ok();
    for table in &there {
        let (entity, name) = (table.entity, table.named(n));
        let last = format!(
            "SELECT {entity}::text FROM {name} WHERE ($1::uuid IS NULL OR {entity} > $1) \
             ORDER BY {entity} LIMIT 1 OFFSET $2"
        );
        let last = sqlx::query_scalar(AssertSqlSafe(last)).bind(behind).bind(limit_of(limit) - 1);
        let last: Option<String> = last.fetch_optional(&mut *connection).await?;
        page.until = match (last, page.until.take()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
    let until: Option<Uuid> = page.until.as_ref().and_then(|until| until.parse().ok());
    for table in &there {
        let rows = sqlx::query(AssertSqlSafe(table.select(n))).bind(behind).bind(until);
        let rows = rows.fetch_all(&mut *connection).await?;
        let columns = table.columns.iter().map(|(name, ..)| (*name).to_owned()).collect();
        let named = Table { name: table.name.to_owned(), columns, model: table.model };
        let named = Arc::new(named);
        for row in &rows {
            let (id, row) = table.row(&named, row)?;
            page.stored.entry(id).or_default().rows.push(row);
        }
    }
    for rows in page.stored.values_mut() {
        rows.version = version(rows);
        rows.queue_row = queued(rows);
    }
    page.set_aside = set_aside(connection, after, page.until.as_deref()).await?;
    Ok(page)
}

fn value<'r>(row: &'r TableRow, column: &str) -> Option<&'r Cell> {
    row.table.columns.iter().position(|name| name == column).map(|place| &row.cells[place])
}

fn text(row: &TableRow, column: &str) -> Option<String> {
    match value(row, column) {
        Some(Cell::Text(text)) => Some(text.clone()),
        _ => None,
    }
}

fn number(row: &TableRow, column: &str) -> Option<i64> {
    match value(row, column) {
        Some(Cell::Integer(number)) => Some(*number),
        _ => None,
    }
}

/// Version of the model's row of an entity; `None` = it has no row.
fn version(stored: &StoredRows) -> Option<Version> {
    let row = stored.rows.iter().find(|row| row.table.name == ENTITIES)?;
    u64::try_from(number(row, "version")?).ok().map(Version)
}

/// The row of the queue; `None` = there is none, or it cannot be read.
fn queued(stored: &StoredRows) -> Option<stateward_domain::entity::next_work::QueueRow> {
    let row = stored.rows.iter().find(|row| row.table.name == "sync_queue")?;
    let columns: QueueColumns = (
        text(row, "entity")?,
        text(row, "backend")?,
        number(row, "priority")?,
        number(row, "since"),
        number(row, "due"),
        text(row, "waits_for"),
        text(row, "position")?,
    );
    let uses = stored.rows.iter().filter(|row| row.table.name == "sync_uses");
    let uses = uses.filter_map(|row| text(row, "used")).map(ClaimKey).collect();
    queue_row::decode(columns, uses).ok()
}

async fn set_aside(
    connection: &mut PgConnection,
    after: &str,
    until: Option<&str>,
) -> Result<HashMap<String, Position>, sqlx::Error> {
    let stream = |id: &str| format!("{}/{id}", StreamId::ENTITY);
    let rows = sqlx::query_as(
        "SELECT stream, position FROM stateward_views.quarantine \
         WHERE model = $1 AND stream > $2 AND stream <= $3",
    );
    let rows = rows.bind(ENTITIES).bind(stream(after)).bind(stream(until.unwrap_or("\u{10ffff}")));
    let rows: Vec<(String, String)> = rows.fetch_all(connection).await?;
    let entry = |(stream, position): (String, String)| {
        let stream: StreamId = stream.parse().ok()?;
        // An unreadable position counts as quarantined from the start.
        Some((stream.id, position.parse().unwrap_or_default()))
    };
    Ok(rows.into_iter().filter_map(entry).collect())
}
