//! The log moved from one store to another, and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use stateward_domain::audit::{Checkpoint, FaultKind, Report};
use stateward_domain::id::{LogId, Position};
use stateward_domain::ports::audit::{Auditor, ChainedEvent, ProgressFn};
use stateward_domain::ports::event_store::{AppendError, EventStore, ReadError};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::{Clock, ManualClock};
use stateward_store::postgres::{self, CopyError, ImportError, copy, end_fence, fence};
use stateward_store::sqlite;
use uuid::Uuid;

use super::{TestDatabase, test_database};
use crate::histories::{HistoryWriter, histories};
use crate::support::{Subject, append};

/// Writes control events and random histories.
async fn live(store: &Subject) -> HistoryWriter {
    let mut writer = HistoryWriter::new(store.clock.clone());
    writer.append_control_events(&*store.log).await;
    writer.append_histories(&*store.log, &histories(9, 8, 40)).await;
    writer
}

/// Faults of a copy but those of its views, which follow later.
fn faults(report: &Report) -> Vec<String> {
    let faults = report.faults.iter().filter(|fault| fault.fault != FaultKind::View);
    faults.map(ToString::to_string).collect()
}

/// A source that breaks off at a page.
struct Breaking<'a> {
    source: &'a dyn Auditor,
    pages: AtomicU32,
}

#[async_trait]
impl Auditor for Breaking<'_> {
    fn log_id(&self) -> LogId {
        self.source.log_id()
    }

    async fn verify(
        &self,
        against: Option<&Checkpoint>,
        progress: ProgressFn<'_>,
    ) -> Result<Report, ReadError> {
        self.source.verify(against, progress).await
    }

    async fn checkpoint(&self) -> Result<Checkpoint, ReadError> {
        self.source.checkpoint().await
    }

    async fn chained_events(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<ChainedEvent>, ReadError> {
        let left = self.pages.fetch_sub(1, Ordering::SeqCst);
        if left == 0 {
            return Err(StoreError::unavailable("it breaks off").into());
        }
        self.source.chained_events(after, until, limit.min(30)).await
    }
}

#[tokio::test]
async fn a_log_moves_to_postgres_and_back_with_the_same_ids_and_hashes() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let clock = ManualClock::new();
    let mut first = Subject::on_disk(tempfile::tempdir().unwrap(), clock.clone()).await;
    let mut writer = live(&first).await;
    let begun = first.auditor.checkpoint().await.unwrap();
    let (directory, store) = first.files.take().unwrap();
    assert!(sqlite::SourceLock::take(directory.path()).is_err(), "a process serves it");
    store.close().await;
    drop((store, first));
    let lock = sqlite::SourceLock::take(directory.path()).unwrap();
    let source = sqlite::Auditor::offline(directory.path(), clock.clone()).await.unwrap();

    // It breaks off, and goes on where it was.
    let to = database.connect().await;
    let breaking = Breaking { source: &source, pages: 3.into() };
    let broken = copy(&breaking, &to, clock.clone(), &|_| ()).await;
    assert!(matches!(broken, Err(CopyError::Source(_))), "{broken:?}");
    let opened = postgres::Log::open(database.connect().await, clock.clone()).await;
    assert!(opened.is_err_and(|error| error.to_string().contains("fenced")), "half a copy");
    let report = copy(&source, &to, clock.clone(), &|_| ()).await.unwrap();
    lock.moved().unwrap();
    assert_eq!(faults(&report), Vec::<String>::new());
    assert_eq!(report.checkpoint.digest, begun.digest);
    let occupied = copy(&source, &to, clock.clone(), &|_| ()).await;
    assert!(matches!(occupied, Err(CopyError::Target(ImportError::Occupied(_)))), "{occupied:?}");

    let moved = Subject::node(&database, clock.clone()).await;
    let log = database.log(clock.clone()).await;
    assert!(log.identity().put_back, "it begins under the hold");
    writer.append_control_events(&*moved.log).await;
    let grown = moved.auditor.checkpoint().await.unwrap();
    fence(&to).await.unwrap();
    let refused = moved.log.append(append("a", 0, 1, 1, vec![])).await;
    assert!(
        matches!(refused, Err(AppendError::Store(StoreError::Fatal { .. }))),
        "the source takes no append: {refused:?}"
    );
    let back = tempfile::tempdir().unwrap();
    let home = back.path().join("data");
    let copied = sqlite::copy(&*moved.auditor, &home, clock.now(), &|_| ()).await.unwrap();
    assert_eq!((copied.count, copied.digest), (grown.count, grown.digest));
    assert_eq!(std::fs::read_dir(back.path()).unwrap().count(), 1, "nothing is left beside it");
    let home = sqlite::Auditor::offline(&home, clock).await.unwrap();
    let report = home.verify(Some(&begun), &|_| ()).await.unwrap();
    assert_eq!((faults(&report), report.events), (vec![], grown.count));
}

/// What an earlier copy left beside the directory: with or without a line that was cut off, of this or another log.
#[tokio::test]
async fn a_copy_into_a_directory_that_broke_off_goes_on_where_it_was() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let clock = ManualClock::new();
    let source = Subject::node(&database, clock.clone()).await;
    live(&source).await.append_histories(&*source.log, &histories(5, 20, 40)).await;
    let end = source.auditor.checkpoint().await.unwrap();
    let back = tempfile::tempdir().unwrap();
    let (home, left) = (back.path().join("data"), back.path().join("data.copy"));
    let pages = |pages| Breaking { source: &*source.auditor, pages: AtomicU32::new(pages) };
    let read = |source: &Breaking<'_>| 1_000 - source.pages.load(Ordering::SeqCst);
    let copy =
        async |source: &Breaking<'_>| sqlite::copy(source, &home, clock.now(), &|_| ()).await;
    let whole = pages(1_000);
    copy(&whole).await.unwrap();
    assert!(!left.exists(), "nothing is left beside it");
    let occupied = copy(&pages(0)).await;
    assert!(matches!(occupied, Err(sqlite::CopyError::Target(_))), "before it reads: {occupied:?}");
    let needed = read(&whole);
    let broken_off = async || {
        if home.exists() {
            std::fs::remove_dir_all(&home).unwrap();
        }
        let broken = copy(&pages(3)).await;
        assert!(matches!(broken, Err(sqlite::CopyError::Source(_))), "{broken:?}");
        assert!(!home.exists(), "the directory is as it was");
        std::fs::read_to_string(&left).unwrap()
    };
    let collected = broken_off().await;
    assert_eq!(collected.lines().count(), 90);
    let other = collected.replace(&end.log_id.to_string(), &Uuid::nil().to_string());
    let cut = collected.trim_end();
    for (text, saved) in [
        // Of three pages that are read, one question is for the last event again; of a line that was cut, one page more.
        (collected.clone(), 2),
        (format!("{collected}{{\"specversion\""), 2),
        (cut[..cut.len() - 5].to_owned(), 1),
        (other, 0),
        ("nonsense\n".to_owned(), 0),
        (String::new(), 0),
    ] {
        broken_off().await;
        std::fs::write(&left, text).unwrap();
        let source = pages(1_000);
        let copied = copy(&source).await.unwrap();
        assert_eq!((copied.count, copied.digest), (end.count, end.digest));
        assert!(read(&source) <= needed - saved, "{} of {needed}", read(&source));
        assert!(!left.exists(), "nothing is left beside it");
    }
    // A line before the last is not compared with the source, but by the import; then the next copy begins anew.
    let hash = collected.find("\"hash\":\"").unwrap() + 8;
    let damaged = format!("{}{}{}", &collected[..hash], "0".repeat(64), &collected[hash + 64..]);
    broken_off().await;
    std::fs::write(&left, damaged).unwrap();
    let refused = copy(&pages(1_000)).await;
    assert!(matches!(refused, Err(sqlite::CopyError::Target(_))), "{refused:?}");
    assert!(!left.exists() && !home.exists());
    copy(&pages(1_000)).await.unwrap();
}

#[tokio::test]
async fn a_copy_does_not_go_on_in_another_log_or_behind_other_events() {
    let Some(database) = test_database() else { return };
    let database: TestDatabase = database.await;
    let clock = ManualClock::new();
    let source = Subject::on_disk(tempfile::tempdir().unwrap(), clock.clone()).await;
    live(&source).await;
    let to = database.connect().await;
    let breaking = Breaking { source: &*source.auditor, pages: 2.into() };
    assert!(copy(&breaking, &to, clock.clone(), &|_| ()).await.is_err());
    let other = Subject::on_disk(tempfile::tempdir().unwrap(), clock.clone()).await;
    live(&other).await;
    let another = copy(&*other.auditor, &to, clock.clone(), &|_| ()).await;
    assert!(matches!(another, Err(CopyError::Target(ImportError::Occupied(_)))), "{another:?}");
    let damage = "UPDATE stateward.events SET hash = sha256('x') WHERE position = \
         (SELECT position FROM stateward.events ORDER BY position OFFSET 6 LIMIT 1)";
    sqlx::query(AssertSqlSafe(damage)).execute(&database.owner().await).await.unwrap();
    let different = copy(&*source.auditor, &to, clock, &|_| ()).await;
    assert!(matches!(different, Err(CopyError::Different(7))), "{different:?}");
}

#[tokio::test]
async fn a_fence_waits_for_appends_in_flight_and_can_be_ended() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let clock: Arc<ManualClock> = ManualClock::new();
    let log = database.log(clock).await;
    let to = database.connect().await;
    let mut open = database.owner().await.begin().await.unwrap();
    sqlx::query("SELECT stateward.begin_block()").execute(&mut *open).await.unwrap();
    let waits = tokio::time::timeout(std::time::Duration::from_millis(300), fence(&to)).await;
    assert!(waits.is_err(), "{waits:?}");
    open.rollback().await.unwrap();
    fence(&to).await.unwrap();
    assert!(log.append(append("a", 0, 1, 1, vec![])).await.is_err());
    end_fence(&to).await.unwrap();
    log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
}
