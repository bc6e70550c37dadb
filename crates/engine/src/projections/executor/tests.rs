//! An executor with a dependent cache keeps the same queue as one that re-evaluates all dependents each time.

use rand::RngExt;
use serde_json::json;
use stateward_domain::entity::next_work::QueueRow;

use super::*;

mod fixture;

use fixture::*;

const STEPS: usize = 60;
const SEEDS: u64 = 8;

impl Fixture {
    /// Compares the queues after everything was delivered; returns how many rows were not re-evaluated. Whatever is due
    /// without the cache is due with it. Once no attempt runs (`settled`), both queues have equal rows, except for due
    /// times: a re-evaluated row is due later. Before that they may differ: the start of an attempt on a target does
    /// not trigger its dependents, so a dependent that is re-evaluated meanwhile has no value, and one that is not
    /// keeps its old one.
    async fn compare(&self, settled: bool, when: &str) -> usize {
        let mut skipped = 0;
        for number in 0..ENTITIES {
            let [one, other] =
                [&self.cached.1, &self.uncached.1].map(|queue| queue.row(id(number)));
            let (one, other) = (one.await.expect("a queue"), other.await.expect("a queue"));
            let position = |row: &Option<QueueRow>| row.as_ref().map(|row| row.position);
            skipped += usize::from(position(&one) != position(&other));
            let due = |row: &Option<QueueRow>| row.as_ref().is_some_and(|row| row.due.is_some());
            assert!(due(&one) >= due(&other), "e{number} is not due {when}");
            if settled {
                assert_eq!(one.map(comparable), other.map(comparable), "e{number} {when}");
            }
        }
        skipped
    }

    /// Completes running attempts, and delivers everything.
    async fn settle(&mut self) {
        for number in 0..ENTITIES {
            while self.entities.fresh(id(number)).await.expect("readable").running.is_some() {
                self.random_event(number).await;
            }
        }
        while self.deliver().await.is_some() {}
    }
}

fn comparable(row: QueueRow) -> impl PartialEq + std::fmt::Debug {
    (row.entity, row.priority, row.due.is_some(), row.waits_for, row.dependencies)
}

#[tokio::test]
async fn a_skipped_evaluation_would_have_changed_no_row() {
    let mut skipped = 0;
    for seed in 0..SEEDS {
        let mut fixture = Fixture::new(seed).await;
        for step in 0..STEPS {
            for _ in 0..fixture.random.random_range(1..8) {
                let number = fixture.random.random_range(0..ENTITIES);
                fixture.random_event(number).await;
            }
            while fixture.deliver().await.is_some() {}
            skipped += fixture.compare(false, &format!("seed {seed}, step {step}")).await;
            if step % 10 == 9 {
                fixture.settle().await;
                fixture.compare(true, &format!("seed {seed}, at rest after {step}")).await;
            }
        }
    }
    assert!(skipped > 100, "only {skipped} evaluations were saved");
}

/// A dependent that is evaluated for an event of its own is not evaluated again in the scan.
#[tokio::test]
async fn a_dependent_in_the_same_batch_counts_too() {
    let mut fixture = Fixture::with_dependents([true, false]).await;
    fixture.append_event(0, completed("id-2", 1, &json!({}))).await;
    fixture.append_event(2, completed("id-1", 1, &json!({ "/a": 1 }))).await;
    fixture.deliver_up_to(2).await;
    assert!(fixture.is_due(1).await && !fixture.is_due(2).await);
    fixture.append_event(0, completed("id-2", 2, &json!({}))).await;
    fixture.deliver_up_to(1).await;
    assert!(fixture.is_due(2).await, "the size changed");
}

#[tokio::test]
async fn values_of_an_aborted_batch_are_not_kept() {
    let mut fixture = Fixture::with_dependents([true]).await;
    fixture.append_event(0, completed("id-1", 2, &json!({}))).await;
    fixture.deliver_up_to(1).await;
    fixture.append_event(0, completed("id-2", 2, &json!({}))).await;
    let from = fixture.cached.0.checkpoint().await.expect("a queue");
    let events = fixture.log.read_log(from, 1).await.expect("a log").events;
    let broken = fixture.cached.0.apply(Position::START, events[0].position, &events).await;
    assert!(matches!(broken, Err(ModelError::CheckpointMoved { .. })), "{broken:?}");
    assert!(!fixture.is_due(1).await);
    fixture.deliver_up_to(1).await;
    assert!(fixture.is_due(1).await);
}

/// It stops as the read model does: work that an event of another program would cause is not known here.
#[tokio::test]
async fn an_event_of_an_unknown_category_stops_it_and_is_named() {
    let mut fixture = Fixture::with_dependents([true]).await;
    fixture.append_event(0, completed("id-1", 2, &json!({}))).await;
    let executor = &fixture.cached.0;
    let from = executor.checkpoint().await.expect("a queue");
    let mut events = fixture.log.read_log(from, 1).await.expect("a log").events;
    let to = events[0].position;
    events[0].stream = StreamId { category: "account".to_owned(), id: "x".to_owned() };
    let stopped = executor.apply(from, to, &events).await;
    let Err(ModelError::Poisoned { stream, unknown, .. }) = stopped else { panic!("{stopped:?}") };
    assert_eq!((stream.as_str(), unknown.as_deref()), ("account/x", Some("entity.sync_completed")));
    assert_eq!(executor.checkpoint().await, Ok(from), "nothing was applied");
}

/// The size goes from 1 to 2 and back while another executor applies the events, so that a dependent is built with 2.
#[tokio::test]
async fn values_are_forgotten_where_another_executor_went_on() {
    let mut fixture = Fixture::with_dependents([false]).await;
    fixture.append_event(0, completed("id-1", 1, &json!({}))).await;
    fixture.deliver_up_to(500).await;
    fixture.append_event(0, completed("id-1", 2, &json!({}))).await;
    fixture.append_event(1, completed("id-1", 1, &json!({ "/a": 2 }))).await;
    let queue = Arc::clone(&fixture.cached.1);
    let other = Executor::new(queue, fixture.entities.clone());
    let from = fixture.cached.0.checkpoint().await.expect("a queue");
    let events = fixture.log.read_log(from, 500).await.expect("a log").events;
    let to = events.last().expect("two events").position;
    Arc::new(other).apply(from, to, &events).await.expect("applies");
    assert!(!fixture.is_due(1).await, "built with the newest size");
    fixture.append_event(0, completed("id-1", 1, &json!({}))).await;
    let events = fixture.log.read_log(to, 500).await.expect("a log").events;
    let last = events.last().expect("an event").position;
    fixture.cached.0.apply(to, last, &events).await.expect("applies");
    assert!(fixture.is_due(1).await, "the size is another than the one it was built with");
}

/// The target of a dependent is in quarantine while its size changes.
#[tokio::test]
async fn a_quarantined_stream_is_left_out_after_a_restart_and_caught_up_by_a_retry() {
    let mut fixture = Fixture::with_dependents([false]).await;
    let entry = Quarantined {
        stream: StreamId::entity(id(0)).to_string(),
        position: fixture.log.head().await.expect("a log"),
        message: "for a test".to_owned(),
    };
    fixture.cached.0.quarantine(entry.clone()).await.expect("a queue");
    let queue = Arc::clone(&fixture.cached.1);
    let restarted = Executor::new(queue, fixture.entities.clone());
    fixture.cached.0 = Arc::new(restarted);
    assert_eq!(fixture.cached.1.quarantined().await, Ok(vec![entry]));
    fixture.append_event(0, completed("id-1", 2, &json!({}))).await;
    fixture.deliver_up_to(500).await;
    assert!(!fixture.is_due(1).await, "the event was left out");
    let stream = StreamId::entity(id(0));
    fixture.cached.0.retry(&*fixture.log, &stream).await.expect("it can be folded");
    assert!(fixture.is_due(1).await, "the size is another than the one it was built with");
    assert_eq!(fixture.cached.1.quarantined().await, Ok(Vec::new()));
    assert!(fixture.deliver_up_to(500).await.is_none(), "nothing is replayed");
}

#[tokio::test]
async fn more_dependents_than_are_written_at_a_time_are_all_evaluated() {
    let count = CHANGES_MAX + CHANGES_MAX / 4;
    let mut fixture = Fixture::with_dependents((0..count).map(|_| true)).await;
    fixture.append_event(0, completed("id-2", 1, &json!({}))).await;
    fixture.deliver_up_to(1).await;
    for number in 1..=count {
        assert!(fixture.is_due(number).await, "e{number}");
    }
    assert!(fixture.deliver_up_to(1).await.is_none(), "everything was delivered");
}

/// Writing a row cancels its snooze and wakes the dispatcher: a request without effect must do neither.
#[tokio::test]
async fn a_mere_record_is_no_work_and_takes_none_away() {
    let mut fixture = Fixture::with_dependents([true, false]).await;
    while fixture.deliver().await.is_some() {}
    let rows = async |fixture: &Fixture| {
        let mut rows = Vec::new();
        for number in 0..3 {
            rows.push(fixture.cached.1.row(id(number)).await.expect("a queue"));
        }
        rows
    };
    let before = rows(&fixture).await;
    assert!(before.iter().all(Option::is_some));
    for number in 0..3 {
        fixture.append_event(number, EntityEvent::RequestRecorded { at: Timestamp(99) }).await;
    }
    while fixture.deliver().await.is_some() {}
    assert_eq!(rows(&fixture).await, before);
    // In one batch with a change of its target, the dependent is evaluated nevertheless.
    fixture.append_event(1, EntityEvent::RequestRecorded { at: Timestamp(100) }).await;
    fixture.append_event(0, completed("id-2", 1, &json!({}))).await;
    fixture.deliver_up_to(2).await;
    assert!(fixture.is_due(1).await);
}
