//! Every filter of the API: the database's plan of its query, and its results.

use std::sync::Arc;

use sqlx::{Connection, Sqlite, SqliteConnection};
use stateward_domain::entity::operation::OperationState;
use stateward_domain::time::ManualClock;

use super::*;
use crate::shared::views::filter_cases::{self, filters, scopes};
use crate::shared::views::plan;
use crate::sqlite::Store;
use crate::sqlite::views::rows;

const N: i64 = 1;

async fn tables() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory");
    Tables(N).create(&mut connection).await.expect("tables");
    connection
}

/// The query plan of a statement.
async fn steps(
    connection: &mut SqliteConnection,
    select: impl Fn(&mut QueryBuilder<Sqlite>),
) -> Vec<String> {
    let mut statement = QueryBuilder::new("EXPLAIN QUERY PLAN ");
    select(&mut statement);
    let steps: Vec<(i64, i64, i64, String)> =
        statement.build_query_as().fetch_all(connection).await.expect("a plan");
    steps.into_iter().map(|(.., step)| step).collect()
}

/// Each range is an index lookup behind the last page's id, and nothing is sorted: a page costs neither the whole
/// table nor all matches.
async fn is_looked_up<S: ListTables + Sync>(
    connection: &mut SqliteConnection,
    plan: &Plan<S>,
    what: &(impl std::fmt::Debug + Sync),
) {
    if plan.branches.is_empty() {
        return;
    }
    let range = IdRange { after: Some(Uuid::from_u128(1)), until: None };
    let up_to = IdRange { until: Some(Uuid::from_u128(2)), ..range };
    let statements = [
        steps(connection, |to| select::rows(to, N, plan, range, 100)).await,
        steps(connection, |to| select::rows(to, N, plan, up_to, 100)).await,
        steps(connection, |to| select::bound(to, N, plan, range, 100)).await,
    ];
    for steps in statements {
        let explained = steps.join("; ");
        let scans = |step: &&String| step.starts_with("SCAN") && !step.contains("VIRTUAL TABLE");
        assert_eq!(steps.iter().find(scans), None, "{what:?}: {explained}");
        assert!(!explained.contains("TEMP B-TREE"), "{what:?}: {explained}");
        let behind = |step: &&String| {
            step.contains("(id>") || step.contains("AND id>") || step.contains("id<")
        };
        assert_eq!(
            steps.iter().filter(behind).count(),
            plan.branches.len(),
            "{what:?}: {explained}"
        );
    }
}

#[tokio::test]
async fn every_filter_of_entities_is_looked_up() {
    let mut connection = tables().await;
    let mut seen = Vec::new();
    for filter in filters() {
        let plan = plan::entities(&filter);
        // Plans of one shape differ in their values alone.
        let shape = format!("{plan:?}");
        if !seen.contains(&shape) {
            is_looked_up(&mut connection, &plan, &filter).await;
            seen.push(shape);
        }
    }
    assert!(seen.len() > 100, "{}", seen.len());
}

#[tokio::test]
async fn every_filter_of_operations_is_looked_up() {
    let mut connection = tables().await;
    for namespaces in scopes() {
        for state in [None, Some(OperationState::Pending), Some(OperationState::Succeeded)] {
            for entity in [None, Some(EntityId::default())] {
                let filter = OperationFilter { namespaces: namespaces.clone(), entity, state };
                is_looked_up(&mut connection, &plan::operations(&filter), &filter).await;
            }
        }
    }
}

#[tokio::test]
async fn pages_hold_what_fits_once_and_in_order_however_short_they_are() {
    let directory = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(directory.path(), ManualClock::new()).await.expect("a store");
    let model = Arc::get_mut(&mut store.entities).expect("not shared yet");
    model.scanned_max = 7;
    let all = filter_cases::rows();
    {
        let mut writer = model.file.writer().await;
        let tables = model.tables(&mut writer).await.expect("tables");
        let mut transaction = writer.pipeline();
        let rows: Vec<_> = all.iter().collect();
        rows::save(&mut transaction, tables, &rows, &[]).await.expect("rows");
        transaction.commit().await.expect("written");
    }
    filter_cases::check(model, &all).await;
}
