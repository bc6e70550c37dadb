//! Reads and writes rows of the model's tables. A delivery is one statement that begins with the compare-and-swap of the
//! checkpoint, and writes nothing where that fails.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::LazyLock;

use sqlx::AssertSqlSafe;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::id::{EntityId, OperationId, Position};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::EntityRow;
use uuid::Uuid;

use super::tables::{Pointer, TYPES_OF_COUNT, TYPES_OF_ENTITY, TYPES_OF_LABEL, TYPES_OF_OPERATION};
use crate::postgres::column_arrays::{ColumnArrays, ColumnType};
use crate::postgres::views_db::ViewsDb;
use crate::shared::stored_row::StoredRow;
use crate::shared::views::columns::{self, EntityColumns, FIXED_OF_ENTITY, READ_OF_ENTITY};
use crate::shared::views::fold::RowStore;
use crate::shared::views::labels_and_counts::{
    BeforeDelivery, CountChange, LabelAndCountChanges, LabelRow, LabelsAndGroup,
};

/// Columns of an [`EntityRow`] in a query of `entities_v<n> e`.
pub(super) static ENTITY_COLUMNS: LazyLock<String> =
    LazyLock::new(|| READ_OF_ENTITY.map(|column| format!("e.{column}")).join(", "));
static ENTITY_CHANGES: LazyLock<String> = LazyLock::new(|| {
    let changed = EntityRow::COLUMNS.iter().filter(|column| !FIXED_OF_ENTITY.contains(column));
    let set: Vec<_> = changed.map(|column| format!("{column} = excluded.{column}")).collect();
    format!("ON CONFLICT (id) DO UPDATE SET {}", set.join(", "))
});
const OPERATION_CHANGES: &str =
    "ON CONFLICT (id) DO UPDATE SET state = excluded.state, data = excluded.data";
const COUNT_CHANGES: &str = "ON CONFLICT (backend, kind, state, blocked, dead) \
     DO UPDATE SET number = t.number + excluded.number";

/// What a statement does besides writing rows.
pub(super) enum Purpose<'a> {
    /// Moves the checkpoint from the pointer's position to this one.
    Delivery(Position),
    /// Replaces all rows of this stream, and ends its quarantine.
    Retry { stream: &'a str, entity: Option<EntityId> },
}

/// The tables of an instance, written by one statement.
pub(super) struct TablesInStatement<'a> {
    pub(super) db: &'a ViewsDb,
    /// Name of the instance's checkpoint.
    pub(super) name: &'static str,
    pub(super) pointer: &'a Pointer,
    pub(super) purpose: Purpose<'a>,
    /// Whether the statement wrote: false = the pointer is elsewhere.
    pub(super) written: bool,
}

impl RowStore for TablesInStatement<'_> {
    async fn load_entities(
        &mut self,
        ids: &HashSet<EntityId>,
    ) -> Result<HashMap<EntityId, EntityRow>, ModelError> {
        // A retry begins with nothing: its rows are replaced.
        if matches!(self.purpose, Purpose::Retry { .. }) {
            return Ok(HashMap::new());
        }
        load_entities(self.db, self.pointer.tables, ids).await
    }

    async fn load_operations(
        &mut self,
        ids: &HashSet<OperationId>,
    ) -> Result<BTreeMap<OperationId, OperationRow>, ModelError> {
        if ids.is_empty() || matches!(self.purpose, Purpose::Retry { .. }) {
            return Ok(BTreeMap::new());
        }
        let n = self.pointer.tables;
        let read = format!("SELECT data FROM stateward_views.operations_v{n} WHERE id = ANY ($1)");
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        let rows: Vec<(String,)> =
            self.db.database.fetch_all(sqlx::query_as(AssertSqlSafe(read)).bind(ids)).await?;
        let row = |row: OperationRow| (row.id, row);
        rows.iter().map(|(data,)| Ok(columns::operation(data).map(row)?)).collect()
    }

    async fn save(
        &mut self,
        before: &BeforeDelivery,
        entities: &[&EntityRow],
        operations: &[&OperationRow],
    ) -> Result<(), ModelError> {
        let replaced;
        let before = match self.purpose {
            Purpose::Retry { entity: Some(entity), .. } => {
                let ids = [entity].into();
                let rows = load_entities(self.db, self.pointer.tables, &ids).await?;
                let facts = rows.iter().map(|(id, row)| (*id, LabelsAndGroup::of(row))).collect();
                replaced = BeforeDelivery { facts, begun: HashSet::new() };
                &replaced
            }
            _ => before,
        };
        let mut statement = Statement::begin(self);
        let n = self.pointer.tables;
        let (new, old): (Vec<&EntityRow>, Vec<_>) =
            entities.iter().partition(|row| before.begun.contains(&row.entity.id));
        let table = format!("entities_v{n}");
        statement.insert(&table, &TYPES_OF_ENTITY, &new, "");
        statement.insert(&table, &TYPES_OF_ENTITY, &old, &ENTITY_CHANGES);
        let changes = LabelAndCountChanges::between(before, entities);
        statement.delete_labels(n, &changes.gone);
        statement.insert(&format!("labels_v{n}"), &TYPES_OF_LABEL, &changes.new, "");
        let counts: Vec<CountChange<'_>> = changes.counts();
        statement.insert(&format!("counts_v{n}"), &TYPES_OF_COUNT, &counts, COUNT_CHANGES);
        let table = format!("operations_v{n}");
        statement.insert(&table, &TYPES_OF_OPERATION, operations, OPERATION_CHANGES);
        self.written = statement.execute(self, operations).await?;
        Ok(())
    }
}

async fn load_entities(
    db: &ViewsDb,
    n: i64,
    ids: &HashSet<EntityId>,
) -> Result<HashMap<EntityId, EntityRow>, ModelError> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let read = format!(
        "SELECT {} FROM stateward_views.entities_v{n} e WHERE e.id = ANY ($1)",
        *ENTITY_COLUMNS
    );
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows: Vec<EntityColumns> =
        db.database.fetch_all(sqlx::query_as(AssertSqlSafe(read)).bind(ids)).await?;
    let row = |row: EntityRow| (row.entity.id, row);
    rows.into_iter().map(|columns| Ok(columns::entity(columns).map(row)?)).collect()
}

/// The statement of a delivery or a retry: each part writes where the checkpoint was moved.
struct Statement {
    sql: String,
    /// Number of the next value.
    next: usize,
    /// Number of the next part.
    part: usize,
    arrays: Vec<ColumnArrays>,
}

impl Statement {
    /// The compare-and-swap. A retry leaves the position, so it fits between deliveries of others.
    fn begin(of: &TablesInStatement<'_>) -> Self {
        let n = of.pointer.tables;
        // Values 1 to 4: name, tables, changes, and the position from which a delivery goes on.
        let (sql, next) = match of.purpose {
            Purpose::Delivery(_) => (
                "WITH moved AS (UPDATE stateward_views.checkpoints SET position = $5 \
                 WHERE name = $1 AND tables = $2 AND changes = $3 AND position = $4 \
                 RETURNING stateward_views.lazily())"
                    .to_owned(),
                6,
            ),
            Purpose::Retry { .. } => (
                format!(
                    "WITH moved AS (UPDATE stateward_views.checkpoints SET changes = changes + 1 \
                     WHERE name = $1 AND tables = $2 AND changes = $3 \
                     RETURNING stateward_views.lazily()), \
                     released AS (DELETE FROM stateward_views.quarantine q USING moved \
                     WHERE q.model = $1 AND q.stream = $4), \
                     ended AS (DELETE FROM stateward_views.operations_v{n} o USING moved \
                     WHERE o.entity = $5 AND o.id <> ALL ($6))"
                ),
                7,
            ),
        };
        Self { sql, next, part: 0, arrays: Vec::new() }
    }

    /// Columns of rows as a table `x` of the statement.
    fn rows<R: StoredRow>(&mut self, types: &[ColumnType], rows: &[R]) -> String {
        let sent = |(number, column): (usize, &ColumnType)| {
            format!("${}::{}", self.next + number, column.sent())
        };
        let sent: Vec<_> = types.iter().enumerate().map(sent).collect();
        self.next += types.len();
        self.arrays.push(ColumnArrays::of(rows, types));
        format!("unnest({}) AS x ({})", sent.join(", "), R::COLUMNS.join(", "))
    }

    fn insert<R: StoredRow>(
        &mut self,
        table: &str,
        types: &[ColumnType],
        rows: &[R],
        conflict: &str,
    ) {
        if rows.is_empty() {
            return;
        }
        let from = self.rows(types, rows);
        let columns = R::COLUMNS.iter().zip(types);
        let values: Vec<_> =
            columns.map(|(name, column)| format!("x.{name}{}", column.cast())).collect();
        self.add(&format!(
            "INSERT INTO stateward_views.{table} AS t ({}) SELECT {} FROM moved, {from} {conflict}",
            R::COLUMNS.join(", "),
            values.join(", ")
        ));
    }

    fn delete_labels(&mut self, n: i64, rows: &[LabelRow]) {
        if rows.is_empty() {
            return;
        }
        let from = self.rows(&TYPES_OF_LABEL, rows);
        self.add(&format!(
            "DELETE FROM stateward_views.labels_v{n} l USING moved, {from} \
             WHERE l.namespace = x.namespace AND l.key = x.key AND l.value = x.value \
             AND l.id = x.id::uuid"
        ));
    }

    fn add(&mut self, part: &str) {
        let written = write!(self.sql, ", part{} AS ({part})", self.part);
        debug_assert!(written.is_ok(), "texts take everything");
        self.part += 1;
    }

    /// Whether the checkpoint was moved.
    async fn execute(
        self,
        of: &TablesInStatement<'_>,
        operations: &[&OperationRow],
    ) -> Result<bool, ModelError> {
        let sql = self.sql + " SELECT count(*) FROM moved";
        let query = sqlx::query_as(AssertSqlSafe(sql)).bind(of.name);
        let query = query.bind(of.pointer.tables).bind(of.pointer.changes);
        let query = match of.purpose {
            Purpose::Delivery(to) => {
                query.bind(of.pointer.position.to_string()).bind(to.to_string())
            }
            Purpose::Retry { stream, entity } => {
                let kept: Vec<Uuid> = operations.iter().map(|row| row.id.0).collect();
                query.bind(stream).bind(entity.map(|entity| entity.0)).bind(kept)
            }
        };
        let query = self.arrays.into_iter().fold(query, |query, array| array.bind(query));
        let moved: i64 = of.db.one(query).await?;
        Ok(moved > 0)
    }
}
