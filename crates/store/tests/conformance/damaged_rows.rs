//! A stored value that this system did not write is named with table, column and row: it never reads as an empty, a
//! zero or a default one, and a retry is never advised.

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use stateward_domain::id::{BackendName, EntityId, Position, Version};
use stateward_domain::ports::event_store::{EventStore, ReadError};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::{EntityFilter, Views};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::ports::sync_queue::{LeaseRequest, QueueError, SyncQueue};
use stateward_store::sqlite::Store;

use crate::audit::fixture::{Fixture, enqueue, histories, project};

const LOG: &str = "events.db";
const VIEWS: &str = "views.db";

/// A call that reads the damaged value.
#[derive(Clone, Copy, Debug)]
enum Call {
    ReadLog,
    QueueRow,
    Lease,
    Quarantined,
    Counts,
    List,
    Entity,
}

impl Call {
    async fn error(self, store: &Store, id: EntityId) -> Option<StoreError> {
        let log = |error| match error {
            ReadError::Store(error) => Some(error),
            _ => None,
        };
        let queue = |error| match error {
            QueueError::Store(error) => Some(error),
            _ => None,
        };
        let model = |error| match error {
            ModelError::Store(error) => Some(error),
            _ => None,
        };
        match self {
            Self::ReadLog => log(store.log.read_log(Position::START, 500).await.err()?),
            Self::QueueRow => queue(store.queue.row(id).await.err()?),
            Self::Lease => {
                let request = LeaseRequest {
                    worker: "w".to_owned(),
                    backend: BackendName::from("b"),
                    limit: 100,
                    duration: std::time::Duration::from_secs(30),
                    checks: 100,
                    within: None,
                    takeover: true,
                };
                queue(store.queue.lease(&request).await.err()?)
            }
            Self::Quarantined => queue(store.queue.quarantined().await.err()?),
            Self::Counts => model(store.entities.counts().await.err()?),
            Self::List => {
                let filter = EntityFilter::default();
                model(store.entities.entities(&filter, 100, None).await.err()?)
            }
            Self::Entity => model(store.entities.entity(id).await.err()?),
        }
    }
}

async fn execute(fixture: &Fixture, file: &str, statement: &str) {
    let options = SqliteConnectOptions::new().filename(fixture.path(file));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    let statement = format!("PRAGMA ignore_check_constraints = ON; {statement}");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// File, damage, and the call that meets it at this table and column.
const CASES: &[(&str, &str, Call, (&str, &str))] = &[
    (
        LOG,
        "UPDATE events SET sequence = -1 WHERE position = 3",
        Call::ReadLog,
        ("events", "sequence"),
    ),
    (LOG, "UPDATE events SET hash = x'00' WHERE position = 3", Call::ReadLog, ("events", "hash")),
    (
        LOG,
        "UPDATE events SET event_id = 'x' WHERE position = 3",
        Call::ReadLog,
        ("events", "event_id"),
    ),
    (VIEWS, "UPDATE sync_queue SET priority = 7", Call::QueueRow, ("sync_queue", "priority")),
    (VIEWS, "UPDATE sync_queue SET position = 'x'", Call::QueueRow, ("sync_queue", "position")),
    (VIEWS, "UPDATE sync_queue SET waits_for = 'x'", Call::QueueRow, ("sync_queue", "waits_for")),
    (
        VIEWS,
        "INSERT INTO sync_observed SELECT entity, -1 FROM sync_queue; \
         UPDATE sync_queue SET backend = 'b', priority = 0, lease_after = 0",
        Call::Lease,
        ("sync_observed", "confirmation"),
    ),
    (
        VIEWS,
        "INSERT INTO quarantine VALUES ('sync_queue', 'entity/x', 'x', '')",
        Call::Quarantined,
        ("quarantine", "position"),
    ),
    (VIEWS, "UPDATE counts_v6000 SET state = 'x'", Call::Counts, ("counts", "state")),
    (VIEWS, "UPDATE entities_v6000 SET version = -1", Call::List, ("entities", "version")),
    (VIEWS, "UPDATE entities_v6000 SET data = '{}'", Call::List, ("entities", "data")),
    (VIEWS, "UPDATE entities_v6000 SET data = '{}'", Call::Entity, ("entities", "data")),
];

/// A store with entities, closed, and the id of one with a row in the queue.
async fn filled() -> (Fixture, EntityId) {
    let mut fixture = Fixture::new();
    let store = fixture.open().await;
    fixture.append_histories(&store, &histories(3, 4, 8)).await;
    project(&store).await;
    enqueue(&store).await;
    let listed = store.entities.entities(&EntityFilter::default(), 100, None).await.unwrap();
    let mut queued = None;
    for row in &listed.items {
        queued = queued.or(store.queue.row(row.entity.id).await.unwrap());
    }
    store.close().await;
    (fixture, queued.unwrap().entity)
}

#[tokio::test]
async fn a_value_that_nothing_wrote_is_named_and_never_replaced() {
    for (file, damage, call, place) in CASES {
        let (fixture, id) = filled().await;
        let store = fixture.open().await;
        execute(&fixture, file, damage).await;
        let found = call.error(&store, id).await;
        let Some(StoreError::Inconsistent { table, column, .. }) = &found else {
            panic!("{damage}: {call:?} {found:?}");
        };
        assert_eq!((table.as_str(), column.as_str()), *place, "{damage}: {found:?}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_head_that_cannot_be_read_refuses_the_append() {
    let mut fixture = Fixture::new();
    let store = fixture.open().await;
    fixture.append_histories(&store, &histories(3, 1, 4)).await;
    let last = store.log.read_log(Position::START, 500).await.unwrap().events.pop().unwrap();
    store.close().await;
    drop(store);
    let store = fixture.open().await;
    execute(&fixture, LOG, "UPDATE events SET hash = x'00'").await;
    let mut append = crate::support::append("", last.version.0, 1 << 70, 1, vec![]);
    append.stream = last.stream.clone();
    let refused = store.log.append(append).await.unwrap_err();
    assert!(refused.to_string().contains("events.hash"), "{refused}");
    assert_eq!(store.log.head_of(&last.stream).await, Ok(last.version));
    assert_ne!(last.version, Version(0));
    store.close().await;
}
