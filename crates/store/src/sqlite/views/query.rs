//! Lists: keyset pages over the live tables.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, QueryBuilder};
use stateward_domain::entity::State;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::id::{BackendName, EntityId, KindName, OperationId};
use stateward_domain::ports::read_model::{
    EntityCount, EntityFilter, EntityRow, ModelError, OperationFilter, Page, ReadModel, Views,
};
use stateward_domain::ports::store_error::StoreError;
use uuid::Uuid;

use super::plan::{self, Plan};
use super::rows::{ENTITY_COLUMNS, EntityColumns, decode, entity};
use super::select::{self, IdRange, ListSource};
use super::tables::Tables;
use super::{Entities, unavailable};
use crate::page_token;
use crate::sqlite::error::undecodable;
use crate::sqlite::integer::unsigned;

impl Entities {
    async fn live(&self) -> Result<Tables, ModelError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        self.tables(&mut connection).await
    }
}

/// A request for one page of a list.
struct PageRequest<'a, S> {
    plan: Plan<S>,
    /// Identifies the filter.
    fingerprint: String,
    size: usize,
    token: Option<&'a str>,
}

impl Entities {
    /// Reads a page. Where rows have to be tested, at most `scanned_max` are read, and the token continues behind
    /// them. Rows come with their ids.
    async fn page<S: ListSource, R>(
        &self,
        request: PageRequest<'_, S>,
    ) -> Result<Page<R>, ModelError>
    where
        R: for<'r> FromRow<'r, SqliteRow> + Identified + Send + Unpin,
    {
        let PageRequest { plan, fingerprint, size, token } = request;
        let after = token.map(|token| page_token::after(&fingerprint, token)).transpose()?;
        // Before the rows: a delivery in between makes them newer than said, never older.
        let as_of = ReadModel::checkpoint(self).await?;
        if plan.branches.is_empty() {
            return Ok(Page { items: Vec::new(), next: None, as_of });
        }
        let n = self.live().await?.0;
        let mut range = IdRange { after: after.map(|id| EntityId(id).to_string()), until: None };
        if !plan.rest.is_empty() {
            let mut statement = QueryBuilder::new("");
            select::bound(&mut statement, n, &plan, &range, self.scanned_max);
            let bound = statement.build_query_scalar().fetch_optional(&self.file.readers);
            range.until = bound.await.map_err(unavailable)?;
        }
        let mut statement = QueryBuilder::new("");
        select::rows(&mut statement, n, &plan, &range, size.saturating_add(1));
        let read = statement.build_query_as().fetch_all(&self.file.readers);
        let mut items: Vec<R> = read.await.map_err(unavailable)?;
        // One row more than the page shows that there is a next page.
        let more = items.len() > size;
        items.truncate(size);
        let last = items.last().filter(|_| more).map(|row| row.id().to_owned()).or(range.until);
        let token = |id: String| {
            let id = Uuid::try_parse(&id);
            let id = id.map_err(|error| StoreError::inconsistent(("entities", "id"), "", error));
            id.map(|id| page_token::token(&fingerprint, id))
        };
        Ok(Page { items, next: last.map(token).transpose()?, as_of })
    }
}

/// A row with its id.
trait Identified {
    fn id(&self) -> &str;
}

type ListedEntity = (String, i64, i64, i64, String);
type ListedOperation = (String, String);

impl Identified for ListedEntity {
    fn id(&self) -> &str {
        &self.4
    }
}

impl Identified for ListedOperation {
    fn id(&self) -> &str {
        &self.1
    }
}

#[async_trait]
impl Views for Entities {
    async fn entity(&self, id: EntityId) -> Result<Option<EntityRow>, ModelError> {
        let statement = format!(
            "SELECT {ENTITY_COLUMNS} FROM entities_v{} e WHERE id = ?",
            self.live().await?.0
        );
        let row: Option<EntityColumns> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(id.to_string())
            .fetch_optional(&self.file.readers)
            .await
            .map_err(unavailable)?;
        row.map(entity).transpose()
    }

    async fn entities(
        &self,
        filter: &EntityFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<EntityRow>, ModelError> {
        let fingerprint = format!("entities {filter:?}");
        let request = PageRequest { plan: plan::entities(filter), fingerprint, size, token };
        let Page { items, next, as_of } = self.page::<_, ListedEntity>(request).await?;
        let row = |(data, version, created, updated, _)| entity((data, version, created, updated));
        let items = items.into_iter().map(row).collect::<Result<_, _>>()?;
        Ok(Page { items, next, as_of })
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, ModelError> {
        let statement =
            format!("SELECT data FROM operations_v{} WHERE id = ?", self.live().await?.0);
        let data: Option<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(id.to_string())
            .fetch_optional(&self.file.readers)
            .await
            .map_err(unavailable)?;
        data.map(|data| decode("operations", &data)).transpose()
    }

    async fn operations(
        &self,
        filter: &OperationFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<OperationRow>, ModelError> {
        let fingerprint = format!("operations {filter:?}");
        let request = PageRequest { plan: plan::operations(filter), fingerprint, size, token };
        let Page { items, next, as_of } = self.page::<_, ListedOperation>(request).await?;
        let items =
            items.iter().map(|(data, _)| decode("operations", data)).collect::<Result<_, _>>()?;
        Ok(Page { items, next, as_of })
    }

    async fn counts(&self) -> Result<Vec<EntityCount>, ModelError> {
        let statement = format!(
            "SELECT backend, kind, state, blocked, dead, number FROM counts_v{} WHERE number > 0",
            self.live().await?.0
        );
        let rows: Vec<(String, String, String, String, bool, i64)> =
            sqlx::query_as(AssertSqlSafe(statement))
                .fetch_all(&self.file.readers)
                .await
                .map_err(unavailable)?;
        let state = |name: &str| State::ALL.into_iter().find(|state| state.name() == name);
        let count =
            |(backend, kind, name, blocked, dead, count): (String, _, String, String, _, i64)| {
                let unknown =
                    || undecodable(("counts", "state"), &backend, "there is no such state");
                Ok(EntityCount {
                    state: state(&name).ok_or_else(unknown)?,
                    count: unsigned(("counts", "number"), &backend, count)?,
                    backend: BackendName(backend),
                    kind: KindName(kind),
                    blocked: Some(blocked).filter(|reason| !reason.is_empty()),
                    dead,
                })
            };
        rows.into_iter().map(count).collect::<Result<_, _>>().map_err(unavailable)
    }
}

#[cfg(test)]
mod tests;
