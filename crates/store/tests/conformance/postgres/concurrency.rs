//! The concurrency of a backend among processes that act at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use stateward_domain::ports::sync_queue::{Concurrency, Lease, Release, SyncQueue};
use stateward_domain::time::LogClock;
use stateward_store::postgres::LeaseClock;

use super::leases::{Process, execute};
use super::test_database;
use crate::support::ManualClock;

impl Process {
    /// The entities that are granted.
    async fn granted(&self, worker: &str, limit: usize, within: Concurrency) -> Vec<Lease> {
        self.take(worker, limit, Some(within)).await.unwrap()
    }

    async fn release(&self, worker: &str, leases: &[Lease]) {
        let release = |lease: &Lease| Release {
            entity: lease.entity,
            worker: worker.to_owned(),
            snooze: None,
            seen: lease.seen,
            drift_in: None,
            observed_under: None,
        };
        self.queue.release(&leases.iter().map(release).collect::<Vec<_>>()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_at_the_same_time_never_hold_more_than_the_limit_together() {
    const LIMIT: usize = 5;
    let Some(database) = test_database() else { return };
    let database = database.await;
    let processes = Process::two(&database).await;
    processes[0].enqueue(300).await;
    let (held, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..8 {
        let process = processes[number % 2].clone();
        let (held, most) = (Arc::clone(&held), Arc::clone(&most));
        tasks.spawn(async move {
            let worker = number.to_string();
            for _ in 0..60 {
                let leases = process.granted(&worker, 3, Concurrency::alone(LIMIT, 2)).await;
                let now = held.fetch_add(leases.len(), Ordering::SeqCst) + leases.len();
                most.fetch_max(now, Ordering::SeqCst);
                tokio::task::yield_now().await;
                held.fetch_sub(leases.len(), Ordering::SeqCst);
                process.release(&worker, &leases).await;
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(most.load(Ordering::SeqCst), LIMIT, "all of it, and no more");
    let all = processes[0].granted("last", 9, Concurrency::alone(LIMIT, 2)).await;
    assert_eq!(all.len(), LIMIT, "no place is lost");
}

/// A renewal that the database did not commit yet counts, also at the end of its lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_in_flight_keeps_its_place() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let one = Process::of(&database, ManualClock::new()).await;
    one.enqueue(3).await;
    let alone = Concurrency::alone(1, 1);
    assert_eq!(one.granted("one", 1, alone).await.len(), 1);
    let owner = database.owner().await;
    let ends = "UPDATE stateward_views.sync_leases SET until = until - 30000001 WHERE until > 0";
    for (outcome, granted) in [("COMMIT", 0), ("ROLLBACK", 1)] {
        execute(&owner, ends).await;
        let mut renewal = owner.acquire().await.unwrap();
        let renewed = "BEGIN; UPDATE stateward_views.sync_leases SET until = until + 30000001";
        sqlx::raw_sql(AssertSqlSafe(renewed)).execute(&mut *renewal).await.unwrap();
        assert_eq!(one.granted("two", 1, alone).await, [], "{outcome}: in flight");
        sqlx::raw_sql(AssertSqlSafe(outcome)).execute(&mut *renewal).await.unwrap();
        assert_eq!(one.granted("two", 1, alone).await.len(), granted, "{outcome}");
    }
}

/// What ends is left to a process with less than its part, and otherwise used by any.
#[tokio::test]
async fn a_process_with_less_than_its_part_gets_what_the_others_end() {
    let Some(database) = test_database() else { return };
    let (database, clock) = (database.await, ManualClock::new());
    let leases = || LeaseClock::Given(LogClock::from(clock.clone()));
    let one = Process::by(&database, clock.clone(), leases()).await;
    let two = Process::by(&database, clock.clone(), leases()).await;
    one.enqueue(30).await;
    let within = |running| Concurrency { leases: 5, checks: 2, running, part: (2, 3) };
    let mut first = one.granted("one", 5, within(0)).await;
    assert_eq!(first.len(), 5, "no other wants it");
    assert_eq!(two.granted("two", 5, within(0)).await, []);
    let mut second = Vec::new();
    for left in [4, 3] {
        one.release("one", &first.split_off(left)).await;
        assert_eq!(one.granted("one", 1, within(left)).await, [], "it has its part");
        second.extend(two.granted("two", 5 - second.len(), within(second.len())).await);
    }
    assert_eq!(second.len(), 2);
    // Each refills its own part.
    one.release("one", &first.split_off(2)).await;
    first.extend(one.granted("one", 3, within(2)).await);
    assert_eq!(first.len(), 3);
    // The other one ends.
    two.release("two", &second).await;
    assert_eq!(one.granted("one", 2, within(3)).await, [], "it was short a moment ago");
    clock.advance(Duration::from_secs(4));
    first.extend(one.granted("one", 2, within(3)).await);
    assert_eq!(first.len(), 5, "all is used");
}

/// A process that has nothing to do keeps no other from using all of the concurrency.
#[tokio::test]
async fn a_process_that_finds_no_work_is_not_short_of_its_part() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let one = Process::of(&database, ManualClock::new()).await;
    one.enqueue(3).await;
    let within = |running| Concurrency { leases: 3, checks: 2, running, part: (1, 2) };
    assert_eq!(one.granted("one", 3, within(0)).await.len(), 3);
    assert_eq!(one.granted("two", 3, within(0)).await, []);
    let owner = database.owner().await;
    let short: i64 = sqlx::query_scalar(
        "SELECT short_until FROM stateward_views.lease_grants WHERE backend = 'b'",
    )
    .fetch_one(&owner)
    .await
    .unwrap();
    assert_eq!(short, 0);
}

#[tokio::test]
async fn the_record_of_grants_is_no_longer_than_the_concurrency() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let process = Process::of(&database, ManualClock::new()).await;
    process.enqueue(20).await;
    for round in 0..10 {
        let leases = process.granted("one", 4, Concurrency::alone(4, 2)).await;
        assert_eq!(leases.len(), 4, "{round}");
        process.release("one", &leases).await;
    }
    let length: i32 = sqlx::query_scalar(
        "SELECT cardinality(leased) FROM stateward_views.lease_grants WHERE backend = 'b'",
    )
    .fetch_one(&database.owner().await)
    .await
    .unwrap();
    assert_eq!(length, 4);
}
