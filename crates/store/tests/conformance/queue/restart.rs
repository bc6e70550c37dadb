//! Setting the wall clock between two openings of the files: no work is late, and no wait is longer than its nominal
//! length.

use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use super::clock::{DAY, SETTINGS, WAIT, YEAR};
use super::*;
use crate::support::append;

async fn on_disk(directory: TempDir, clock: Arc<ManualClock>) -> Subject {
    Subject::of(support::Subject::on_disk(directory, clock).await).await
}

async fn fresh() -> Subject {
    on_disk(tempfile::tempdir().unwrap(), ManualClock::new()).await
}

async fn close(subject: Subject) -> (TempDir, Arc<ManualClock>) {
    let (directory, store) = subject.store.files.unwrap();
    store.close().await;
    (directory, subject.clock)
}

async fn restarted(subject: Subject) -> Subject {
    let (directory, clock) = close(subject).await;
    let subject = on_disk(directory, clock).await;
    assert!(!subject.store.files.as_ref().unwrap().1.life.held);
    // As every start does.
    subject.store.leases.end().await;
    subject.queue.forget_late_drift_timers(&BackendName::from("b"), WAIT).await.unwrap();
    subject.queue.seed_drift_timers(&BackendName::from("b"), WAIT).await.unwrap();
    subject
}

#[tokio::test]
async fn set_between_two_openings_it_delays_nothing() {
    for set in SETTINGS {
        let subject = fresh().await;
        subject.three(1).await;
        subject.set(set);
        let subject = restarted(subject).await;
        assert!(subject.leased().await.starts_with(&[1]), "{set:?}: it waits for nothing");
        subject.store.leases.end().await;
        subject.three(11).await;
        subject.clock.advance(WAIT);
        assert_eq!(subject.leased().await, [1, 2, 3, 11, 12, 13], "{set:?}: no wait is longer");
    }
}

#[tokio::test]
async fn what_was_written_ahead_of_the_clock_waits_no_longer_than_it_has_to() {
    for ahead in [DAY, YEAR] {
        for events in [true, false] {
            let clock = ManualClock::new();
            clock.set_forward(ahead);
            let subject = on_disk(tempfile::tempdir().unwrap(), clock).await;
            if events {
                subject.three(1).await;
            } else {
                // Drift checks alone: nothing was recorded at that time.
                let row = subject.due(3, Priority::Drift, 1);
                subject.put(&[idle(row)]).await;
                let backend = BackendName::from("b");
                subject.queue.seed_drift_timers(&backend, WAIT).await.unwrap();
            }
            subject.clock.set_back(ahead);
            let subject = restarted(subject).await;
            let skew = if events { ahead } else { Duration::ZERO };
            assert_eq!(subject.log_clock.moment().skew(), skew);
            subject.three(11).await;
            assert!(subject.leased().await.contains(&11), "{ahead:?}: it waits for nothing");
            subject.store.leases.end().await;
            subject.clock.advance(WAIT);
            let expected: &[u128] = if events { &[1, 2, 3] } else { &[3] };
            assert_eq!(subject.leased().await, [expected, &[11, 12, 13]].concat(), "{ahead:?}");
        }
    }
}

#[tokio::test]
async fn the_files_of_an_older_version_go_on_from_their_newest_time() {
    let clock = ManualClock::new();
    let subject = on_disk(tempfile::tempdir().unwrap(), clock.clone()).await;
    clock.advance(YEAR);
    subject.three(1).await;
    subject.store.log.append(append("last", 0, 99, 1, vec![])).await.unwrap();
    let (directory, _) = close(subject).await;
    // The last event, and what came after, were recorded after the clock had been set back.
    older(
        &directory,
        "events.db",
        "ALTER TABLE log DROP COLUMN time_floor; \
        DELETE FROM _sqlx_migrations WHERE version = 5; \
        UPDATE events SET recorded_at = 5 WHERE aggregate_id = 'last'",
    )
    .await;
    older(
        &directory,
        "views.db",
        "DROP INDEX sync_queue_lease_after; \
        ALTER TABLE sync_queue DROP COLUMN lease_after; \
        CREATE INDEX sync_queue_due ON sync_queue (backend, priority, due) WHERE due IS NOT NULL; \
        DROP TABLE sync_observed; DROP TABLE sync_observed_since",
    )
    .await;
    clock.set_back(YEAR);
    let subject = on_disk(directory, clock).await;
    assert_eq!(subject.log_clock.moment().skew(), YEAR);
    assert!(subject.leased().await.starts_with(&[1]), "it waits for nothing");
    subject.store.leases.end().await;
    subject.clock.advance(WAIT);
    assert_eq!(subject.leased().await, [1, 2, 3], "no wait is longer");
}

async fn older(directory: &TempDir, name: &str, statements: &'static str) {
    let path = directory.path().join(name);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
