//! Leases, duties and members while the database's clock steps, or a new primary has another one: nothing that is held is
//! taken over, and nothing waits over two lease times.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use stateward_domain::entity::next_work::{Priority, QueueRow};
use stateward_domain::id::{BackendName, EntityId, Position};
use stateward_domain::ports::cluster::{Cluster, Duty, Member, NodeId, Role};
use stateward_domain::ports::member_report::MemberReport;
use stateward_domain::ports::sync_queue::{Concurrency, LeaseRequest, QueueChange, SyncQueue};
use stateward_domain::time::{Clock, LogClock, ManualClock};
use stateward_store::postgres::{LeaseClock, Members, Queue};
use uuid::Uuid;

use super::{TestDatabase, test_database};

const LEASE: Duration = Duration::from_secs(30);
const SECOND: i64 = 1_000_000;
/// Steps of the database's clock, in seconds.
const STEPS: [i64; 6] = [3 * 3_600, -3 * 3_600, 600, -600, 25, -25];

/// A database with a clock that the test steps.
struct SteppedDatabase {
    database: TestDatabase,
    clock: Arc<ManualClock>,
    ahead: Arc<AtomicI64>,
}

impl SteppedDatabase {
    fn of(database: TestDatabase) -> Self {
        // Far from zero: a clock that is set back shows no negative time.
        let ahead = Arc::new(AtomicI64::new(1_000_000 * SECOND));
        Self { database, clock: ManualClock::new(), ahead }
    }

    fn leases(&self) -> LeaseClock {
        LeaseClock::Stepped(LogClock::from(self.clock.clone()), self.ahead.clone())
    }

    async fn queue(&self) -> Queue {
        Queue::new(self.database.connect().await, self.clock.clone(), self.leases())
    }

    async fn members(&self) -> Members {
        Members::new(self.database.connect().await, self.leases())
    }

    fn step(&self, seconds: i64) {
        self.ahead.fetch_add(seconds * SECOND, Ordering::SeqCst);
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Makes one entity of the backend due.
    async fn enqueue(&self, queue: &Queue, backend: &str, number: u128) {
        let now = Clock::now(&*self.clock);
        let from = queue.checkpoint().await.unwrap();
        let to = Position { epoch: 1, major: 0, minor: from.minor + 1 };
        let row = QueueRow {
            entity: entity(number),
            backend: BackendName::from(backend),
            priority: Priority::User,
            since: Some(now),
            due: Some(now),
            waits_for: None,
            dependencies: BTreeSet::new(),
            position: to,
        };
        queue.advance(from, to, &[QueueChange::Put(row)]).await.unwrap();
    }
}

fn entity(number: u128) -> EntityId {
    EntityId(Uuid::from_u128(number))
}

async fn lease(queue: &Queue, backend: &str, worker: &str) -> Vec<EntityId> {
    lease_within(queue, backend, worker, None, true).await
}

async fn lease_within(
    queue: &Queue,
    backend: &str,
    worker: &str,
    within: Option<Concurrency>,
    takeover: bool,
) -> Vec<EntityId> {
    let request = LeaseRequest {
        worker: worker.to_owned(),
        backend: BackendName::from(backend),
        limit: 9,
        duration: LEASE,
        checks: 0,
        within,
        takeover,
    };
    queue.lease(&request).await.unwrap().into_iter().map(|lease| lease.entity).collect()
}

async fn renew(queue: &Queue, number: u128, worker: &str) -> bool {
    let held = [(entity(number), worker.to_owned())];
    !queue.renew(&held, LEASE).await.unwrap().is_empty()
}

#[tokio::test]
async fn a_step_of_the_clock_takes_no_lease_from_its_holder_and_keeps_no_work_waiting() {
    for step in STEPS {
        let Some(database) = test_database() else { return };
        let at = SteppedDatabase::of(database.await);
        let (holder, other) = (at.queue().await, at.queue().await);
        for (backend, number) in [("b", 1), ("b", 2), ("b", 3), ("own", 4)] {
            at.enqueue(&holder, backend, number).await;
        }
        assert_eq!(lease(&holder, "b", "held").await.len(), 3);
        assert_eq!(lease(&other, "own", "other").await, [entity(4)]);
        // The worker of 3 died long ago, that of 2 dies now.
        for _ in 0..7 {
            at.pass(10);
            assert!(renew(&holder, 1, "held").await && renew(&holder, 2, "held").await);
            assert!(renew(&other, 4, "other").await);
        }
        at.pass(5);
        at.step(step);
        // It ended a whole lease ago; behind a step back that may be hard to tell from a renewal since.
        let mut found = lease(&other, "b", "w").await;
        assert!(!found.contains(&entity(2)) && (step < 0 || found == [entity(3)]), "{step}");
        let next = other.next_due(&BackendName::from("b"), true).await.unwrap().within.unwrap();
        assert!(next > Duration::ZERO && next <= LEASE * 2, "{step}: {next:?}");
        // The first process to notice shares what it found with those that have seen no other time.
        assert_eq!(lease(&at.queue().await, "b", "new").await, [], "{step}");
        assert!(renew(&holder, 1, "held").await, "{step}: the holder goes on");
        for (seconds, within) in
            [(8, true), (8, true), (8, true), (6, false), (6, false), (20, false)]
        {
            at.pass(seconds);
            found.extend(lease(&other, "b", "w").await);
            assert!(!(within && found.contains(&entity(2))), "{step}: within one lease time");
            assert!(renew(&holder, 1, "held").await && renew(&other, 4, "other").await, "{step}");
            for number in [2, 3] {
                let taken = found.contains(&entity(number));
                assert_eq!(renew(&other, number, "w").await, taken, "{step}: {number}");
            }
        }
        found.sort();
        assert_eq!(found, [entity(2), entity(3)], "{step}: within two lease times");
        assert_eq!(lease(&at.queue().await, "b", "new").await, [], "{step}");
        assert!(!renew(&holder, 2, "held").await, "{step}: a late worker has lost it");
    }
}

#[tokio::test]
async fn a_step_of_the_clock_frees_no_place_in_a_concurrency_that_is_used() {
    for step in STEPS {
        let Some(database) = test_database() else { return };
        let at = SteppedDatabase::of(database.await);
        let (holder, other) = (at.queue().await, at.queue().await);
        for number in 1..=8 {
            at.enqueue(&holder, "b", number).await;
        }
        let within = Some(Concurrency::alone(4, 2));
        // The workers of 3 and 4 die now.
        assert_eq!(lease_within(&holder, "b", "held", within, true).await.len(), 4);
        assert_eq!(lease_within(&other, "b", "other", within, true).await, [], "{step}");
        at.pass(5);
        at.step(step);
        let mut taken = Vec::new();
        for _ in 0..10 {
            for queue in [&other, &at.queue().await] {
                taken.extend(lease_within(queue, "b", "other", within, true).await);
            }
            assert!(renew(&holder, 1, "held").await && renew(&holder, 2, "held").await, "{step}");
            assert!(taken.len() <= 2, "{step}: {taken:?}");
            for entity in &taken {
                assert!(renew(&other, entity.0.as_u128(), "other").await, "{step}");
            }
            at.pass(6);
        }
        assert_eq!(taken.len(), 2, "{step}: within two lease times");
    }
}

/// Of a process that began just then, before any other found the step.
#[tokio::test]
async fn a_process_that_has_seen_no_other_time_takes_nothing_over_and_no_place_that_is_used() {
    for step in STEPS {
        let Some(database) = test_database() else { return };
        let at = SteppedDatabase::of(database.await);
        let holder = at.queue().await;
        for number in 1..=4 {
            at.enqueue(&holder, "b", number).await;
        }
        let within = Some(Concurrency::alone(3, 1));
        let two = Some(Concurrency::alone(2, 1));
        assert_eq!(lease_within(&holder, "b", "held", two, true).await.len(), 2);
        at.pass(5);
        at.step(step);
        let new = at.queue().await;
        let found = lease_within(&new, "b", "new", within, false).await;
        let free = [entity(3), entity(4)];
        assert!(found.len() == 1 && free.contains(&found[0]), "{step}: {found:?}");
        assert!(renew(&holder, 1, "held").await && renew(&holder, 2, "held").await, "{step}");
    }
}

fn member(id: u128) -> Member {
    Member {
        id: NodeId(Uuid::from_u128(id)),
        name: format!("n{id}"),
        role: Role::All,
        version: "1".to_owned(),
        knows: 1,
        seen: Position::START,
        backends: [].into(),
        observe_only: false,
        revision: 0,
        report: MemberReport::default(),
    }
}

async fn beat(members: &Members, id: u128) -> Vec<u128> {
    let all = members.beat(&member(id)).await.unwrap();
    all.into_iter().map(|member| member.id.0.as_u128()).collect()
}

#[tokio::test]
async fn a_step_of_the_clock_drops_no_member_that_lives_and_ends_duties_of_those_that_do_not() {
    for step in STEPS {
        let Some(database) = test_database() else { return };
        let at = SteppedDatabase::of(database.await);
        let members = at.members().await;
        let duty = Duty::ForgetClaims;
        assert_eq!(beat(&members, 1).await, [1]);
        assert_eq!(beat(&at.members().await, 2).await, [1, 2]);
        assert_eq!(beat(&at.members().await, 3).await, [1, 2, 3], "it dies at once");
        let hold = Duration::from_secs(10);
        assert!(members.hold(member(3).id, &duty, hold).await.unwrap());
        at.pass(3);
        at.step(step);
        assert_eq!(beat(&members, 1).await, [1, 2, 3], "{step}");
        at.pass(3);
        assert_eq!(beat(&members, 2).await, [1, 2, 3], "{step}");
        for _ in 0..12 {
            at.pass(3);
            beat(&members, 2).await;
            beat(&members, 1).await;
        }
        assert_eq!(beat(&members, 1).await, [1, 2], "{step}");
        assert!(members.hold(member(1).id, &duty, hold).await.unwrap(), "{step}");
        assert!(!members.hold(member(2).id, &duty, hold).await.unwrap(), "{step}");
    }
}

#[tokio::test]
async fn a_beat_finds_a_step_before_a_process_that_has_seen_no_other_time_leases() {
    for step in STEPS {
        let Some(database) = test_database() else { return };
        let at = SteppedDatabase::of(database.await);
        let (members, queue) = (at.members().await, at.queue().await);
        at.enqueue(&queue, "b", 1).await;
        assert_eq!(lease(&queue, "b", "held").await, [entity(1)]);
        beat(&members, 1).await;
        at.pass(3);
        at.step(step);
        beat(&members, 1).await;
        assert_eq!(lease(&at.queue().await, "b", "new").await, [], "{step}");
        assert!(renew(&queue, 1, "held").await, "{step}");
    }
}
