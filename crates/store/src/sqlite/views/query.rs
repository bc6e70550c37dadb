//! What lists come from: keyset pages over the live tables.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, QueryBuilder, Sqlite};
use stateward_domain::entity::State;
use stateward_domain::id::{BackendName, EntityId, KindName, Namespace, OperationId};
use stateward_domain::ports::read_model::{
    EntityCount, EntityFilter, EntityRow, ModelError, OperationFilter, OperationRow, Page, Views,
};

use super::rows::{ENTITY_COLUMNS, EntityColumns, decode, entity, state_name};
use super::tables::Tables;
use super::{Entities, unavailable};
use crate::page;

impl Entities {
    async fn live(&self) -> Result<Tables, ModelError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let mut connection = self.file.readers.acquire().await.map_err(unavailable)?;
        self.tables(&mut connection).await
    }
}

/// One is looked up in an index that has the list's order. Several are not: whoever may look into many would wait for all
/// of theirs to be sorted, so the whole is gone through instead until the page is full.
fn namespaces(statement: &mut QueryBuilder<Sqlite>, namespaces: Option<&Vec<Namespace>>) {
    match namespaces.map(Vec::as_slice) {
        None => {}
        Some([one]) => {
            statement.push(" AND namespace = ").push_bind(one.0.clone());
        }
        Some(several) => {
            statement.push(" AND +namespace IN (SELECT value FROM json_each(");
            statement.push_bind(serde_json::to_string(several).expect("strings are JSON"));
            statement.push("))");
        }
    }
}

fn restrict(statement: &mut QueryBuilder<Sqlite>, filter: &EntityFilter) {
    namespaces(statement, filter.namespaces.as_ref());
    for (column, value) in [
        ("kind", filter.kind.as_ref().map(KindName::as_str)),
        ("name", filter.name.as_ref().map(stateward_domain::id::EntityName::as_str)),
        ("backend", filter.backend.as_ref().map(BackendName::as_str)),
        ("state", filter.state.map(State::name)),
    ] {
        if let Some(value) = value {
            statement.push(format!(" AND {column} = ")).push_bind(value.to_owned());
        }
    }
    if filter.state.is_none() {
        statement.push(" AND state <> 'deleted'");
    }
    if let Some(drifted) = filter.drifted {
        statement.push(" AND drifted = ").push_bind(drifted);
    }
    for (key, value) in &filter.labels {
        statement.push(" AND EXISTS (SELECT 1 FROM json_each(labels) l WHERE l.key = ");
        statement.push_bind(key.clone());
        statement.push(" AND l.value = ").push_bind(value.clone()).push(")");
    }
}

fn select_entities(
    statement: &mut QueryBuilder<Sqlite>,
    table: i64,
    filter: &EntityFilter,
    after: Option<EntityId>,
    size: usize,
) {
    statement.push(format!("SELECT {ENTITY_COLUMNS} FROM entities_v{table} WHERE id > "));
    statement.push_bind(after.map(|id| id.to_string()).unwrap_or_default());
    restrict(statement, filter);
    statement.push(" ORDER BY id LIMIT ").push_bind(one_more(size));
}

fn select_operations(
    statement: &mut QueryBuilder<Sqlite>,
    table: i64,
    filter: &OperationFilter,
    after: Option<OperationId>,
    size: usize,
) {
    statement.push(format!("SELECT data FROM operations_v{table} WHERE id < "));
    // Behind every hexadecimal digit: the newest come first.
    statement.push_bind(after.map_or_else(|| "~".to_owned(), |id| id.to_string()));
    namespaces(statement, filter.namespaces.as_ref());
    if let Some(entity) = filter.entity {
        statement.push(" AND entity = ").push_bind(entity.to_string());
    }
    if let Some(state) = filter.state {
        statement.push(" AND state = ").push_bind(state_name(state));
    }
    statement.push(" ORDER BY id DESC LIMIT ").push_bind(one_more(size));
}

/// Cuts a list that was read one longer than the page: the extra one tells that there is a next page.
fn cut<T>(mut items: Vec<T>, size: usize, token: impl Fn(&T) -> String) -> Page<T> {
    let more = items.len() > size;
    items.truncate(size);
    let next = items.last().filter(|_| more).map(token);
    Page { items, next }
}

fn one_more(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX - 1) + 1
}

#[async_trait]
impl Views for Entities {
    async fn entity(&self, id: EntityId) -> Result<Option<EntityRow>, ModelError> {
        let statement =
            format!("SELECT {ENTITY_COLUMNS} FROM entities_v{} WHERE id = ?", self.live().await?.0);
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
        let after = token.map(|token| page::after(&fingerprint, token)).transpose()?;
        let table = self.live().await?.0;
        let mut statement = QueryBuilder::new("");
        select_entities(&mut statement, table, filter, after.map(EntityId), size);
        let rows: Vec<EntityColumns> =
            statement.build_query_as().fetch_all(&self.file.readers).await.map_err(unavailable)?;
        let rows = rows.into_iter().map(entity).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, size, |row| page::token(&fingerprint, row.entity.id.0)))
    }

    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, ModelError> {
        let statement =
            format!("SELECT data FROM operations_v{} WHERE id = ?", self.live().await?.0);
        let data: Option<String> = sqlx::query_scalar(AssertSqlSafe(statement))
            .bind(id.to_string())
            .fetch_optional(&self.file.readers)
            .await
            .map_err(unavailable)?;
        data.map(|data| decode(&data)).transpose()
    }

    async fn operations(
        &self,
        filter: &OperationFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<OperationRow>, ModelError> {
        let fingerprint = format!("operations {filter:?}");
        let after = token.map(|token| page::after(&fingerprint, token)).transpose()?;
        let table = self.live().await?.0;
        let mut statement = QueryBuilder::new("");
        select_operations(&mut statement, table, filter, after.map(OperationId), size);
        let rows: Vec<String> = statement
            .build_query_scalar()
            .fetch_all(&self.file.readers)
            .await
            .map_err(unavailable)?;
        let rows = rows.iter().map(|data| decode(data)).collect::<Result<Vec<_>, _>>()?;
        Ok(cut(rows, size, |row: &OperationRow| page::token(&fingerprint, row.id.0)))
    }

    async fn counts(&self) -> Result<Vec<EntityCount>, ModelError> {
        let statement = format!(
            "SELECT backend, kind, state, blocked, dead, count(*) FROM entities_v{} \
             WHERE state <> 'deleted' GROUP BY backend, kind, state, blocked, dead",
            self.live().await?.0
        );
        let rows: Vec<(String, String, String, String, bool, i64)> =
            sqlx::query_as(AssertSqlSafe(statement))
                .fetch_all(&self.file.readers)
                .await
                .map_err(unavailable)?;
        let state = |name: &str| State::ALL.into_iter().find(|state| state.name() == name);
        let count =
            |(backend, kind, name, blocked, dead, count): (_, _, String, String, _, i64)| {
                Some(EntityCount {
                    backend: BackendName(backend),
                    kind: KindName(kind),
                    state: state(&name)?,
                    blocked: Some(blocked).filter(|reason| !reason.is_empty()),
                    dead,
                    count: u64::try_from(count).unwrap_or_default(),
                })
            };
        Ok(rows.into_iter().filter_map(count).collect())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};
    use stateward_domain::ports::read_model::OperationState;

    use super::*;

    const TABLE: i64 = 1;

    /// What the database would do for a list.
    async fn plan(select: impl Fn(&mut QueryBuilder<Sqlite>)) -> String {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory");
        Tables(TABLE).create(&mut connection).await.expect("tables");
        let mut statement = QueryBuilder::new("EXPLAIN QUERY PLAN ");
        select(&mut statement);
        let steps: Vec<(i64, i64, i64, String)> =
            statement.build_query_as().fetch_all(&mut connection).await.expect("a plan");
        steps.into_iter().map(|(.., step)| step).collect::<Vec<_>>().join("; ")
    }

    fn scopes() -> [Option<Vec<Namespace>>; 3] {
        [None, Some(vec![Namespace::from("a")]), Some(["a", "b"].map(Namespace::from).into())]
    }

    #[tokio::test]
    async fn no_page_of_entities_sorts_all_that_fit() {
        for namespaces in scopes() {
            for kind in [None, Some(KindName::from("fake.thing"))] {
                for state in [None, Some(State::Erred)] {
                    let (namespaces, kind) = (namespaces.clone(), kind.clone());
                    let filter = EntityFilter { namespaces, kind, state, ..Default::default() };
                    let plan = plan(|to| select_entities(to, TABLE, &filter, None, 100)).await;
                    assert!(plan.contains("id>?") && !plan.contains("SORT"), "{filter:?}: {plan}");
                    assert!(!plan.contains("ORDER BY"), "{filter:?}: {plan}");
                    let alone = matches!(&filter.namespaces, Some(one) if one.len() == 1);
                    assert!(!alone || state.is_some() || plan.contains("namespace=?"), "{plan}");
                    // Where a state is asked for, its own index may narrow the list as much.
                    let by_kind = filter.kind.is_some() && state.is_none();
                    assert!(!by_kind || plan.contains("kind=?"), "{filter:?}: {plan}");
                }
            }
        }
    }

    #[tokio::test]
    async fn no_page_of_operations_sorts_all_that_fit() {
        for namespaces in scopes() {
            for state in [None, Some(OperationState::Pending)] {
                let namespaces = namespaces.clone();
                let filter = OperationFilter { namespaces, state, entity: None };
                let plan = plan(|to| select_operations(to, TABLE, &filter, None, 100)).await;
                assert!(plan.contains("id<?") && !plan.contains("ORDER BY"), "{filter:?}: {plan}");
            }
        }
    }
}
