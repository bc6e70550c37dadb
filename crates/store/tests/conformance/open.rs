//! Errors of opening a store: one clear line, and nothing changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::projection::Projection;
use stateward_store::sqlite::{OpenError, Store};

use crate::support::{ManualClock, append, stream};

async fn open(directory: &Path) -> Result<Store, OpenError> {
    Store::open(directory, ManualClock::new()).await
}

#[tokio::test]
async fn a_second_one_in_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path()).await.unwrap();
    assert!(matches!(open(directory.path()).await, Err(OpenError::Locked(_))));
    drop(first);
    assert!(open(directory.path()).await.is_ok());
}

#[tokio::test]
async fn the_log_reads_the_same_from_memory_and_from_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let streams = ["a", "b", "a", "c", "a"];
    let mut versions = std::collections::BTreeMap::<&str, u64>::new();
    for (number, id) in streams.into_iter().enumerate() {
        let version = versions.entry(id).or_default();
        let first = 10 * number as u128 + 1;
        store.log.append(append(id, *version, first, 3, vec![])).await.unwrap();
        *version += 3;
    }
    let mut remembered = store.log.read_log(Position::START, 100).await.unwrap().events;
    assert_eq!(remembered.len(), 15);
    let newest = remembered[9].position;
    let after = store.log.read_log(newest, 4).await.unwrap().events;
    assert_eq!(after, remembered[10..14]);
    store.close().await;
    drop(store);
    let store = open(directory.path()).await.unwrap();
    assert_eq!(store.log.read_log(Position::START, 100).await.unwrap().events, remembered);
    store.log.append(append("a", 9, 101, 1, vec![])).await.unwrap();
    let read = store.log.read_log(Position::START, 100).await.unwrap().events;
    remembered.extend(store.log.read_log(remembered[14].position, 100).await.unwrap().events);
    assert_eq!(read, remembered, "the newest from memory, the others from the file");
    for (id, version) in [("a", 10), ("b", 3)] {
        let whole = store.log.read_stream(&stream(id), Version(0), 100).await.unwrap();
        assert_eq!(whole.len() as u64, version);
        let none = store.log.read_stream(&stream(id), Version(version), 100).await.unwrap();
        assert_eq!(none, [], "{id}");
    }
}

#[tokio::test]
async fn a_foreign_database_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["events.db", "views.db"] {
        let path = directory.path().join(name);
        // A valid database of another program: page size and version of the header as SQLite writes them.
        let other = tempfile::tempdir().unwrap();
        drop(open(other.path()).await.unwrap());
        let mut bytes = std::fs::read(other.path().join("events.db")).unwrap();
        bytes[68..72].copy_from_slice(&0x0123_4567_u32.to_be_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let outcome = open(directory.path()).await;
        assert!(matches!(outcome, Err(OpenError::Foreign(_))), "{name}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}");
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn a_damaged_file_is_named_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    std::fs::write(
        &path,
        "this is no database, but longer than a header would have to be".repeat(20),
    )
    .unwrap();
    let Err(error) = open(directory.path()).await else { panic!("opened") };
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("events.db"), "{error}");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("this is no database"));
}

#[tokio::test]
async fn a_log_whose_identity_is_damaged_does_not_open() {
    for damage in ["epoch = -1", "epoch = 0", "epoch = 99999999999", "log_id = 'none'"] {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).await.unwrap().close().await;
        let options = SqliteConnectOptions::new().filename(directory.path().join("events.db"));
        let mut file = SqliteConnection::connect_with(&options).await.unwrap();
        let damaged = format!("UPDATE log SET {damage}");
        sqlx::query(AssertSqlSafe(damaged)).execute(&mut file).await.unwrap();
        file.close().await.unwrap();
        let Err(error) = open(directory.path()).await else { panic!("opened with {damage}") };
        assert!(matches!(error, OpenError::Damaged { .. }), "{damage}: {error}");
    }
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    let store = open(&directory).await.unwrap();
    store.log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in ["events.db", "events.db-wal", "views.db", "lock"] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_reopen_and_positions_stay_valid() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let last = store.log.append(append("a", 0, 1, 3, vec![])).await.unwrap().position;
    store.close().await;
    drop(store);
    let store = open(directory.path()).await.unwrap();
    assert_eq!(store.log.head().await, Ok(last));
    assert_eq!(store.log.read_log(Position::START, 10).await.unwrap().events.len(), 3);
    assert!(!store.life.held);
}

#[tokio::test]
async fn views_of_another_log_or_ahead_of_it_are_dropped_and_said_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let last = store.log.append(append("a", 0, 1, 1, vec![])).await.unwrap().position;
    let ahead = Position { minor: last.minor + 5, ..last };
    store.entities.apply(Position::START, ahead, &[]).await.unwrap();
    store.close().await;
    drop(store);
    let store = open(directory.path()).await.unwrap();
    assert!(store.life.held);
    assert_eq!(Projection::checkpoint(&*store.entities).await, Ok(Position::START));
    store.close().await;
    drop(store);

    let store = open(directory.path()).await.unwrap();
    assert!(store.life.held, "a restart is no person's word");
    store.close().await;
    drop(store);
    std::fs::remove_file(directory.path().join("put-back")).unwrap();
    assert!(!open(directory.path()).await.unwrap().life.held);
}

#[tokio::test]
async fn deleted_views_are_made_anew_without_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    store.log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    store.close().await;
    drop(store);
    std::fs::remove_file(directory.path().join("views.db")).unwrap();
    let store = open(directory.path()).await.unwrap();
    assert!(!store.life.held);
    assert_eq!(Projection::checkpoint(&*store.entities).await, Ok(Position::START));
}
