//! Lists: keyset pages over the live tables. A call reads the pointer first; one that meets tables which another process
//! has dropped since reads it again.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, QueryBuilder};
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::id::{EntityId, OperationId, Position};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::{
    EntityCount, EntityFilter, EntityRow, OperationFilter, Page, Views,
};
use uuid::Uuid;

use super::Entities;
use super::rows::ENTITY_COLUMNS;
use super::select::{self, ListTables};
use super::tables::Pointer;
use crate::postgres::connect::Database;
use crate::shared::views::columns::{self, CountColumns, EntityColumns, READ_OF_COUNT};
use crate::shared::views::page::{self, IdRange, ListSource, PageRequest};
use crate::shared::views::plan::{EntityAccessPath, OperationAccessPath, Plan};

/// The tables of one moment. They may be dropped while they are read, and never change otherwise than forward.
#[derive(Clone, Copy)]
struct LiveTables<'a> {
    database: &'a Database,
    /// What they have applied.
    position: Position,
    /// Their number.
    tables: i64,
}

/// A row of a list, and its id behind the other columns.
type ListedEntity = (String, i64, i64, i64, Uuid);
type ListedOperation = (String, Uuid);

impl LiveTables<'_> {
    async fn bound_of<S: ListTables + Sync>(
        &self,
        plan: &Plan<S>,
        range: IdRange,
        count: usize,
    ) -> Result<Option<Uuid>, ModelError> {
        let mut statement = QueryBuilder::new("");
        select::bound(&mut statement, self.tables, plan, range, count);
        let bound = self.database.fetch_optional(statement.build_query_as()).await?;
        Ok(bound.map(|(id,): (Uuid,)| id))
    }
}

impl ListSource<EntityAccessPath, EntityRow> for LiveTables<'_> {
    async fn as_of(&self) -> Result<Position, ModelError> {
        Ok(self.position)
    }

    async fn bound(
        &self,
        plan: &Plan<EntityAccessPath>,
        range: IdRange,
        count: usize,
    ) -> Result<Option<Uuid>, ModelError> {
        self.bound_of(plan, range, count).await
    }

    async fn rows(
        &self,
        plan: &Plan<EntityAccessPath>,
        range: IdRange,
        limit: usize,
    ) -> Result<Vec<(Uuid, EntityRow)>, ModelError> {
        let mut statement = QueryBuilder::new("");
        select::rows(&mut statement, self.tables, plan, range, limit);
        let rows: Vec<ListedEntity> = self.database.fetch_all(statement.build_query_as()).await?;
        let row = |(data, version, created, updated, id): ListedEntity| {
            Ok((id, columns::entity((data, version, created, updated))?))
        };
        rows.into_iter().map(row).collect()
    }
}

impl ListSource<OperationAccessPath, OperationRow> for LiveTables<'_> {
    async fn as_of(&self) -> Result<Position, ModelError> {
        Ok(self.position)
    }

    async fn bound(
        &self,
        plan: &Plan<OperationAccessPath>,
        range: IdRange,
        count: usize,
    ) -> Result<Option<Uuid>, ModelError> {
        self.bound_of(plan, range, count).await
    }

    async fn rows(
        &self,
        plan: &Plan<OperationAccessPath>,
        range: IdRange,
        limit: usize,
    ) -> Result<Vec<(Uuid, OperationRow)>, ModelError> {
        let mut statement = QueryBuilder::new("");
        select::rows(&mut statement, self.tables, plan, range, limit);
        let rows: Vec<ListedOperation> =
            self.database.fetch_all(statement.build_query_as()).await?;
        rows.iter().map(|(data, id)| Ok((*id, columns::operation(data)?))).collect()
    }
}

impl Entities {
    async fn live(&self) -> Result<LiveTables<'_>, ModelError> {
        let Pointer { position, tables, .. } = self.pointer().await?;
        Ok(LiveTables { database: &self.db.database, position, tables })
    }

    /// What `read` finds in the live tables; read again where another process swapped them meanwhile.
    async fn read<'s, T, F>(
        &'s self,
        read: impl Fn(LiveTables<'s>) -> F + Send + Sync,
    ) -> Result<T, ModelError>
    where
        F: Future<Output = Result<T, ModelError>> + Send,
    {
        let mut live = self.live().await?;
        loop {
            match read(live).await {
                Err(ModelError::Store(error)) if error.is_temporary() => {
                    let now = self.live().await?;
                    if now.tables == live.tables {
                        return Err(error.into());
                    }
                    live = now;
                }
                read => return read,
            }
        }
    }
}

#[async_trait]
impl Views for Entities {
    async fn entity(&self, id: EntityId) -> Result<Option<EntityRow>, ModelError> {
        self.read(|live| async move {
            let read = format!(
                "SELECT {} FROM stateward_views.entities_v{} e WHERE e.id = $1",
                *ENTITY_COLUMNS, live.tables
            );
            let read = sqlx::query_as(AssertSqlSafe(read)).bind(id.0);
            let row: Option<EntityColumns> = live.database.fetch_optional(read).await?;
            Ok(row.map(columns::entity).transpose()?)
        })
        .await
    }

    async fn entities(
        &self,
        filter: &EntityFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<EntityRow>, ModelError> {
        self.read(|live| async move {
            page::read(&live, PageRequest::of_entities(filter, size, token)).await
        })
        .await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, ModelError> {
        self.read(|live| async move {
            let n = live.tables;
            let read = format!("SELECT data FROM stateward_views.operations_v{n} WHERE id = $1");
            let read = sqlx::query_as(AssertSqlSafe(read)).bind(id.0);
            let row: Option<(String,)> = live.database.fetch_optional(read).await?;
            Ok(row.map(|(data,)| columns::operation(&data)).transpose()?)
        })
        .await
    }

    async fn operations(
        &self,
        filter: &OperationFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<OperationRow>, ModelError> {
        self.read(|live| async move {
            page::read(&live, PageRequest::of_operations(filter, size, token)).await
        })
        .await
    }

    async fn counts(&self) -> Result<Vec<EntityCount>, ModelError> {
        self.read(|live| async move {
            let read = format!(
                "SELECT {} FROM stateward_views.counts_v{} WHERE number <> 0",
                READ_OF_COUNT.join(", "),
                live.tables
            );
            let rows: Vec<CountColumns> =
                live.database.fetch_all(sqlx::query_as(AssertSqlSafe(read))).await?;
            rows.into_iter().map(|row| Ok(columns::count(row)?)).collect()
        })
        .await
    }
}
