//! In-memory copies of the derived tables. Expected rows are written into them by the code that writes the views,
//! then read back: so exactly what that code writes is compared.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions, Row as _, SqliteConnection};
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::EntityRow;
use stateward_domain::time::Moment;

use super::untrusted_row::cell;
use crate::audit::{Cell, ENTITIES, ExpectedViews, QUEUE, Table, TableRow};
use crate::sqlite::transaction::WriteConnection;
use crate::sqlite::views::{self, tables::Tables};
use crate::sqlite::{queue, views_db};

/// Number of the model's tables in memory.
const TABLES: Tables = Tables(1);
/// Tables that do not follow from the log, or are verified elsewhere.
const EXCLUDED_TABLES: [&str; 5] =
    ["checkpoints", "quarantine", "sync_leases", "sync_observed", "sync_observed_since"];
/// Columns that do not follow from the log: `lease_after` depends on the steady clock of the process that wrote the
/// row.
const EXCLUDED_COLUMNS: [&str; 1] = ["lease_after"];
/// Columns that hold the entity's id, in the order in which they are searched for.
const ENTITY_ID_COLUMNS: [&str; 3] = ["entity", "user", "id"];

/// A table that follows from the log.
pub(super) struct DerivedTable {
    /// Its name; without the number of the live tables if it is one of the model's.
    prefix: String,
    numbered: bool,
    /// Its name in faults.
    name: String,
    model: &'static str,
    /// Column with the entity's id; `None` = a row covers many entities.
    pub(super) entity: Option<String>,
    /// Whether an index begins with the entity's id, so that the rows of one entity can be read by themselves.
    paged: bool,
    key: Vec<String>,
}

impl DerivedTable {
    /// Its name when the model's live tables have this number.
    pub(super) fn named(&self, tables: i64) -> String {
        if self.numbered { format!("{}{tables}", self.prefix) } else { self.prefix.clone() }
    }

    /// The projection whose checkpoint moves with it.
    pub(super) const fn model(&self) -> &'static str {
        self.model
    }

    /// Describes the table `name`: its columns with their places in the primary key (0 = none), and the first columns
    /// of its indexes.
    fn of(name: &str, columns: &[(String, i64)], first: &[String]) -> Self {
        let entity =
            ENTITY_ID_COLUMNS.iter().find(|of| columns.iter().any(|(column, _)| column == *of));
        let mut key: Vec<_> = columns.iter().filter(|(_, place)| *place > 0).collect();
        key.sort_by_key(|(_, place)| *place);
        let numbered = name.strip_suffix(&format!("_v{}", TABLES.0));
        Self {
            prefix: numbered.map_or_else(|| name.to_owned(), |bare| format!("{bare}_v")),
            numbered: numbered.is_some(),
            name: numbered.unwrap_or(name).to_owned(),
            model: if numbered.is_some() { ENTITIES } else { QUEUE },
            paged: entity.is_some_and(|entity| first.iter().any(|column| column == entity)),
            entity: entity.map(|entity| (*entity).to_owned()),
            key: key.into_iter().map(|(column, _)| column.clone()).collect(),
        }
    }

    /// Stored rows, each with its entity's id.
    pub(super) fn rows(&self, rows: &[SqliteRow]) -> Vec<(String, TableRow)> {
        let Some(first) = rows.first() else { return Vec::new() };
        let columns = first.columns().iter().map(|column| column.name().to_owned()).collect();
        let table = Arc::new(Table { name: self.name.clone(), columns, model: self.model });
        rows.iter().map(|row| self.row(&table, row)).collect()
    }

    fn row(&self, table: &Arc<Table>, row: &SqliteRow) -> (String, TableRow) {
        let value = |(place, name): (usize, &String)| {
            if EXCLUDED_COLUMNS.contains(&name.as_str()) { Cell::Null } else { cell(row, place) }
        };
        let cells: Vec<Cell> = table.columns.iter().enumerate().map(value).collect();
        let plain = |column: &String| {
            let place = table.columns.iter().position(|name| name == column);
            match place.map(|place| &cells[place]) {
                Some(Cell::Text(text)) => text.clone(),
                other => other.map(ToString::to_string).unwrap_or_default(),
            }
        };
        let key: Vec<_> = self.key.iter().map(plain).collect();
        let entity = self.entity.as_ref().map(plain).unwrap_or_default();
        let key = key.join(" ");
        (entity, TableRow { table: Arc::clone(table), key, cells })
    }
}

/// See the module.
pub(super) struct ShadowTables {
    writer: WriteConnection,
    /// Tables in which the rows of one entity can be read by themselves.
    pub(super) entity_tables: Arc<Vec<DerivedTable>>,
    /// Tables that are compared as a whole.
    pub(super) whole_tables: Arc<Vec<DerivedTable>>,
}

impl ShadowTables {
    pub(super) async fn open() -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new().in_memory(true).disable_statement_logging();
        let mut connection = options.connect().await?;
        sqlx::raw_sql(views_db::SCHEMA).execute(&mut connection).await?;
        sqlx::raw_sql(queue::schema::SCHEMA).execute(&mut connection).await?;
        TABLES.create(&mut connection).await?;
        let names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut tables = Vec::new();
        for name in texts(&mut connection, names).await? {
            let columns = format!("SELECT name, pk FROM pragma_table_info('{name}')");
            let columns: Vec<(String, i64)> =
                sqlx::query_as(AssertSqlSafe(columns)).fetch_all(&mut connection).await?;
            let first = format!(
                "SELECT i.name FROM pragma_index_list('{name}') l, pragma_index_info(l.name) i \
                 WHERE i.seqno = 0 AND i.name NOT NULL"
            );
            let first: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(first)).fetch_all(&mut connection).await?;
            if !EXCLUDED_TABLES.contains(&name.as_str()) {
                tables.push(DerivedTable::of(&name, &columns, &first));
            }
        }
        // No query here uses an index.
        let indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
        for name in texts(&mut connection, indexes).await? {
            let drop = format!("DROP INDEX {name}");
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await?;
        }
        let (entity_tables, whole_tables) =
            tables.into_iter().partition(|table: &DerivedTable| table.paged);
        let (entity_tables, whole_tables) = (Arc::new(entity_tables), Arc::new(whole_tables));
        Ok(Self { writer: WriteConnection::new(connection), entity_tables, whole_tables })
    }

    /// The expected rows for each of `folds`.
    pub(super) async fn rows(
        &mut self,
        folds: &[ExpectedViews],
    ) -> Result<Vec<Vec<TableRow>>, ModelError> {
        let entities: Vec<_> =
            folds.iter().filter_map(|fold| fold.entity.as_ref().map(|(row, _)| row)).collect();
        let operations: Vec<&OperationRow> =
            folds.iter().filter_map(|fold| fold.entity.as_ref()).flat_map(|(_, all)| all).collect();
        let queued: Vec<_> = folds.iter().filter_map(|fold| fold.queue_row.as_ref()).collect();
        let unavailable = |error| views::unavailable(error);
        let mut transaction = self.writer.pipeline();
        views::rows::save(&mut transaction, TABLES, &entities, &operations).await?;
        queue::put(&mut transaction, &queued, Moment::default()).await.map_err(unavailable)?;
        transaction.run().await.map_err(unavailable)?;
        let mut made: HashMap<String, Vec<TableRow>> = HashMap::new();
        for table in self.entity_tables.iter() {
            let all = format!("SELECT * FROM {}", table.named(TABLES.0));
            let rows = sqlx::query(AssertSqlSafe(all)).fetch_all(transaction.connection()).await;
            for (entity, row) in table.rows(&rows.map_err(unavailable)?) {
                made.entry(entity).or_default().push(row);
            }
        }
        drop(transaction);
        // Roll back: the rows were only written to be read.
        self.writer.roll_back_abandoned().await;
        let id = |fold: &ExpectedViews| {
            let entity = fold.entity.as_ref().map(|(row, _)| row.entity.id);
            entity.or_else(|| fold.queue_row.as_ref().map(|row| row.entity))
        };
        let rows = |fold| id(fold).and_then(|id| made.remove(&id.to_string())).unwrap_or_default();
        Ok(folds.iter().map(rows).collect())
    }
}

impl ShadowTables {
    /// The expected rows of whole tables, each with the index of its table and its entity. Totals (tables without an
    /// entity) keep accumulating.
    pub(super) async fn expected_in_whole_tables(
        &mut self,
        entities: &[EntityRow],
    ) -> Result<Vec<(usize, (String, TableRow))>, ModelError> {
        let mut transaction = self.writer.pipeline();
        let entities: Vec<_> = entities.iter().collect();
        views::rows::save(&mut transaction, TABLES, &entities, &[]).await?;
        transaction.run().await.map_err(views::unavailable)?;
        let mut made = Vec::new();
        for (place, table) in self.whole_tables.iter().enumerate() {
            if table.entity.is_some() {
                let all = format!("SELECT * FROM {}", table.named(TABLES.0));
                let rows =
                    sqlx::query(AssertSqlSafe(all)).fetch_all(transaction.connection()).await;
                let rows = table.rows(&rows.map_err(views::unavailable)?);
                made.extend(rows.into_iter().map(|row| (place, row)));
            }
        }
        for table in self.entity_tables.iter().chain(self.whole_tables.iter()) {
            if table.entity.is_some() {
                transaction.push(&format!("DELETE FROM {}", table.named(TABLES.0)));
            }
        }
        transaction.commit().await.map_err(|error| views::unavailable(error.into()))?;
        Ok(made)
    }

    /// The accumulated totals.
    pub(super) async fn totals(
        &mut self,
        table: &DerivedTable,
    ) -> Result<Vec<TableRow>, ModelError> {
        let all = AssertSqlSafe(format!("SELECT * FROM {}", table.named(TABLES.0)));
        let rows = sqlx::query(all).fetch_all(&mut *self.writer).await;
        let rows = table.rows(&rows.map_err(views::unavailable)?);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// Deletes the accumulated totals.
    pub(super) async fn clear_totals(&mut self) -> Result<(), ModelError> {
        for table in self.whole_tables.iter() {
            let all = AssertSqlSafe(format!("DELETE FROM {}", table.named(TABLES.0)));
            sqlx::query(all).execute(&mut *self.writer).await.map_err(views::unavailable)?;
        }
        Ok(())
    }
}

async fn texts(
    connection: &mut SqliteConnection,
    query: &'static str,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(query).fetch_all(connection).await
}
