//! A store with the histories of several entities and some control events.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use stateward_domain::access::{AccessEvent, NamespaceSettings};
use stateward_domain::audit::{Checkpoint, Report};
use stateward_domain::backend::BackendEvent;
use stateward_domain::cloud_event;
use stateward_domain::entity::{Entity, EntityEvent, claims};
use stateward_domain::envelope::{DomainEvent, Envelope, Idempotency, NewEvent, StreamId};
use stateward_domain::id::{
    BackendName, EntityId, EntityName, EventId, Namespace, Position, Version,
};
use stateward_domain::ports::audit::Auditor as _;
use stateward_domain::ports::event_store::{Append, EventStore};
use stateward_domain::ports::read_model::ReadModel;
use stateward_domain::ports::sync_queue::{QueueChange, SyncQueue};
use stateward_domain::system::SystemEvent;
use stateward_domain::time::Timestamp;
use stateward_store::sqlite::{Auditor, Store};
use tempfile::TempDir;
use uuid::Uuid;

use crate::lifecycle::Lifecycle;
use crate::moves;
use crate::support::ManualClock;

/// The directory of a store, which is closed unless a `Store` is open.
pub(crate) struct Fixture {
    pub(super) directory: TempDir,
    pub(super) clock: Arc<ManualClock>,
    next: u128,
}

/// Generates `count` random histories.
pub(crate) fn histories(seed: u8, count: usize, moves_max: usize) -> Vec<Vec<EntityEvent>> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut all = Vec::new();
    while all.len() < count {
        let drawn = vec(moves::any_move(), moves_max / 2..moves_max).new_tree(&mut runner).unwrap();
        let mut history = Lifecycle::default();
        for (turn, one) in drawn.current().iter().enumerate() {
            history.play(one, turn);
        }
        if !history.events.is_empty() {
            all.push(history.events);
        }
    }
    all
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory, clock: ManualClock::new(), next: 1 }
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

    /// The envelope of an append: every third one has an idempotency key.
    fn envelope(&self) -> Envelope {
        let envelope = Envelope::system("test", Namespace::from("default"));
        let key = || Idempotency {
            key: format!("key-{}", self.next),
            fingerprint: format!("print-{}", self.next),
        };
        let idempotency = self.next.is_multiple_of(3).then(key);
        Envelope { reason: Some("why — “because”".to_owned()), idempotency, ..envelope }
    }

    fn encode(&mut self, event: &impl DomainEvent, envelope: &Envelope) -> NewEvent {
        self.next += 1;
        // Spread over all hexadecimal digits.
        let id = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        NewEvent::encode(EventId(Uuid::from_u128(id)), event, envelope).expect("small")
    }

    /// Appends the histories in turn, a few events at a time.
    pub(crate) async fn append_histories(&mut self, store: &Store, histories: &[Vec<EntityEvent>]) {
        let first = self.next;
        let mut states: Vec<_> = histories
            .iter()
            .enumerate()
            .map(|(place, history)| {
                let number = (first << 16) | (place as u128 + 1);
                (number, own(history, number), Entity::default())
            })
            .collect();
        let mut turn = 0;
        while states.iter().any(|(_, events, _)| !events.is_empty()) {
            for (number, events, entity) in &mut states {
                turn += 1;
                let rest = events.split_off((turn % 3 + 1).min(events.len()));
                let now = std::mem::replace(events, rest);
                if !now.is_empty() {
                    self.append(store, *number, entity, &now).await;
                }
            }
        }
    }

    async fn append(
        &mut self,
        store: &Store,
        number: u128,
        entity: &mut Entity,
        events: &[EntityEvent],
    ) {
        let envelope = self.envelope();
        self.clock.advance(Duration::from_millis(4));
        let append = Append {
            stream: StreamId::entity(EntityId(Uuid::from_u128(number))),
            expected: entity.version,
            claims: claims::fold(entity.clone(), events, &envelope).1,
            events: events.iter().map(|event| self.encode(event, &envelope)).collect(),
        };
        store.log.append(append).await.unwrap();
        for event in events {
            entity.evolve(event);
        }
    }

    /// Some events of every control stream.
    pub(crate) async fn append_control_events(&mut self, store: &Store) {
        let at = Timestamp(self.next.try_into().unwrap());
        let namespace = Namespace(format!("n{}", self.next));
        let settings = NamespaceSettings::default();
        self.control(
            store,
            StreamId::access(),
            &AccessEvent::NamespaceDeclared { at, namespace, settings },
        )
        .await;
        let backend = StreamId::backend(&BackendName::from("sandbox"));
        self.control(store, backend, &BackendEvent::Paused { at, until: None, reason: None }).await;
        self.control(store, StreamId::system(), &SystemEvent::Unfrozen { at }).await;
    }

    async fn control(&mut self, store: &Store, stream: StreamId, event: &impl DomainEvent) {
        let expected = store.log.head_of(&stream).await.unwrap();
        let event = self.encode(event, &Envelope::default());
        let append = Append { stream, expected, events: vec![event], claims: Vec::new() };
        store.log.append(append).await.unwrap();
    }
}

/// The history as that of entity `number`, with its own name, identity and operations.
fn own(history: &[EntityEvent], number: u128) -> Vec<EntityEvent> {
    // Operations are numbered from 1 in each history; a store needs distinct ids.
    let named = |event: &EntityEvent| {
        let text = serde_json::to_string(event).unwrap();
        let text = text.replace("\"00000000-", &format!("\"{number:08x}-"));
        serde_json::from_str::<EntityEvent>(&text).unwrap()
    };
    let mut events: Vec<_> = history.iter().map(named).collect();
    for event in &mut events {
        if let EntityEvent::CreateRequested { entity_id, manifest, identity, .. } = event {
            *entity_id = EntityId(Uuid::from_u128(number));
            manifest.name = EntityName(format!("it-{number}"));
            // All histories use the same external ids, so each gets its own backend.
            manifest.backend = BackendName(format!("b-{number}"));
            *identity = identity.take().map(|path| format!("{path}-{number}"));
        }
    }
    events
}

/// Brings the read model up to date.
pub(crate) async fn project(store: &Store) {
    loop {
        let from = ReadModel::checkpoint(&*store.entities).await.unwrap();
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
