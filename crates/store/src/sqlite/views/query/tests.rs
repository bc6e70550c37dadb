//! Every filter of the API: its query plan, and its results.

use std::sync::Arc;

use sqlx::{Connection, Sqlite, SqliteConnection};
use stateward_domain::entity::operation::OperationState;
use stateward_domain::entity::state::{Drift, DriftPolicy};
use stateward_domain::entity::{Entity, State};
use stateward_domain::id::Namespace;
use stateward_domain::selector::Selector;
use stateward_domain::time::{ManualClock, Timestamp};

use super::*;
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

fn scopes() -> Vec<Option<Vec<Namespace>>> {
    let several = |count: usize| (0..count).map(|number| Namespace(format!("n{number}"))).collect();
    vec![None, Some(vec![]), Some(several(1)), Some(several(2)), Some(several(40))]
}

fn selectors() -> Vec<String> {
    let many: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    let many = format!("a in ({})", many.join(","));
    let texts = ["", "a=1", "a=1,b=2", "a in (1,2)", "a", "!a", "a!=1", "a notin (1,2)", "a!=1,b"];
    texts.map(str::to_owned).into_iter().chain([many]).collect()
}

fn selector(text: &str) -> Selector {
    if text.is_empty() { Selector::default() } else { text.parse().expect(text) }
}

/// Every combination of filters, with one value each.
fn filters() -> Vec<EntityFilter> {
    let mut all = Vec::new();
    for namespaces in scopes() {
        for bits in 0..8 {
            for state in [None, Some(State::Ok), Some(State::Erred), Some(State::Deleted)] {
                for drifted in [None, Some(true), Some(false)] {
                    for text in selectors() {
                        all.push(EntityFilter {
                            namespaces: namespaces.clone(),
                            kind: (bits & 1 > 0).then(|| "fake.thing".into()),
                            name: (bits & 2 > 0).then(|| "x".into()),
                            backend: (bits & 4 > 0).then(|| "sandbox".into()),
                            state,
                            drifted,
                            selector: selector(&text),
                        });
                    }
                }
            }
        }
    }
    all
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

/// A single filter, alone or within a namespace, is served by an index as a whole.
#[test]
fn each_filter_costs_a_page() {
    let alone = |change: fn(&mut EntityFilter)| {
        let mut filter = EntityFilter::default();
        change(&mut filter);
        filter
    };
    let each = [
        alone(|_| ()),
        alone(|filter| filter.kind = Some("fake.thing".into())),
        alone(|filter| filter.name = Some("x".into())),
        alone(|filter| filter.backend = Some("sandbox".into())),
        alone(|filter| filter.state = Some(State::Erred)),
        alone(|filter| filter.state = Some(State::Ok)),
        alone(|filter| filter.state = Some(State::Deleted)),
        alone(|filter| filter.drifted = Some(true)),
        alone(|filter| filter.selector = selector("a=1")),
        alone(|filter| filter.selector = selector("a in (1,2)")),
        alone(|filter| filter.selector = selector("a")),
    ];
    for filter in each {
        for namespaces in
            scopes().into_iter().filter(|all| all.as_ref().is_none_or(|a| a.len() < 3))
        {
            let filter = EntityFilter { namespaces, ..filter.clone() };
            assert_eq!(plan::entities(&filter).rest, [], "{filter:?}");
        }
    }
}

/// Entity `number` of a small data set in which all values are combined.
fn row(number: usize) -> EntityRow {
    let mut entity =
        Entity { id: EntityId(Uuid::from_u128(number as u128 + 1)), ..Entity::default() };
    let manifest = &mut entity.manifest;
    manifest.namespace = Namespace(format!("n{}", number % 3));
    manifest.kind = if number.is_multiple_of(5) { "local.file" } else { "fake.thing" }.into();
    manifest.name = (&*format!("x{}", number % 7)).into();
    manifest.backend = if number.is_multiple_of(4) { "local" } else { "sandbox" }.into();
    let labels = [("a", number % 3), ("b", number % 2)];
    let labels = labels.into_iter().filter(|(key, _)| *key == "a" || number % 11 > 2);
    manifest.settings.labels =
        labels.map(|(key, value)| (key.to_owned(), value.to_string())).collect();
    entity.state =
        [State::Ok, State::Ok, State::Erred, State::Updating, State::Deleted][number % 5];
    if number.is_multiple_of(6) {
        entity.drift =
            Some(Drift { diff: Vec::new(), since: Timestamp(1), policy: DriftPolicy::default() });
    }
    let (created_at, updated_at) = (Timestamp(1), Timestamp(1));
    EntityRow { version: entity.version, entity, created_at, updated_at }
}

fn fits(filter: &EntityFilter, row: &EntityRow) -> bool {
    let (entity, manifest) = (&row.entity, &row.entity.manifest);
    let state = match filter.state {
        None => entity.state != State::Deleted,
        Some(state) => entity.state == state,
    };
    state
        && filter.namespaces.as_ref().is_none_or(|all| all.contains(&manifest.namespace))
        && filter.kind.as_ref().is_none_or(|kind| *kind == manifest.kind)
        && filter.name.as_ref().is_none_or(|name| *name == manifest.name)
        && filter.backend.as_ref().is_none_or(|backend| *backend == manifest.backend)
        && filter.drifted.is_none_or(|drifted| drifted == entity.drift.is_some())
        && filter.selector.matches(&manifest.settings.labels)
}

#[tokio::test]
async fn pages_hold_what_fits_once_and_in_order_however_short_they_are() {
    const ROWS: usize = 120;
    let directory = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(directory.path(), ManualClock::new()).await.expect("a store");
    let model = Arc::get_mut(&mut store.entities).expect("not shared yet");
    model.scanned_max = 7;
    let all: Vec<EntityRow> = (0..ROWS).map(row).collect();
    {
        let mut writer = model.file.writer().await;
        let tables = model.tables(&mut writer).await.expect("tables");
        let mut transaction = writer.pipeline();
        let rows: Vec<_> = all.iter().collect();
        rows::save(&mut transaction, tables, &rows, &[]).await.expect("rows");
        transaction.commit().await.expect("written");
    }
    // Every seventh of all combinations; together they have every pair of filters.
    let (mut found, mut short) = (0, 0);
    for filter in filters().into_iter().step_by(7) {
        let filter = EntityFilter { name: filter.name.map(|_| "x3".into()), ..filter };
        let (mut ids, mut token) = (Vec::new(), None);
        loop {
            let page = model.entities(&filter, 5, token.as_deref()).await.expect("a page");
            short += usize::from(page.items.len() < 5 && page.next.is_some());
            ids.extend(page.items.iter().map(|row| row.entity.id));
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        let expected: Vec<_> =
            all.iter().filter(|row| fits(&filter, row)).map(|row| row.entity.id).collect();
        assert_eq!(ids, expected, "{filter:?}");
        found += ids.len();
    }
    assert!(found > 1_000 && short > 100, "the filters say little: {found} found, {short} short");
    let counts = model.counts().await.expect("counts");
    let living = all.iter().filter(|row| row.entity.state != State::Deleted).count();
    assert_eq!(counts.iter().map(|count| count.count).sum::<u64>(), living as u64);
}
