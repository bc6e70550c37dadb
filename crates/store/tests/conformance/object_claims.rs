//! A directory and an export of an older version, in which two entities each hold one file and one thing.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::audit::Auditor as _;
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::time::Timestamp;
use stateward_store::sqlite::{Auditor, Store, import};
use tempfile::TempDir;

use crate::support::{ManualClock, key};

const FOLDER: &str = include_str!("../../../../tests/fixtures/two-holders/events.sql");
const EXPORT: &str = include_str!("../../../../tests/fixtures/two-holders/export.jsonl");

/// The entities of the fixture; the first of each pair is the older one.
const FILES: [&str; 2] = ["mine", "theirs"];
const THINGS: [&str; 2] = ["first", "second"];

async fn connect(directory: &Path) -> SqliteConnection {
    let options =
        SqliteConnectOptions::new().filename(directory.join("events.db")).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// The directory as the older version left it.
async fn folder() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut connection = connect(directory.path()).await;
    sqlx::raw_sql(FOLDER).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    directory
}

/// Claims on objects: key and name of the entity that holds it.
async fn on_objects(directory: &Path) -> Vec<(String, String)> {
    let mut connection = connect(directory).await;
    let claims = "SELECT c.key, e.payload -> 'create_requested' ->> 'name' FROM claims c \
                  JOIN events e ON e.aggregate_id = c.aggregate_id AND e.sequence = 1 \
                  WHERE c.key GLOB 'external/*' OR c.key GLOB 'contender/*' ORDER BY 1";
    sqlx::query_as(claims).fetch_all(&mut connection).await.unwrap()
}

async fn id_of(directory: &Path, name: &str) -> String {
    let mut connection = connect(directory).await;
    let id = "SELECT aggregate_id FROM events \
              WHERE sequence = 1 AND payload -> 'create_requested' ->> 'name' = ?";
    sqlx::query_scalar(id).bind(name).fetch_one(&mut connection).await.unwrap()
}

/// The older entity of each pair holds the object, the other one is a contender; an observing entity has no claim.
async fn check(directory: &Path) {
    let (theirs, second) = (id_of(directory, FILES[1]).await, id_of(directory, THINGS[1]).await);
    let claim = |key: String, name: &str| (key, name.to_owned());
    let thing = "sandbox/fake.thing/thing-000000000001";
    let expected = [
        claim(format!("contender/local/local.file/shared.txt/{theirs}"), FILES[1]),
        claim(format!("contender/{thing}/{second}"), THINGS[1]),
        claim("external/local/local.file/shared.txt".to_owned(), FILES[0]),
        claim(format!("external/{thing}"), THINGS[0]),
    ];
    assert_eq!(on_objects(directory).await, expected);
}

async fn verify(directory: &Path) {
    let auditor = Auditor::offline(directory, ManualClock::new()).await.unwrap();
    let report = auditor.verify(None, &|_| ()).await.unwrap();
    auditor.close().await;
    assert!(report.ok, "{:#?}", report.faults);
}

#[tokio::test]
async fn a_folder_of_an_older_version_gets_its_claims_when_it_is_opened_and_only_then() {
    let folder = folder().await;
    verify(folder.path()).await;
    assert_eq!(on_objects(folder.path()).await, [], "nothing was changed by looking");
    let store = Store::open(folder.path(), ManualClock::new()).await.unwrap();
    let events = store.log.read_log(Position::START, 100).await.unwrap().events;
    assert_eq!(events.len(), 28, "none is added by opening");
    store.close().await;
    drop(store);
    check(folder.path()).await;
    verify(folder.path()).await;

    // Derived once only: a claim that is missing later is a fault, and stays one.
    let mut connection = connect(folder.path()).await;
    sqlx::raw_sql("DELETE FROM claims WHERE key GLOB 'external/*'")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    let store = Store::open(folder.path(), ManualClock::new()).await.unwrap();
    let report = store.audit.verify(None, &|_| ()).await.unwrap();
    // Each object is reported for both of its entities, and each contender because no entity holds the object.
    let of = |prefix: &str| {
        let keys = report.faults.iter().filter_map(|fault| fault.key.as_deref());
        keys.filter(|key| key.starts_with(prefix)).count()
    };
    assert_eq!((of("external/"), of("contender/")), (4, 2), "{:#?}", report.faults);
    assert_eq!(report.fault_count, 6);
    store.close().await;
}

#[tokio::test]
async fn an_export_of_an_older_version_gets_its_claims_when_it_is_imported() {
    let directory = tempfile::tempdir().unwrap();
    import(EXPORT.as_bytes(), directory.path(), Timestamp(77)).await.unwrap();
    check(directory.path()).await;
    verify(directory.path()).await;
    let store = Store::open(directory.path(), ManualClock::new()).await.unwrap();
    store.close().await;
    drop(store);
    check(directory.path()).await;
}

#[tokio::test]
async fn a_stream_that_cannot_be_folded_holds_what_it_held_and_opens() {
    let folder = folder().await;
    let mut connection = connect(folder.path()).await;
    // The first entity of the thing cannot be decoded behind its second event, at which it has no object yet.
    let damage = "UPDATE events SET payload = '{}' WHERE sequence = 3 AND aggregate_id = \
                  (SELECT aggregate_id FROM events WHERE sequence = 1 \
                   AND payload -> 'create_requested' ->> 'name' = 'first')";
    sqlx::raw_sql(damage).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let store = Store::open(folder.path(), ManualClock::new()).await.unwrap();
    let thing = key("external/sandbox/fake.thing/thing-000000000001");
    let holder = store.log.holder(&thing).await.unwrap().unwrap();
    assert_eq!(holder.stream.id, id_of(folder.path(), THINGS[1]).await);
    assert_eq!(holder.version, Version(1));
    store.close().await;
}
