//! Hints of queue and read models: what one handle of a store wrote ends the waits of another.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use stateward_domain::entity::next_work::{Priority, QueueRow, WaitsFor};
use stateward_domain::id::{BackendName, EntityId, Position};
use stateward_domain::ports::read_model::Rebuild;
use stateward_domain::ports::sync_queue::{QueueChange, SeenHints, SyncQueue};
use stateward_domain::time::{Clock, LogClock, Timestamp};
use uuid::Uuid;

use crate::support::shared_subjects;

/// A hint may come that late.
const SOON: Duration = Duration::from_secs(5);

fn position(minor: u64) -> Position {
    Position { epoch: 1, major: 0, minor }
}

fn row(clock: &LogClock, number: u128, backend: &str, waits_for: Option<WaitsFor>) -> QueueRow {
    let now = clock.now();
    QueueRow {
        entity: EntityId(Uuid::from_u128(number)),
        backend: BackendName::from(backend),
        priority: Priority::User,
        since: Some(now),
        due: Some(if waits_for.is_some() { Timestamp(i64::MAX / 2) } else { now }),
        waits_for,
        position: position(1),
        dependencies: BTreeSet::new(),
    }
}

async fn in_time<T>(what: &str, hint: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, hint).await.unwrap_or_else(|_| panic!("no hint: {what}"))
}

/// Waits for a hint of the backend, and passes over those that came early.
async fn hints_until_quiet(queue: &dyn SyncQueue, backend: &BackendName) -> SeenHints {
    let mut seen = SeenHints::default();
    let quiet = Duration::from_millis(300);
    while let Ok(more) = tokio::time::timeout(quiet, queue.due_elsewhere(backend, seen)).await {
        seen = more;
    }
    seen
}

#[tokio::test]
async fn work_that_one_handle_writes_wakes_the_dispatcher_of_another() {
    for (subject, second) in shared_subjects().await {
        let (name, (b, c)) = (subject.name, (BackendName::from("b"), BackendName::from("c")));
        let seen = hints_until_quiet(&*second.queue, &b).await;
        // Committed between two waits: the next one ends at once.
        let changes = [QueueChange::Put(row(&subject.log_clock, 1, "b", None))];
        subject.queue.advance(Position::START, position(1), &changes).await.unwrap();
        let seen = in_time(name, second.queue.due_elsewhere(&b, seen)).await;

        let waits = row(&subject.log_clock, 2, "c", Some(WaitsFor::Entity(EntityId(Uuid::nil()))));
        subject.queue.advance(position(1), position(2), &[QueueChange::Put(waits)]).await.unwrap();
        let of_c = hints_until_quiet(&*second.queue, &c).await;
        let woken = {
            let mut woken = pin!(second.queue.due_elsewhere(&c, of_c));
            assert!(woken.as_mut().now_or_never().is_none(), "{name}: nothing came since");
            let (waited_for, at) = (EntityId(Uuid::nil()), subject.log_clock.now());
            let wake = QueueChange::Wake { waited_for, at, position: position(3) };
            assert!(subject.queue.advance(position(2), position(3), &[wake]).await.unwrap());
            in_time(name, woken).await
        };
        assert_ne!(woken, of_c, "{name}");
        in_time(name, second.queue.due_elsewhere(&b, seen)).await;
    }
}

#[tokio::test]
async fn a_delivery_without_rows_of_a_backend_wakes_only_others() {
    for subject in crate::support::embedded_subjects().await {
        let (name, c) = (subject.name, BackendName::from("c"));
        let seen = hints_until_quiet(&*subject.queue, &c).await;
        let changes = [QueueChange::Put(row(&subject.log_clock, 1, "b", None))];
        subject.queue.advance(Position::START, position(1), &changes).await.unwrap();
        let woken = subject.queue.due_elsewhere(&c, seen).now_or_never();
        assert_eq!(woken, None, "{name}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_one_handle_moves_ends_the_wait_of_another() {
    for (subject, second) in shared_subjects().await {
        let name = subject.name;
        in_time(name, second.queue.advanced_past(Position::START)).await;
        in_time(name, second.model.advanced_past(Position::START)).await;
        let queue = async {
            let mut reached = pin!(second.queue.advanced_past(position(2)));
            let early = tokio::time::timeout(Duration::from_millis(20), &mut reached).await;
            assert!(early.is_err(), "{name}: the queue is not there");
            subject.queue.advance(Position::START, position(1), &[]).await.unwrap();
            subject.queue.advance(position(1), position(2), &[]).await.unwrap();
            in_time(name, reached).await;
        };
        queue.await;
        let mut reached = pin!(second.model.advanced_past(position(2)));
        let early = tokio::time::timeout(Duration::from_millis(20), &mut reached).await;
        assert!(early.is_err(), "{name}: the read model is not there");
        subject.model.apply(Position::START, position(2), &[]).await.unwrap();
        in_time(name, reached).await;
        // Known by now: without I/O.
        assert_eq!(subject.model.advanced_past(position(1)).now_or_never(), Some(()), "{name}");
        assert_eq!(subject.queue.advanced_past(position(1)).now_or_never(), Some(()), "{name}");
    }
}

#[tokio::test]
async fn a_swapped_rebuild_counts_for_those_who_wait_for_the_live_model() {
    for (subject, second) in shared_subjects().await {
        let Rebuild { id, model: beside } = subject.model.begin_rebuild().await.unwrap();
        let mut reached = pin!(second.model.advanced_past(position(1)));
        beside.apply(Position::START, position(1), &[]).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(20), &mut reached).await;
        assert!(early.is_err(), "{}: only the rebuild is there", subject.name);
        assert_eq!(subject.model.swap(id).await, Ok(true));
        in_time(subject.name, reached).await;
    }
}
