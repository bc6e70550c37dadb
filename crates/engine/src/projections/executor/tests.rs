//! An executor that remembers what users were told keeps the same queue as one that looks at all of them each time.

use rand::RngExt;
use serde_json::json;
use stateward_domain::entity::work::QueueRow;

use super::*;

mod fixture;

use fixture::*;

const STEPS: usize = 60;
const SEEDS: u64 = 8;

impl Land {
    /// Once everything was delivered: whoever is due where all are looked at is so where they are not, and at rest both
    /// queues say the same of every entity. Not before: an attempt on a target begins without a word to its users, so
    /// that whoever looks at one of them finds it in doubt, and who does not look does not. When it is due may differ:
    /// one that is looked at again is due later than it was. How many were not looked at again.
    async fn compare(&self, rest: bool, when: &str) -> usize {
        let mut skipped = 0;
        for number in 0..ENTITIES {
            let [one, other] =
                [&self.remembers.1, &self.forgets.1].map(|queue| queue.row(id(number)));
            let (one, other) = (one.await.expect("a queue"), other.await.expect("a queue"));
            let position = |row: &Option<QueueRow>| row.as_ref().map(|row| row.position);
            skipped += usize::from(position(&one) != position(&other));
            let due = |row: &Option<QueueRow>| row.as_ref().is_some_and(|row| row.due.is_some());
            assert!(due(&one) >= due(&other), "e{number} is not due {when}");
            if rest {
                assert_eq!(one.map(what), other.map(what), "e{number} {when}");
            }
        }
        skipped
    }

    /// Ends what runs, and delivers everything.
    async fn rest(&mut self) {
        for number in 0..ENTITIES {
            while self.entities.fresh(id(number)).await.expect("readable").running.is_some() {
                self.happens(number).await;
            }
        }
        while self.deliver().await.is_some() {}
    }
}

fn what(row: QueueRow) -> impl PartialEq + std::fmt::Debug {
    (row.entity, row.priority, row.due.is_some(), row.waits_for, row.dependencies)
}

#[tokio::test]
async fn what_is_skipped_would_have_said_the_same() {
    let mut skipped = 0;
    for seed in 0..SEEDS {
        let mut land = Land::new(seed).await;
        for step in 0..STEPS {
            for _ in 0..land.random.random_range(1..8) {
                let number = land.random.random_range(0..ENTITIES);
                land.happens(number).await;
            }
            while land.deliver().await.is_some() {}
            skipped += land.compare(false, &format!("seed {seed}, step {step}")).await;
            if step % 10 == 9 {
                land.rest().await;
                land.compare(true, &format!("seed {seed}, at rest after {step}")).await;
            }
        }
    }
    assert!(skipped > 100, "only {skipped} looks were saved");
}

/// One that is looked at for an event of its own is not looked at with the others.
#[tokio::test]
async fn whoever_is_in_the_same_batch_counts_too() {
    let mut land = Land::with_users([true, false]).await;
    land.occurs(0, seen("id-2", 1, &json!({}))).await;
    land.occurs(2, seen("id-1", 1, &json!({ "/a": 1 }))).await;
    land.deliver_some(2).await;
    assert!(land.is_due(1).await && !land.is_due(2).await);
    land.occurs(0, seen("id-2", 2, &json!({}))).await;
    land.deliver_some(1).await;
    assert!(land.is_due(2).await, "the size changed");
}

#[tokio::test]
async fn what_was_heard_in_a_batch_that_broke_off_was_told_to_nobody() {
    let mut land = Land::with_users([true]).await;
    land.occurs(0, seen("id-1", 2, &json!({}))).await;
    land.deliver_some(1).await;
    land.occurs(0, seen("id-2", 2, &json!({}))).await;
    let from = land.remembers.0.checkpoint().await.expect("a queue");
    let events = land.log.read_log(from, 1).await.expect("a log");
    let broken = land.remembers.0.apply(Position::START, events[0].position, &events).await;
    assert!(matches!(broken, Err(ModelError::CheckpointMoved { .. })), "{broken:?}");
    assert!(!land.is_due(1).await);
    land.deliver_some(1).await;
    assert!(land.is_due(1).await);
}

#[tokio::test]
async fn more_users_than_are_written_at_a_time_are_all_told() {
    let count = CHANGES_MAX + CHANGES_MAX / 4;
    let mut land = Land::with_users((0..count).map(|_| true)).await;
    land.occurs(0, seen("id-2", 1, &json!({}))).await;
    land.deliver_some(1).await;
    for number in 1..=count {
        assert!(land.is_due(number).await, "e{number}");
    }
    assert!(land.deliver_some(1).await.is_none(), "everything was delivered");
}

/// A row that is written voids a snooze and rings: a request without effect must do neither.
#[tokio::test]
async fn a_mere_record_is_no_work_and_takes_none_away() {
    let mut land = Land::with_users([true, false]).await;
    while land.deliver().await.is_some() {}
    let rows = async |land: &Land| {
        let mut rows = Vec::new();
        for number in 0..3 {
            rows.push(land.remembers.1.row(id(number)).await.expect("a queue"));
        }
        rows
    };
    let before = rows(&land).await;
    assert!(before.iter().all(Option::is_some));
    for number in 0..3 {
        land.occurs(number, EntityEvent::RequestRecorded { at: Timestamp(99) }).await;
    }
    while land.deliver().await.is_some() {}
    assert_eq!(rows(&land).await, before);
    // In one batch with what its target shows: the user is looked at all the same.
    land.occurs(1, EntityEvent::RequestRecorded { at: Timestamp(100) }).await;
    land.occurs(0, seen("id-2", 1, &json!({}))).await;
    land.deliver_some(2).await;
    assert!(land.is_due(1).await);
}
