//! A log older than its recorded head: a new epoch, and only observation until a person lifts the hold.

use std::path::{Path, PathBuf};

use stateward_domain::id::{Position, Version};
use stateward_domain::ports::audit::{Auditor as _, RestoreHold as _};
use stateward_domain::ports::event_store::{EventStore, ReadError};
use stateward_domain::ports::projection::Projection;
use stateward_store::sqlite::{Auditor, Store};
use tempfile::TempDir;

use crate::support::{ManualClock, append};

/// A directory whose log has five events, and another one with the same log when it had two.
struct Fixture {
    directory: TempDir,
    /// The older log.
    copy: PathBuf,
    /// A position that the older log does not have.
    newest: Position,
    /// A position that both have.
    common: Position,
    _kept: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let (directory, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let copy = kept.path().join("events.db");
        let store = open(directory.path()).await;
        let common = store.log.append(append("a", 0, 1, 2, vec![])).await.unwrap().position;
        end(store).await;
        std::fs::copy(directory.path().join("events.db"), &copy).unwrap();
        let store = open(directory.path()).await;
        assert!(!store.life.held, "a stop is none");
        let newest = store.log.append(append("a", 2, 11, 3, vec![])).await.unwrap().position;
        let from = Projection::checkpoint(&*store.entities).await.unwrap();
        store.entities.apply(from, newest, &[]).await.unwrap();
        end(store).await;
        Self { directory, copy, newest, common, _kept: kept }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn restore_older_log(&self) {
        std::fs::copy(&self.copy, self.path("events.db")).unwrap();
    }

    fn kept_views(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.directory.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut kept: Vec<_> = names.filter(|name| name.starts_with("views.db.kept-")).collect();
        kept.sort();
        kept
    }
}

async fn open(directory: &Path) -> Store {
    Store::open(directory, ManualClock::new()).await.unwrap()
}

async fn end(store: Store) {
    store.close().await;
    drop(store);
}

/// Old positions are rejected, also when the log has grown past them again, and the hold is set.
async fn assert_new_epoch(fixture: &Fixture, store: &Store) {
    assert!(store.life.held, "it acts on backends with a log that was put back");
    let head = store.log.head_of(&crate::support::stream("a")).await.unwrap();
    store.log.append(append("a", head.0, 900 + u128::from(head.0), 9, vec![])).await.unwrap();
    for old in [fixture.common, fixture.newest] {
        let read = store.log.read_log(old, 10).await;
        assert!(matches!(read, Err(ReadError::PositionGone { .. })), "{old}: {read:?}");
    }
}

#[tokio::test]
async fn a_put_back_log_beside_views_that_know_more_begins_a_new_epoch() {
    let fixture = Fixture::new().await;
    fixture.restore_older_log();
    let store = open(fixture.directory.path()).await;
    assert_new_epoch(&fixture, &store).await;
    end(store).await;
    let epoch = open(fixture.directory.path()).await.log.head().await.unwrap().epoch;
    let again = open(fixture.directory.path()).await.opened();
    assert_eq!((again.life.held, again.life.held_epoch), (true, Some(epoch)));
    again.lifetime.close().await;
    drop(again);
    let again = open(fixture.directory.path()).await;
    assert!(again.life.held, "a restart is no person's word");
    assert_eq!(again.log.head().await.unwrap().epoch, epoch, "and no new life either");
    again.restore_hold.clear().await.unwrap();
    end(again).await;
    assert!(!open(fixture.directory.path()).await.life.held);
}

/// A hold that a person set by hand, or that is of a log that was copied elsewhere, is of no epoch.
#[tokio::test]
async fn a_mark_that_is_of_no_epoch_holds_again_whenever_it_is_set() {
    let fixture = Fixture::new().await;
    std::fs::write(fixture.path("put-back"), "").unwrap();
    let opened = open(fixture.directory.path()).await.opened();
    assert_eq!((opened.life.held, opened.life.held_epoch), (true, None));
}

#[tokio::test]
async fn a_put_back_log_without_its_views_begins_a_new_epoch() {
    let fixture = Fixture::new().await;
    fixture.restore_older_log();
    std::fs::remove_file(fixture.path("views.db")).unwrap();
    assert_new_epoch(&fixture, &open(fixture.directory.path()).await).await;
}

#[tokio::test]
async fn a_log_that_was_put_back_beside_views_as_old_as_it_begins_a_new_epoch() {
    let fixture = Fixture::new().await;
    let views = fixture.path("views.db");
    std::fs::remove_file(&views).unwrap();
    end(open(fixture.directory.path()).await).await;
    // Views that have read nothing of the lost events.
    assert!(!open(fixture.directory.path()).await.life.held, "deleted views are no alarm");
    fixture.restore_older_log();
    assert_new_epoch(&fixture, &open(fixture.directory.path()).await).await;
}

#[tokio::test]
async fn another_log_in_the_place_of_ours_begins_a_new_epoch() {
    for views in [true, false] {
        let (fixture, other) = (Fixture::new().await, Fixture::new().await);
        std::fs::copy(other.path("events.db"), fixture.path("events.db")).unwrap();
        if !views {
            std::fs::remove_file(fixture.path("views.db")).unwrap();
        }
        let store = open(fixture.directory.path()).await;
        assert_new_epoch(&fixture, &store).await;
        assert_new_epoch(&other, &store).await;
    }
}

/// A start continues what an interrupted one had begun.
#[tokio::test]
async fn a_start_that_died_on_the_way_is_finished_by_the_next_one() {
    for done in ["the mark", "the epoch", "the views"] {
        let fixture = Fixture::new().await;
        fixture.restore_older_log();
        std::fs::write(fixture.path("put-back"), "").unwrap();
        if done != "the mark" {
            let options =
                sqlx::sqlite::SqliteConnectOptions::new().filename(fixture.path("events.db"));
            let mut log =
                <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
            sqlx::query("UPDATE log SET epoch = epoch / 2 + 7").execute(&mut log).await.unwrap();
            sqlx::Connection::close(log).await.unwrap();
        }
        if done == "the views" {
            std::fs::rename(fixture.path("views.db"), fixture.path("views.db.kept-1")).unwrap();
        }
        assert_new_epoch(&fixture, &open(fixture.directory.path()).await).await;
    }
}

#[tokio::test]
async fn a_folder_of_an_older_version_and_one_that_was_killed_raise_no_alarm() {
    let fixture = Fixture::new().await;
    // As older versions leave it: the lock file is empty.
    std::fs::write(fixture.path("lock"), "").unwrap();
    let store = open(fixture.directory.path()).await;
    assert!(!store.life.held);
    let last = store.log.append(append("a", 5, 21, 2, vec![])).await.unwrap();
    assert_eq!(last.version, Version(7));
    // A crash: nothing is closed in order.
    drop(store);
    let store = open(fixture.directory.path()).await;
    assert!(!store.life.held);
    assert_eq!(store.log.head().await, Ok(last.position), "the same life goes on");
}

#[tokio::test]
async fn a_lock_file_that_was_torn_is_as_if_it_knew_nothing() {
    let fixture = Fixture::new().await;
    let whole = std::fs::read(fixture.path("lock")).unwrap();
    assert!(!whole.is_empty(), "an orderly end leaves the newest position behind");
    for torn in [&whole[..whole.len() / 2], &[whole.as_slice(), b"x"].concat(), b"\xff\xfe"] {
        std::fs::write(fixture.path("lock"), torn).unwrap();
        let store = open(fixture.directory.path()).await;
        assert!(!store.life.held, "{torn:?}");
        end(store).await;
        assert_eq!(std::fs::read(fixture.path("lock")).unwrap(), whole, "it is written anew");
    }
}

#[tokio::test]
async fn views_that_know_more_than_the_log_are_kept_and_named() {
    let fixture = Fixture::new().await;
    fixture.restore_older_log();
    end(open(fixture.directory.path()).await).await;
    let kept = fixture.kept_views();
    assert_eq!(kept.len(), 1, "the evidence is gone");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(fixture.path(&kept[0]));
    let mut views =
        <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
    let knows: String = sqlx::query_scalar("SELECT max(position) FROM checkpoints")
        .fetch_one(&mut views)
        .await
        .unwrap();
    assert_eq!(knows, fixture.newest.to_string());
    sqlx::Connection::close(views).await.unwrap();
    let auditor = Auditor::offline(fixture.directory.path(), ManualClock::new()).await.unwrap();
    let report = auditor.verify(None, &|_| ()).await.unwrap();
    auditor.close().await;
    let text = serde_json::to_string(&report).unwrap();
    assert!(text.contains(&kept[0]), "the verification does not mention it: {text}");

    // The number of kept views is bounded.
    for _ in 0..4 {
        let store = open(fixture.directory.path()).await;
        let head = store.log.head_of(&crate::support::stream("a")).await.unwrap();
        let id = 5_000 + u128::from(head.0);
        let last = store.log.append(append("a", head.0, id, 3, vec![])).await.unwrap().position;
        let from = Projection::checkpoint(&*store.entities).await.unwrap();
        store.entities.apply(from, last, &[]).await.unwrap();
        end(store).await;
        fixture.restore_older_log();
        end(open(fixture.directory.path()).await).await;
        assert!((1..=2).contains(&fixture.kept_views().len()), "{:?}", fixture.kept_views());
    }
}
