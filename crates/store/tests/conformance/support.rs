//! Subjects, a manual clock, and short ways to make appends.

use std::sync::Arc;

use sqlx::postgres::PgPool;
use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::{NewEvent, StreamId};
use stateward_domain::id::{EventId, Version};
use stateward_domain::ports::audit::Auditor;
use stateward_domain::ports::cluster::Cluster;
use stateward_domain::ports::event_store::{Append, EventStore};
use stateward_domain::ports::read_model::{ReadModel, Views};
use stateward_domain::ports::sync_queue::SyncQueue;
use stateward_domain::time::LogClock;
use stateward_store::postgres::LeaseClock;
use stateward_store::single_node::SingleNode;
use stateward_store::{memory, postgres, sqlite};
use tempfile::TempDir;
use uuid::Uuid;

use crate::postgres::TestDatabase;

pub(crate) use stateward_domain::time::ManualClock;

/// A store of one adapter, with its clock.
pub(crate) struct Subject {
    pub name: &'static str,
    pub log: Arc<dyn EventStore>,
    pub queue: Arc<dyn SyncQueue>,
    pub leases: Leases,
    pub model: Arc<dyn ReadModel>,
    pub views: Arc<dyn Views>,
    pub auditor: Arc<dyn Auditor>,
    pub cluster: Arc<dyn Cluster>,
    pub clock: Arc<ManualClock>,
    pub log_clock: LogClock,
    /// Its directory is deleted with it.
    pub files: Option<(TempDir, sqlite::Store)>,
}

/// Ends leases as a start of the process does.
pub(crate) enum Leases {
    Memory(Arc<memory::MemoryQueue>),
    Sqlite(Arc<sqlite::Queue>),
    /// Connections of the schema's owner: no process may end the leases of others.
    Postgres(PgPool),
}

impl Leases {
    pub(crate) async fn end(&self) {
        match self {
            Self::Memory(queue) => queue.release_all(),
            Self::Sqlite(queue) => queue.release_all().await.unwrap(),
            Self::Postgres(owner) => {
                let ended =
                    "UPDATE stateward_views.sync_leases SET worker = NULL, until = 0, snooze = 0";
                sqlx::query(ended).execute(owner).await.unwrap();
            }
        }
    }
}

impl Subject {
    fn in_memory() -> Self {
        let clock = ManualClock::new();
        let log_clock = LogClock::from(clock.clone());
        let store = memory::Store::new(log_clock.clone());
        Self {
            name: "memory",
            log: store.log,
            leases: Leases::Memory(store.queue.clone()),
            queue: store.queue,
            model: store.entities.clone(),
            views: store.entities,
            auditor: store.audit,
            cluster: Arc::new(SingleNode::default()),
            clock,
            log_clock,
            files: None,
        }
    }

    /// The files in `directory`, opened.
    pub(crate) async fn on_disk(directory: TempDir, clock: Arc<ManualClock>) -> Self {
        let log_clock = LogClock::from(clock.clone());
        let store = sqlite::Store::open(directory.path(), log_clock.clone()).await.unwrap();
        Self {
            name: "sqlite",
            log: store.log.clone(),
            queue: store.queue.clone(),
            leases: Leases::Sqlite(store.queue.clone()),
            model: store.entities.clone(),
            views: store.entities.clone(),
            auditor: store.audit.clone(),
            cluster: Arc::new(SingleNode::default()),
            clock,
            log_clock,
            files: Some((directory, store)),
        }
    }

    /// A node of `database`, whose leases follow `clock` too.
    pub(crate) async fn node(database: &TestDatabase, clock: Arc<ManualClock>) -> Self {
        let log_clock = LogClock::from(clock.clone());
        let connections = database.connect().await;
        let log = postgres::Log::open(connections.clone(), log_clock.clone()).await.unwrap();
        let leases = LeaseClock::Given(log_clock.clone());
        let members = postgres::Members::new(connections.clone(), leases.clone());
        let queue = postgres::Queue::new(connections.clone(), log_clock.clone(), leases);
        let entities = Arc::new(postgres::Entities::open(connections.clone()).await.unwrap());
        let auditor = postgres::Auditor::new(connections, log.identity(), clock.clone());
        Self {
            name: "postgres",
            log: Arc::new(log),
            queue: Arc::new(queue),
            leases: Leases::Postgres(database.owner().await),
            model: entities.clone(),
            views: entities,
            auditor: Arc::new(auditor),
            cluster: Arc::new(members),
            clock,
            log_clock,
            files: None,
        }
    }
}

/// A log of one adapter, with its clock.
pub(crate) struct LogSubject {
    pub name: &'static str,
    pub log: Arc<dyn EventStore>,
    pub clock: Arc<ManualClock>,
    /// Whether an event id that another stream has is refused. PostgreSQL has no index on event ids: a repeated append is
    /// recognised at the version that it would have.
    pub ids_are_unique: bool,
    /// The embedded store, closed with its subject.
    _store: Option<Subject>,
}

/// One empty log of each adapter. The test is recorded as skipped in part where PostgreSQL is missing.
#[track_caller]
pub(crate) fn log_subjects() -> impl Future<Output = Vec<LogSubject>> {
    let postgres = crate::postgres::test_database();
    async {
        let mut logs: Vec<LogSubject> =
            embedded_subjects().await.into_iter().map(LogSubject::of).collect();
        if let Some(database) = postgres {
            let clock = ManualClock::new();
            let log = database.await.log(clock.clone()).await;
            logs.push(LogSubject {
                name: "postgres",
                log: Arc::new(log),
                clock,
                ids_are_unique: false,
                _store: None,
            });
        }
        logs
    }
}

impl LogSubject {
    fn of(subject: Subject) -> Self {
        let (log, clock) = (subject.log.clone(), subject.clock.clone());
        Self { name: subject.name, log, clock, ids_are_unique: true, _store: Some(subject) }
    }
}

/// One empty store of each adapter. The test is recorded as skipped in part where PostgreSQL is missing.
#[track_caller]
pub(crate) fn subjects() -> impl Future<Output = Vec<Subject>> {
    let postgres = crate::postgres::test_database();
    Box::pin(async {
        let mut all = embedded_subjects().await;
        if let Some(database) = postgres {
            all.push(Subject::node(&database.await, ManualClock::new()).await);
        }
        all
    })
}

/// Queue and read model of a second process that uses a subject's store; of the embedded adapters, a second user in the
/// same process.
pub(crate) struct SecondHandle {
    pub queue: Arc<dyn SyncQueue>,
    pub model: Arc<dyn ReadModel>,
}

/// One empty store of each adapter, with a second handle. The test is recorded as skipped in part where PostgreSQL is
/// missing.
#[track_caller]
pub(crate) fn shared_subjects() -> impl Future<Output = Vec<(Subject, SecondHandle)>> {
    let postgres = crate::postgres::test_database();
    Box::pin(async {
        let mut all: Vec<_> = embedded_subjects().await.into_iter().map(with_second).collect();
        if let Some(database) = postgres {
            let (database, clock) = (database.await, ManualClock::new());
            let one = Subject::node(&database, clock.clone()).await;
            let Subject { queue, model, .. } = Subject::node(&database, clock).await;
            all.push((one, SecondHandle { queue, model }));
        }
        all
    })
}

fn with_second(subject: Subject) -> (Subject, SecondHandle) {
    let (queue, model) = (subject.queue.clone(), subject.model.clone());
    (subject, SecondHandle { queue, model })
}

/// One empty store of each adapter that needs no server.
pub(crate) async fn embedded_subjects() -> Vec<Subject> {
    let directory = tempfile::tempdir().unwrap();
    vec![Subject::in_memory(), Subject::on_disk(directory, ManualClock::new()).await]
}

pub(crate) fn stream(id: &str) -> StreamId {
    StreamId { category: "entity".to_owned(), id: id.to_owned() }
}

pub(crate) fn key(text: &str) -> ClaimKey {
    ClaimKey(text.to_owned())
}

pub(crate) fn take(text: &str) -> Claim {
    Claim::Take { key: key(text), value: String::new(), event: 0 }
}

pub(crate) fn share(text: &str) -> Claim {
    Claim::Share { key: key(text) }
}

pub(crate) fn event(id: u128, note: &str) -> NewEvent {
    NewEvent {
        id: EventId(Uuid::from_u128(id)),
        event_type: "entity.paused".to_owned(),
        schema_version: 1,
        payload: format!("{{\"paused\":{{\"note\":\"{note}\"}}}}").into(),
        metadata: "{\"actor_id\":\"é\"}".into(),
    }
}

/// An append of `count` events with ids from `first` on.
pub(crate) fn append(
    id: &str,
    expected: u64,
    first: u128,
    count: u128,
    claims: Vec<Claim>,
) -> Append {
    Append {
        stream: stream(id),
        expected: Version(expected),
        events: (first..first + count).map(|number| event(number, &number.to_string())).collect(),
        claims,
    }
}
