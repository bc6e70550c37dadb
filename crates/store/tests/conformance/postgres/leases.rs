//! Leases of several processes on one database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use stateward_domain::entity::next_work::{Priority, QueueRow};
use stateward_domain::id::{BackendName, EntityId, Position};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::ports::sync_queue::{
    Concurrency, Lease, LeaseRequest, QueueChange, QueueError, Release, SyncQueue,
};
use stateward_domain::time::{Clock, LogClock};
use stateward_store::postgres::{LeaseClock, Queue};
use uuid::Uuid;

use super::{TestDatabase, test_database};
use crate::support::ManualClock;

pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A process, whose leases end by the database's clock.
#[derive(Clone)]
pub(super) struct Process {
    pub(super) queue: Arc<Queue>,
    pub(super) clock: LogClock,
}

impl Process {
    pub(super) async fn of(database: &TestDatabase, clock: Arc<ManualClock>) -> Self {
        Self::by(database, clock, LeaseClock::Database).await
    }

    pub(super) async fn by(
        database: &TestDatabase,
        clock: Arc<ManualClock>,
        leases: LeaseClock,
    ) -> Self {
        let clock = LogClock::from(clock);
        let queue = Queue::new(database.connect().await, clock.clone(), leases);
        Self { queue: Arc::new(queue), clock }
    }

    /// Makes entities due, numbered from 1.
    pub(super) async fn enqueue(&self, count: u128) {
        let now = self.clock.now();
        let row = |number| QueueRow {
            entity: entity(number),
            backend: BackendName::from("b"),
            priority: Priority::User,
            since: Some(now),
            due: Some(now),
            waits_for: None,
            dependencies: BTreeSet::new(),
            position: position(1),
        };
        let rows: Vec<_> = (1..=count).map(|number| QueueChange::Put(row(number))).collect();
        self.queue.advance(Position::START, position(1), &rows).await.unwrap();
    }

    /// Two processes of one database.
    pub(super) async fn two(database: &TestDatabase) -> [Self; 2] {
        [Self::of(database, ManualClock::new()).await, Self::of(database, ManualClock::new()).await]
    }

    /// Leases, within a concurrency if one is given.
    pub(super) async fn take(
        &self,
        worker: &str,
        limit: usize,
        within: Option<Concurrency>,
    ) -> Result<Vec<Lease>, QueueError> {
        let request = LeaseRequest {
            worker: worker.to_owned(),
            backend: BackendName::from("b"),
            limit,
            duration: LEASE,
            checks: 0,
            within,
            takeover: true,
        };
        self.queue.lease(&request).await
    }

    async fn lease(&self, worker: &str, limit: usize) -> Result<Vec<EntityId>, QueueError> {
        let leases = self.take(worker, limit, None).await?;
        Ok(leases.into_iter().map(|lease| lease.entity).collect())
    }
}

fn entity(number: u128) -> EntityId {
    EntityId(Uuid::from_u128(number))
}

fn position(minor: u64) -> Position {
    Position { epoch: 1, major: 0, minor }
}

pub(super) async fn execute(owner: &PgPool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(owner).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_lease_the_same_entity() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let processes = Process::two(&database).await;
    processes[0].enqueue(400).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let process = processes[number % 2].clone();
        tasks.spawn(async move {
            let (mut mine, worker) = (Vec::new(), number.to_string());
            loop {
                let leased = process.lease(&worker, 7).await.unwrap();
                if leased.is_empty() {
                    return mine;
                }
                let held: Vec<_> = leased.iter().map(|one| (*one, worker.clone())).collect();
                let renewed = process.queue.renew(&held, LEASE).await.unwrap();
                assert_eq!(renewed.len(), held.len(), "nobody else took one");
                mine.extend(leased);
            }
        });
    }
    let mut all = tasks.join_all().await.concat();
    assert_eq!(all.len(), 400);
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 400, "each once");
}

#[tokio::test]
async fn a_lease_ends_by_the_databases_clock_whatever_the_processes_clocks_say() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let (here, ahead) = (ManualClock::new(), ManualClock::new());
    ahead.set_forward(Duration::from_hours(24));
    let one = Process::of(&database, here.clone()).await;
    let two = Process::of(&database, ahead).await;
    one.enqueue(1).await;
    assert_eq!(one.lease("one", 1).await, Ok(vec![entity(1)]));
    here.set_back(LEASE * 2);
    assert_eq!(two.lease("two", 1).await, Ok(vec![]), "its clock does not matter");
    let held = [(entity(1), "one".to_owned())];
    assert_eq!(one.queue.renew(&held, LEASE).await, Ok(vec![entity(1)]));
    let owner = database.owner().await;
    let passes = format!("UPDATE stateward_views.sync_leases SET until = until - {}", 30_000_001);
    execute(&owner, &passes).await;
    assert_eq!(one.queue.renew(&held, LEASE).await, Ok(vec![]), "it ended");
    assert_eq!(two.lease("two", 1).await, Ok(vec![entity(1)]));
    let late = Release {
        entity: entity(1),
        worker: "one".to_owned(),
        snooze: None,
        seen: position(1),
        drift_in: None,
        observed_under: None,
    };
    one.queue.release(&[late]).await.unwrap();
    assert_eq!(one.lease("one", 1).await, Ok(vec![]), "a late release ends no other's lease");
}

#[tokio::test]
async fn only_one_of_two_executors_moves_the_checkpoint() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let one = Process::of(&database, ManualClock::new()).await;
    let two = Process::of(&database, ManualClock::new()).await;
    let to = position(1);
    let (first, second) = tokio::join!(
        one.queue.advance(Position::START, to, &[]),
        two.queue.advance(Position::START, to, &[]),
    );
    let lost = Err(QueueError::CheckpointMoved { actual: to });
    let outcomes = [first, second];
    assert!(outcomes == [Ok(false), lost.clone()] || outcomes == [lost, Ok(false)], "{outcomes:?}");
}

#[tokio::test]
async fn what_a_lease_changes_is_in_no_index_and_its_pages_have_room() {
    let Some(database) = test_database() else { return };
    let owner = database.await.owner().await;
    let indexed: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT a.attname::text FROM pg_index i JOIN pg_attribute a \
         ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
         WHERE i.indrelid IN ('stateward_views.sync_leases'::regclass, 'stateward_views.lease_grants'::regclass) \
         ORDER BY 1",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert_eq!(indexed, ["backend", "drift_due", "entity"]);
    let options: Vec<String> = sqlx::query_scalar(
        "SELECT unnest(reloptions) FROM pg_class WHERE oid = 'stateward_views.sync_leases'::regclass",
    )
    .fetch_all(&owner)
    .await
    .unwrap();
    assert!(options.contains(&"fillfactor=50".to_owned()), "{options:?}");
}

#[tokio::test]
async fn leases_and_renewals_are_durable_and_what_follows_from_the_log_is_not() {
    let Some(database) = test_database() else { return };
    let owner = database.await.owner().await;
    let advance = "advance_v1(repeat('0', 40), repeat('0', 40), 0, '{}', '{}', '{}', '{}', '{}', '{}', \
         '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')";
    for (role, call, expected) in [
        ("off", "lease_v3('b', 'w', 1, 1, 1, 0, NULL, NULL, true, 1, 1, 0, 1, 1)", "on"),
        ("off", "renew_v2('{}', '{}', 1, NULL, NULL)", "on"),
        (
            "remote_apply",
            "lease_v3('b', 'w', 1, 1, 1, 0, NULL, NULL, true, 1, 1, 0, 1, 1)",
            "remote_apply",
        ),
        ("on", advance, "off"),
        ("on", "reset_queue_v1()", "off"),
        ("on", "release_v1('{}', '{}', '{}', '{}', '{}', '{}', '{}')", "off"),
        ("on", "void_snoozes_v1('b')", "off"),
        ("on", "seed_timers_v1('b', 1, 0, NULL)", "off"),
    ] {
        let mut transaction = owner.begin().await.unwrap();
        let set = format!("SET LOCAL synchronous_commit = {role}");
        sqlx::query(AssertSqlSafe(set)).execute(&mut *transaction).await.unwrap();
        let call = format!("SELECT count(*) FROM stateward_views.{call}");
        sqlx::query(AssertSqlSafe(call.clone())).execute(&mut *transaction).await.unwrap();
        let now: String = sqlx::query_scalar("SELECT current_setting('synchronous_commit')")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        assert_eq!(now, expected, "{call}");
    }
}

#[tokio::test]
async fn a_stored_value_that_this_system_did_not_write_is_named() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let process = Process::of(&database, ManualClock::new()).await;
    process.enqueue(2).await;
    let owner = database.owner().await;
    let named = |found: Option<QueueError>, place: (&str, &str)| {
        let Some(QueueError::Store(StoreError::Inconsistent { table, column, key, .. })) = found
        else {
            panic!("{place:?}: {found:?}");
        };
        assert_eq!(((&*table, &*column), key), (place, entity(1).to_string()));
    };
    for (damage, place) in [
        ("priority = 7", ("sync_queue", "priority")),
        ("priority = 0, waits_for = 'x'", ("sync_queue", "waits_for")),
        ("waits_for = NULL, position = 'x'", ("sync_queue", "position")),
    ] {
        let one = entity(1);
        let damage =
            format!("UPDATE stateward_views.sync_queue SET {damage} WHERE entity = '{one}'");
        execute(&owner, &damage).await;
        named(process.queue.row(entity(1)).await.err(), place);
        assert!(process.queue.row(entity(2)).await.unwrap().is_some(), "the other row is read");
    }
    named(process.lease("one", 2).await.err(), ("sync_queue", "position"));
}
