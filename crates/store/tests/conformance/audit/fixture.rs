//! A store with the histories of several entities and some control events.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use stateward_domain::audit::{Checkpoint, Report};
use stateward_domain::cloud_event;
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::id::{EntityId, Position, Version};
use stateward_domain::ports::audit::Auditor as _;
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::projection::Projection;
use stateward_domain::ports::sync_queue::{QueueChange, SyncQueue};
use stateward_store::sqlite::{Auditor, Store};
use tempfile::TempDir;

use crate::histories::HistoryWriter;
pub(crate) use crate::histories::histories;
use crate::support::ManualClock;

/// The directory of a store, which is closed unless a `Store` is open.
pub(crate) struct Fixture {
    pub(super) directory: TempDir,
    pub(super) clock: Arc<ManualClock>,
    writer: HistoryWriter,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
        Self { directory, writer: HistoryWriter::new(clock.clone()), clock }
    }

    /// A closed store with `histories`, interleaved, and control events around them.
    pub(super) async fn with(histories: &[Vec<EntityEvent>]) -> Self {
        let mut fixture = Self::new();
        let store = fixture.open().await;
        fixture.append_control_events(&store).await;
        fixture.append_histories(&store, histories).await;
        fixture.append_control_events(&store).await;
        project(&store).await;
        store.close().await;
        fixture
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(self.directory.path(), self.clock.clone()).await.unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) async fn auditor(&self) -> Auditor {
        Auditor::offline(self.directory.path(), self.clock.clone()).await.unwrap()
    }

    pub(super) async fn verify(&self, against: Option<&Checkpoint>) -> Report {
        let auditor = self.auditor().await;
        let report = auditor.verify(against, &|_| ()).await.unwrap();
        auditor.close().await;
        report
    }

    pub(super) async fn checkpoint(&self) -> Checkpoint {
        self.auditor().await.checkpoint().await.unwrap()
    }

    /// The whole log as lines.
    pub(super) async fn exported(&self) -> String {
        let auditor = self.auditor().await;
        let (mut at, mut text) = (Position::START, String::new());
        let until = auditor.head().await.unwrap();
        loop {
            let events = auditor.chained_events(at, until, 100).await.unwrap();
            let Some(last) = events.last() else { return text };
            at = last.event.position;
            for chained in &events {
                text += &cloud_event::render(chained, auditor.log_id(), false);
                text.push('\n');
            }
        }
    }

    /// A connection without constraints.
    pub(super) async fn tamper(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path("events.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let free = "PRAGMA ignore_check_constraints = ON; PRAGMA synchronous = OFF";
        sqlx::raw_sql(free).execute(&mut connection).await.unwrap();
        connection
    }

    /// Runs `statement` on the log.
    pub(super) async fn damage(&self, statement: &'static str) {
        let mut connection = self.tamper().await;
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Appends the histories in turn, a few events at a time.
    pub(crate) async fn append_histories(&mut self, store: &Store, histories: &[Vec<EntityEvent>]) {
        self.writer.append_histories(&*store.log, histories).await;
    }

    /// Some events of every control stream.
    pub(crate) async fn append_control_events(&mut self, store: &Store) {
        self.writer.append_control_events(&*store.log).await;
    }
}

/// Brings the read model up to date.
pub(crate) async fn project(store: &Store) {
    loop {
        let from = Projection::checkpoint(&*store.entities).await.unwrap();
        let events = store.log.read_log(from, 200).await.unwrap().events;
        let Some(last) = events.last() else { return };
        store.entities.apply(from, last.position, &events).await.unwrap();
    }
}

/// Brings the queue up to date, as the executor would.
pub(crate) async fn enqueue(store: &Store) {
    let mut entities = BTreeMap::<EntityId, Entity>::new();
    loop {
        let from = store.queue.checkpoint().await.unwrap();
        let events = store.log.read_log(from, 200).await.unwrap().events;
        let Some(last) = events.last() else { return };
        // The last change of each entity: their order does not count.
        let mut changes = BTreeMap::new();
        for recorded in &events {
            let Some(id) = recorded.stream.entity_id() else { continue };
            let entity = entities.entry(id).or_default();
            entity.evolve(&recorded.decode(EntityEvent::known).unwrap());
            changes.insert(id, queued(entity, recorded.position));
        }
        let changes: Vec<_> = changes.into_values().collect();
        store.queue.advance(from, last.position, &changes).await.unwrap();
    }
}

fn queued(entity: &Entity, position: Position) -> QueueChange {
    let row = entity.queue_row(entity.work(), position);
    row.map_or(QueueChange::Remove(entity.id), QueueChange::Put)
}

/// Number of entities and of events.
pub(super) fn size(histories: &[Vec<EntityEvent>]) -> (u64, u64) {
    (histories.len() as u64, histories.iter().map(Vec::len).sum::<usize>() as u64)
}

/// The version of a first event.
pub(super) const FIRST: Version = Version(1);
