//! The read model as several processes deliver to it, rebuild it and read from it.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::Recorded;
use stateward_domain::id::{EntityId, Position, Version};
use stateward_domain::ports::projection::{ModelError, Quarantined};
use stateward_domain::ports::read_model::{EntityFilter, ReadModel, Rebuild, Views};
use stateward_domain::ports::store_error::StoreError;

use super::{TestDatabase, test_database};
use crate::histories::{HistoryWriter, histories};
use crate::support::{ManualClock, Subject};

/// Two processes on one database, with the events of some lives in its log.
struct Shared {
    database: TestDatabase,
    one: Subject,
    two: Subject,
    events: Vec<Recorded>,
}

impl Shared {
    async fn on(database: TestDatabase) -> Self {
        let clock = ManualClock::new();
        let one = Subject::node(&database, clock.clone()).await;
        let two = Subject::node(&database, clock.clone()).await;
        HistoryWriter::new(clock).append_histories(&*one.log, &histories(3, 12, 40)).await;
        let events = one.log.read_log(Position::START, usize::MAX).await.unwrap().events;
        Self { database, one, two, events }
    }

    /// The fold of the first `count` events, of undeleted entities by id.
    fn folds(&self, count: usize) -> Vec<Entity> {
        let mut folds = BTreeMap::<EntityId, Entity>::new();
        for recorded in &self.events[..count] {
            let id = recorded.stream.entity_id().unwrap();
            let event = recorded.decode(EntityEvent::known).unwrap();
            folds.entry(id).or_default().evolve(&event);
        }
        let deleted = stateward_domain::entity::State::Deleted;
        folds.into_values().filter(|entity| entity.state != deleted).collect()
    }
}

async fn rows(views: &dyn Views) -> Vec<Entity> {
    let page = views.entities(&EntityFilter::default(), 1_000, None).await.unwrap();
    page.items.into_iter().map(|row| row.entity).collect()
}

async fn delivered(model: &dyn ReadModel, events: &[Recorded]) -> Result<(), ModelError> {
    let from = model.checkpoint().await?;
    let new: Vec<_> = events.iter().filter(|event| event.position > from).cloned().collect();
    match new.last() {
        Some(last) => model.apply(from, last.position, &new).await,
        None => Ok(()),
    }
}

#[tokio::test]
async fn processes_that_deliver_in_turns_write_what_one_would() {
    let Some(database) = test_database() else { return };
    let shared = Shared::on(database.await).await;
    let mut at = 0;
    // Each has rows in memory that the other has changed since.
    for (turn, process) in [&shared.one, &shared.two].into_iter().cycle().enumerate() {
        at = (at + 5 + turn % 3).min(shared.events.len());
        delivered(&*process.model, &shared.events[..at]).await.unwrap();
        assert_eq!(rows(&*shared.two.views).await, shared.folds(at));
        if at == shared.events.len() {
            break;
        }
    }
    assert_eq!(rows(&*shared.one.views).await, shared.folds(at));
}

#[tokio::test]
async fn of_two_deliveries_at_once_one_is_written() {
    let Some(database) = test_database() else { return };
    let shared = Shared::on(database.await).await;
    let to = shared.events.last().unwrap().position;
    let (first, second) = tokio::join!(
        shared.one.model.apply(Position::START, to, &shared.events),
        shared.two.model.apply(Position::START, to, &shared.events),
    );
    let lost = Err(ModelError::CheckpointMoved { actual: to });
    let outcomes = [first, second];
    assert!(outcomes == [Ok(()), lost.clone()] || outcomes == [lost, Ok(())], "{outcomes:?}");
    assert_eq!(rows(&*shared.one.views).await, shared.folds(shared.events.len()));
}

#[tokio::test]
async fn a_process_reads_on_where_another_one_rebuilt() {
    let Some(database) = test_database() else { return };
    let shared = Shared::on(database.await).await;
    let half = shared.events.len() / 2;
    delivered(&*shared.one.model, &shared.events[..half]).await.unwrap();
    assert_eq!(rows(&*shared.two.views).await, shared.folds(half));
    for _ in 0..2 {
        // The second rebuild drops the tables that the other process knew before the first.
        let Rebuild { id, model: beside } = shared.one.model.begin_rebuild().await.unwrap();
        assert_eq!(
            rows(&*shared.two.views).await,
            shared.folds(half),
            "as before, beside a rebuild"
        );
        delivered(&*beside, &shared.events[..half]).await.unwrap();
        assert_eq!(shared.one.model.swap(id).await, Ok(true));
        assert_eq!(rows(&*shared.two.views).await, shared.folds(half));
    }
    delivered(&*shared.two.model, &shared.events).await.unwrap();
    assert_eq!(rows(&*shared.one.views).await, shared.folds(shared.events.len()));
    let Rebuild { id, model: late } = shared.one.model.begin_rebuild().await.unwrap();
    assert_eq!(shared.two.model.swap(id).await, Ok(false), "it has not caught up");
    delivered(&*late, &shared.events).await.unwrap();
    assert_eq!(shared.two.model.swap(id).await, Ok(true), "any process may swap");
    let ended = delivered(&*late, &shared.events).await;
    assert_eq!(ended, Err(ModelError::StaleRebuild));
    assert_eq!(rows(&*shared.one.views).await, shared.folds(shared.events.len()));
    let tables: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_class WHERE relname ~ '^entities_v[0-9]+$' AND relkind = 'r'",
    )
    .fetch_one(&shared.database.owner().await)
    .await
    .unwrap();
    assert_eq!(tables, 2, "the live ones, and those that lists may still read");
}

#[tokio::test]
async fn a_stream_that_one_process_set_aside_is_left_out_by_all_until_any_retries_it() {
    let Some(database) = test_database() else { return };
    let shared = Shared::on(database.await).await;
    let (half, all) = (shared.events.len() / 2, shared.events.len());
    delivered(&*shared.one.model, &shared.events[..half]).await.unwrap();
    delivered(&*shared.two.model, &shared.events[..=half]).await.unwrap();
    let stream = shared.events[all - 1].stream.clone();
    let (position, message) = (shared.events[half].position, "broken\0".to_owned());
    let entry = Quarantined { stream: stream.to_string(), position, message };
    shared.two.model.quarantine(entry).await.unwrap();
    delivered(&*shared.one.model, &shared.events).await.unwrap();
    let set_aside = shared.one.model.quarantined().await.unwrap();
    assert_eq!(set_aside.len(), 1);
    let behind = rows(&*shared.one.views).await;
    let history =
        shared.one.log.read_stream(&stream, Version::default(), usize::MAX).await.unwrap();
    shared.two.model.retry(&stream.to_string(), &history).await.unwrap();
    assert_eq!(shared.one.model.quarantined().await, Ok(vec![]));
    assert_ne!(rows(&*shared.one.views).await, behind, "it was left out before");
    assert_eq!(rows(&*shared.one.views).await, shared.folds(all));
}

#[tokio::test]
async fn a_row_that_this_system_did_not_write_is_named() {
    let Some(database) = test_database() else { return };
    let shared = Shared::on(database.await).await;
    delivered(&*shared.one.model, &shared.events).await.unwrap();
    let id = shared.folds(shared.events.len())[0].id;
    let owner = shared.database.owner().await;
    let tables: i64 = sqlx::query_scalar(
        "SELECT tables FROM stateward_views.checkpoints WHERE name = 'entities'",
    )
    .fetch_one(&owner)
    .await
    .unwrap();
    let execute = async |statement: String| {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&owner).await.unwrap();
    };
    execute(format!(
        "UPDATE stateward_views.entities_v{tables} SET data = '{{}}' WHERE id = '{id}'; \
         UPDATE stateward_views.counts_v{tables} SET state = 'lost'"
    ))
    .await;
    let place = |error: Option<ModelError>| match error {
        Some(ModelError::Store(StoreError::Inconsistent { table, column, .. })) => (table, column),
        other => panic!("{other:?}"),
    };
    let named = |table: &str, column: &str| (table.to_owned(), column.to_owned());
    assert_eq!(place(shared.one.views.entity(id).await.err()), named("entities", "data"));
    let list = shared.one.views.entities(&EntityFilter::default(), 100, None).await;
    assert_eq!(place(list.err()), named("entities", "data"));
    assert_eq!(place(shared.one.views.counts().await.err()), named("counts", "state"));
    let moved = "UPDATE stateward_views.checkpoints SET position = 'x' WHERE name = 'entities'";
    execute(moved.to_owned()).await;
    assert_eq!(place(shared.one.model.checkpoint().await.err()), named("checkpoints", "position"));
}
