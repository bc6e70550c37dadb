//! Lists: keyset pages over the live tables.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, QueryBuilder};
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::id::{EntityId, OperationId, Position};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::projection::Projection as _;
use stateward_domain::ports::read_model::{
    EntityCount, EntityFilter, EntityRow, OperationFilter, Page, Views,
};
use stateward_domain::ports::store_error::StoreError;
use uuid::Uuid;

use super::rows::ENTITY_COLUMNS;
use super::select::{self, ListTables};
use super::tables::Tables;
use super::{Entities, unavailable};
use crate::shared::views::columns::{self, CountColumns, EntityColumns, READ_OF_COUNT};
use crate::shared::views::page::{self, IdRange, ListSource, PageRequest};
use crate::shared::views::plan::{EntityAccessPath, OperationAccessPath, Plan};

impl Entities {
    async fn live(&self) -> Result<Tables, ModelError> {
        if let Some(known) = self.known_tables() {
            return Ok(known);
        }
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        self.tables(&mut connection).await
    }
}

/// Where the ids of lists stand: behind the other columns of their rows.
type ListedEntity = (String, i64, i64, i64, String);
type ListedOperation = (String, String);

impl ListSource<EntityAccessPath, EntityRow> for Entities {
    async fn as_of(&self) -> Result<Position, ModelError> {
        self.checkpoint().await
    }

    async fn bound(
        &self,
        plan: &Plan<EntityAccessPath>,
        range: IdRange,
        count: usize,
    ) -> Result<Option<Uuid>, ModelError> {
        self.bound_of("entities", plan, range, count).await
    }

    async fn rows(
        &self,
        plan: &Plan<EntityAccessPath>,
        range: IdRange,
        limit: usize,
    ) -> Result<Vec<(Uuid, EntityRow)>, ModelError> {
        let mut statement = QueryBuilder::new("");
        select::rows(&mut statement, self.live().await?.0, plan, range, limit);
        let read = statement.build_query_as().fetch_all(&self.file.readers);
        let rows: Vec<ListedEntity> = read.await.map_err(unavailable)?;
        let row = |(data, version, created, updated, id): ListedEntity| {
            Ok((listed_id("entities", &id)?, columns::entity((data, version, created, updated))?))
        };
        rows.into_iter().map(row).collect()
    }
}

impl ListSource<OperationAccessPath, OperationRow> for Entities {
    async fn as_of(&self) -> Result<Position, ModelError> {
        self.checkpoint().await
    }

    async fn bound(
        &self,
        plan: &Plan<OperationAccessPath>,
        range: IdRange,
        count: usize,
    ) -> Result<Option<Uuid>, ModelError> {
        self.bound_of("operations", plan, range, count).await
    }

    async fn rows(
        &self,
        plan: &Plan<OperationAccessPath>,
        range: IdRange,
        limit: usize,
    ) -> Result<Vec<(Uuid, OperationRow)>, ModelError> {
        let mut statement = QueryBuilder::new("");
        select::rows(&mut statement, self.live().await?.0, plan, range, limit);
        let read = statement.build_query_as().fetch_all(&self.file.readers);
        let rows: Vec<ListedOperation> = read.await.map_err(unavailable)?;
        let row = |(data, id): &ListedOperation| {
            Ok((listed_id("operations", id)?, columns::operation(data)?))
        };
        rows.iter().map(row).collect()
    }
}

impl Entities {
    async fn bound_of<S: ListTables + Sync>(
        &self,
        table: &'static str,
        plan: &Plan<S>,
        range: IdRange,
        count: usize,
    ) -> Result<Option<Uuid>, ModelError> {
        let mut statement = QueryBuilder::new("");
        select::bound(&mut statement, self.live().await?.0, plan, range, count);
        let bound = statement.build_query_scalar().fetch_optional(&self.file.readers);
        let bound: Option<String> = bound.await.map_err(unavailable)?;
        bound.map(|id| listed_id(table, &id)).transpose()
    }
}

fn listed_id(table: &'static str, id: &str) -> Result<Uuid, ModelError> {
    Uuid::try_parse(id).map_err(|error| StoreError::inconsistent((table, "id"), id, error).into())
}

#[async_trait]
impl Views for Entities {
    async fn entity(&self, id: EntityId) -> Result<Option<EntityRow>, ModelError> {
        let n = self.live().await?.0;
        let statement = format!("SELECT {} FROM entities_v{n} e WHERE id = ?", *ENTITY_COLUMNS);
        let row: Option<EntityColumns> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(id.to_string())
            .fetch_optional(&self.file.readers)
            .await
            .map_err(unavailable)?;
        Ok(row.map(columns::entity).transpose()?)
    }

    async fn entities(
        &self,
        filter: &EntityFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<EntityRow>, ModelError> {
        let request = PageRequest::of_entities(filter, size, token);
        page::read(self, PageRequest { scanned_max: self.scanned_max, ..request }).await
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, ModelError> {
        let statement =
            format!("SELECT data FROM operations_v{} WHERE id = ?", self.live().await?.0);
        let data: Option<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(id.to_string())
            .fetch_optional(&self.file.readers)
            .await
            .map_err(unavailable)?;
        Ok(data.map(|data| columns::operation(&data)).transpose()?)
    }

    async fn operations(
        &self,
        filter: &OperationFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<OperationRow>, ModelError> {
        let request = PageRequest::of_operations(filter, size, token);
        page::read(self, PageRequest { scanned_max: self.scanned_max, ..request }).await
    }

    async fn counts(&self) -> Result<Vec<EntityCount>, ModelError> {
        let statement = format!(
            "SELECT {} FROM counts_v{} WHERE number <> 0",
            READ_OF_COUNT.join(", "),
            self.live().await?.0
        );
        let rows: Vec<CountColumns> = sqlx::query_as(AssertSqlSafe(statement))
            .fetch_all(&self.file.readers)
            .await
            .map_err(unavailable)?;
        rows.into_iter().map(|columns| Ok(columns::count(columns)?)).collect()
    }
}

#[cfg(test)]
mod tests;
