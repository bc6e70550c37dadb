//! The sync queue: its rows; `leases`: leases and timers; `concurrency`: its limit for all workers; `clock`, `restart`: the effect of setting the wall clock, while the
//! store is open, and between two openings of its files.

mod clock;
mod concurrency;
mod leases;
mod restart;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::{Priority, QueueRow, WaitsFor};
use stateward_domain::id::{BackendName, EntityId, Position, Version};
use stateward_domain::ports::projection::Quarantined;
use stateward_domain::ports::sync_queue::{
    Concurrency, Lease, LeaseReason, LeaseRequest, QueueChange, QueueError, Release, SyncQueue,
};
use stateward_domain::time::{Clock, LogClock, Timestamp};
use uuid::Uuid;

use crate::support::{self, ManualClock, subjects};

const LEASE: Duration = Duration::from_secs(30);

/// A store whose queue is tested.
struct Subject {
    store: support::Subject,
    queue: Arc<dyn SyncQueue>,
    clock: Arc<ManualClock>,
    log_clock: LogClock,
    at: std::sync::Mutex<Position>,
}

/// A lease as a worker names it.
fn held(number: u128, worker: &str) -> (EntityId, String) {
    (entity(number), worker.to_owned())
}

impl Subject {
    /// One of each adapter.
    #[track_caller]
    fn all() -> impl Future<Output = Vec<Self>> {
        let stores = subjects();
        async {
            let mut all = Vec::new();
            for store in stores.await {
                all.push(Self::of(store).await);
            }
            all
        }
    }

    async fn of(store: support::Subject) -> Self {
        let (queue, clock) = (store.queue.clone(), store.clock.clone());
        let at = std::sync::Mutex::new(queue.checkpoint().await.unwrap());
        Self { queue, clock, log_clock: store.log_clock.clone(), at, store }
    }

    /// Commits `changes` under the next position; whether that woke a row.
    async fn advance(&self, changes: &[QueueChange]) -> bool {
        let from = *self.at.lock().unwrap();
        let to = position(from.minor + 1);
        let woke = self.queue.advance(from, to, changes).await.unwrap();
        *self.at.lock().unwrap() = to;
        woke
    }

    /// The time of new events.
    fn now(&self) -> Timestamp {
        self.log_clock.now()
    }

    /// A row that is due now.
    fn due(&self, number: u128, priority: Priority, seen: u64) -> QueueRow {
        let now = self.now();
        QueueRow {
            entity: entity(number),
            backend: BackendName::from("b"),
            priority,
            since: Some(now),
            due: Some(now),
            waits_for: None,
            dependencies: BTreeSet::new(),
            position: position(seen),
        }
    }

    async fn lease(&self, worker: &str, limit: usize, drift: bool) -> Vec<Lease> {
        self.lease_with(worker, limit, if drift { limit } else { 0 }).await
    }

    async fn lease_with(&self, worker: &str, limit: usize, checks: usize) -> Vec<Lease> {
        let request = LeaseRequest {
            worker: worker.to_owned(),
            backend: BackendName::from("b"),
            limit,
            duration: LEASE,
            checks,
            within: None,
            takeover: true,
        };
        self.queue.lease(&request).await.unwrap()
    }

    async fn release(&self, worker: &str, lease: &Lease, snooze: Option<Duration>) {
        let release = Release {
            entity: lease.entity,
            worker: worker.to_owned(),
            snooze,
            seen: lease.seen,
            drift_in: Some(Duration::from_secs(10)),
            observed_under: None,
        };
        self.queue.release(&[release]).await.unwrap();
    }
}

fn position(minor: u64) -> Position {
    Position { epoch: 1, major: 0, minor }
}

fn entity(number: u128) -> EntityId {
    EntityId(Uuid::from_u128(number))
}

fn idle(row: QueueRow) -> QueueRow {
    QueueRow { due: None, since: None, ..row }
}

#[tokio::test]
async fn rows_and_checkpoint_move_together_or_not_at_all() {
    for subject in Subject::all().await {
        let row = subject.due(1, Priority::User, 5);
        subject.advance(&[QueueChange::Put(row.clone())]).await;
        let removal = [QueueChange::Remove(entity(1))];
        let again = subject.queue.advance(Position::START, position(9), &removal);
        assert_eq!(again.await, Err(QueueError::CheckpointMoved { actual: position(1) }));
        assert_eq!(subject.queue.checkpoint().await, Ok(position(1)));
        assert_eq!(subject.queue.row(entity(1)).await, Ok(Some(row)));
        subject.advance(&[QueueChange::Remove(entity(1))]).await;
        assert_eq!(subject.queue.row(entity(1)).await, Ok(None));
    }
}

#[tokio::test]
async fn a_row_that_waits_for_an_entity_is_woken_by_it() {
    for subject in Subject::all().await {
        let later = subject.now().after(Duration::from_hours(1));
        let waits = QueueRow {
            due: Some(later),
            waits_for: Some(WaitsFor::Entity(entity(9))),
            ..subject.due(1, Priority::Retry, 1)
        };
        let wake =
            |waited_for| QueueChange::Wake { waited_for, at: subject.now(), position: position(7) };
        assert!(!subject.advance(&[QueueChange::Put(waits)]).await);
        assert!(!subject.advance(&[wake(entity(8))]).await, "no row waits for that one");
        assert!(subject.advance(&[wake(entity(8)), wake(entity(9))]).await);
        let lease = subject.lease("one", 1, false).await.remove(0);
        assert_eq!((lease.entity, lease.seen), (entity(1), position(7)));
    }
}

#[tokio::test]
async fn a_row_that_waits_for_a_name_is_woken_by_any_entity_of_that_name() {
    for subject in Subject::all().await {
        let later = Some(subject.now().after(Duration::from_hours(1)));
        let key = |text: &str| ClaimKey(format!("{}{text}", ClaimKey::NAME));
        let waits = |number, waits_for| QueueRow {
            due: later,
            waits_for: Some(waits_for),
            ..subject.due(number, Priority::Retry, 1)
        };
        // Names that resemble other values of the column, and parts of each other.
        let names = ["n/k/blue", "n/k/blue2", "n/k/backend", &format!("n/k/{}", entity(9))];
        let rows = (1..).zip(&names).map(|(number, name)| waits(number, WaitsFor::Name(key(name))));
        let mut rows: Vec<_> = rows.collect();
        rows.extend([waits(8, WaitsFor::Backend), waits(9, WaitsFor::Entity(entity(9)))]);
        for row in &rows {
            assert!(!subject.advance(&[QueueChange::Put(row.clone())]).await);
            assert_eq!(subject.queue.row(row.entity).await.unwrap().as_ref(), Some(row));
        }
        let wake = |text| QueueChange::WakeNamed {
            name: key(text),
            at: subject.now(),
            position: position(7),
        };
        assert!(
            !subject.advance(&[wake("n/k/red"), wake("other/k/blue")]).await,
            "no row waits for these"
        );
        assert!(subject.advance(&[wake("n/k/red"), wake("n/k/blue")]).await);
        let woken = subject.lease("one", 9, false).await;
        let woken: Vec<_> = woken.iter().map(|lease| (lease.entity, lease.seen)).collect();
        assert_eq!(woken, [(entity(1), position(7))]);
        assert!(subject.advance(&[wake("n/k/backend")]).await);
        assert_eq!(subject.lease("one", 9, false).await[0].entity, entity(3));
        for still in [2, 4, 8, 9] {
            assert_eq!(
                subject.queue.row(entity(still)).await.unwrap().unwrap().due,
                later,
                "{still}"
            );
        }
    }
}

#[tokio::test]
async fn a_quarantine_is_kept_until_it_is_ended_or_the_queue_is_reset() {
    for subject in Subject::all().await {
        let queue = &subject.queue;
        let entry = |stream: &str, message: &str| Quarantined {
            stream: stream.to_owned(),
            position: position(3),
            message: message.to_owned(),
        };
        for (stream, message) in
            [("entity/b", "first"), ("entity/a", "other"), ("entity/b", "second")]
        {
            queue.quarantine(&entry(stream, message)).await.unwrap();
        }
        let kept = queue.quarantined().await.unwrap();
        assert_eq!(kept, [entry("entity/a", "other"), entry("entity/b", "second")], "by stream");
        queue.end_quarantine("entity/a").await.unwrap();
        queue.end_quarantine("entity/a").await.unwrap();
        assert_eq!(queue.quarantined().await.unwrap(), [entry("entity/b", "second")]);
        queue.reset().await.unwrap();
        assert_eq!(queue.quarantined().await.unwrap(), []);
    }
}

#[tokio::test]
async fn dependents_of_an_entity_are_known_as_of_the_checkpoint() {
    for subject in Subject::all().await {
        let key = |text: &str| ClaimKey(format!("{}{text}", ClaimKey::NAME));
        let of = async |text: &str| subject.queue.dependents(&[key(text)], None, 9).await.unwrap();
        let row = |number, targets: &[&str]| {
            let dependencies = targets.iter().map(|text| key(text)).collect();
            QueueRow { dependencies, ..subject.due(number, Priority::User, 1) }
        };
        let start = of("n/k/a").await;
        assert_eq!((start.entities, start.as_of), (vec![], Position::START));

        let (one, two) = (row(1, &["n/k/a", "n/k/b"]), row(2, &["n/k/a"]));
        subject.advance(&[QueueChange::Put(one.clone()), QueueChange::Put(two)]).await;
        assert_eq!(of("n/k/a").await.entities, [entity(1), entity(2)]);
        assert_eq!(of("n/k/b").await.entities, [entity(1)]);
        assert_eq!(of("n/k/").await.entities, []);
        assert_eq!(of("n/k/a").await.as_of, subject.queue.checkpoint().await.unwrap());
        assert_eq!(subject.queue.row(entity(1)).await.unwrap(), Some(one));
        let any = subject.queue.dependents(&[key("n/k/b"), key("n/k/a")], None, 9).await.unwrap();
        assert_eq!(any.entities, [entity(1), entity(2)], "each once");
        assert_eq!(subject.queue.dependents(&[], None, 9).await.unwrap().entities, []);
        let first = subject.queue.dependents(&[key("n/k/a")], None, 1).await.unwrap();
        assert_eq!(first.entities, [entity(1)], "no more than asked for");
        let next = subject.queue.dependents(&[key("n/k/a")], Some(entity(1)), 9).await.unwrap();
        assert_eq!(next.entities, [entity(2)], "those behind the page before");

        // A new row replaces the old references, also by none.
        subject
            .advance(&[QueueChange::Put(row(1, &["n/k/b"])), QueueChange::Put(row(2, &[]))])
            .await;
        assert_eq!(of("n/k/a").await.entities, []);
        subject.advance(&[QueueChange::Remove(entity(1))]).await;
        assert_eq!(of("n/k/b").await.entities, []);
        subject.advance(&[QueueChange::Put(row(3, &["n/k/b"]))]).await;
        subject.queue.reset().await.unwrap();
        let reset = of("n/k/b").await;
        assert_eq!((reset.entities, reset.as_of), (vec![], Position::START));
    }
}

#[tokio::test]
async fn a_row_that_waits_for_a_backend_is_woken_by_it_and_the_others_are_not() {
    for subject in Subject::all().await {
        let later = Some(subject.now().after(Duration::from_hours(1)));
        let waits = |number, waits_for| QueueRow {
            due: later,
            waits_for,
            ..subject.due(number, Priority::Retry, 1)
        };
        let rows = [
            waits(1, Some(WaitsFor::Backend)),
            waits(2, None),
            QueueRow { backend: BackendName::from("c"), ..waits(3, Some(WaitsFor::Backend)) },
        ];
        subject.advance(&rows.map(QueueChange::Put)).await;
        let row = subject.queue.row(entity(1)).await.unwrap().unwrap();
        assert_eq!(row.waits_for, Some(WaitsFor::Backend));
        let (backend, at) = (BackendName::from("b"), subject.now());
        subject.advance(&[QueueChange::WakeBackend { backend, at, position: position(7) }]).await;
        let leases = subject.lease("one", 9, false).await;
        assert_eq!(
            leases.iter().map(|l| (l.entity, l.seen)).collect::<Vec<_>>(),
            [(entity(1), position(7))]
        );
        assert_eq!(subject.queue.row(entity(3)).await.unwrap().unwrap().due, later);
    }
}

#[tokio::test]
async fn a_reset_forgets_rows_and_checkpoint_but_no_lease() {
    for subject in Subject::all().await {
        let put = [QueueChange::Put(subject.due(1, Priority::User, 1))];
        subject.advance(&put).await;
        subject.lease("one", 1, false).await;
        subject.queue.reset().await.unwrap();
        assert_eq!(subject.queue.checkpoint().await, Ok(Position::START));
        assert_eq!(subject.queue.row(entity(1)).await, Ok(None));
        *subject.at.lock().unwrap() = Position::START;
        subject.advance(&put).await;
        assert_eq!(subject.lease("two", 1, false).await, [], "its worker still works");
        subject.store.leases.end().await;
        assert_eq!(subject.lease("two", 1, false).await.len(), 1);
    }
}

#[tokio::test]
async fn the_oldest_due_work_is_known_for_each_backend() {
    for subject in Subject::all().await {
        subject.advance(&[QueueChange::Put(subject.due(1, Priority::User, 1))]).await;
        subject.clock.advance(Duration::from_secs(5));
        let other =
            QueueRow { backend: BackendName::from("c"), ..subject.due(2, Priority::User, 1) };
        let rows = [
            subject.due(3, Priority::User, 1),
            other.clone(),
            idle(subject.due(4, Priority::Drift, 1)),
        ];
        subject.advance(&rows.map(QueueChange::Put)).await;
        let oldest = subject.queue.oldest_due().await.unwrap();
        let age = |name, seconds| (BackendName::from(name), Duration::from_secs(seconds));
        let expected = [age("b", 5), age("c", 0)];
        assert_eq!(oldest, expected);
        // Independent of priority; waiting work is not late.
        let blocked = QueueRow {
            backend: BackendName::from("d"),
            waits_for: Some(WaitsFor::Backend),
            ..subject.due(5, Priority::User, 1)
        };
        let retry =
            QueueRow { backend: BackendName::from("a"), ..subject.due(6, Priority::Retry, 1) };
        subject.advance(&[blocked, retry].map(QueueChange::Put)).await;
        let oldest = subject.queue.oldest_due().await.unwrap();
        assert_eq!(oldest[0], age("a", 0));
        assert_eq!(oldest[1..], expected);
    }
}
