//! Audits of a log that several processes and other programs write, and imports.

use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use stateward_domain::audit::{FaultKind, Report};
use stateward_domain::cloud_event;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::audit::Auditor as _;
use stateward_domain::ports::event_store::{AppendError, EventStore};
use stateward_domain::time::{Clock, ManualClock};
use stateward_store::postgres::{Auditor, ImportError, import};

use super::{TestDatabase, test_database};
use crate::histories::{HistoryWriter, histories};
use crate::support::{Subject, append};

async fn run(owner: &PgPool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(owner).await.unwrap();
}

async fn verified(store: &Subject) -> Report {
    store.auditor.verify(None, &|_| ()).await.unwrap()
}

/// A node with random histories, and its read model up to date.
async fn lived(database: &TestDatabase) -> Subject {
    let store = Subject::node(database, ManualClock::new()).await;
    let mut writer = HistoryWriter::new(store.clock.clone());
    writer.append_control_events(&*store.log).await;
    writer.append_histories(&*store.log, &histories(4, 6, 30)).await;
    loop {
        let from = store.model.checkpoint().await.unwrap();
        let page = store.log.read_log(from, 500).await.unwrap();
        if page.events.is_empty() {
            return store;
        }
        store.model.apply(from, page.through, &page.events).await.unwrap();
    }
}

const FOREIGN: &str = "INSERT INTO stateward.events (aggregate_type, aggregate_id, sequence, event_type, event_version, \
     payload, metadata) SELECT aggregate_type, aggregate_id, sequence + 1, 'theirs', '1.0', '{}', '{}' \
     FROM stateward.events WHERE aggregate_id = 'a' ORDER BY sequence DESC LIMIT 1";

#[tokio::test]
async fn a_foreign_insert_is_unsealed_in_an_audit_and_the_next_append_to_its_stream_conflicts() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let store = Subject::node(&database, ManualClock::new()).await;
    store.log.append(append("a", 0, 1, 2, vec![])).await.unwrap();
    run(&database.owner().await, FOREIGN).await;
    let unsealed = |report: &Report| {
        let mut faults = report.faults.iter();
        let fault = faults.find(|fault| fault.detail.contains("unsealed")).cloned();
        fault.map(|fault| (fault.fault, fault.stream.unwrap(), fault.version.unwrap()))
    };
    let expected = Some((FaultKind::Unreadable, "entity/a".to_owned(), Version(3)));
    assert_eq!(unsealed(&verified(&store).await), expected);
    let next = store.log.append(append("a", 2, 3, 1, vec![])).await;
    assert_eq!(next, Err(AppendError::Conflict { actual: Version(3) }));
    store.log.append(append("a", 3, 3, 1, vec![])).await.unwrap();
    assert_eq!(unsealed(&verified(&store).await), expected);
}

#[tokio::test]
async fn labels_and_counts_that_the_events_do_not_make_are_named() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let store = lived(&database).await;
    let healthy = verified(&store).await;
    assert!(healthy.faults.iter().all(|fault| fault.table.is_none()), "{:#?}", healthy.faults);
    let owner = database.owner().await;
    let tables: i64 = sqlx::query_scalar(
        "SELECT tables FROM stateward_views.checkpoints WHERE name = 'entities'",
    )
    .fetch_one(&owner)
    .await
    .unwrap();
    for (statement, table) in [
        ("UPDATE stateward_views.counts_v{n} SET number = number + 1", "counts"),
        (
            "INSERT INTO stateward_views.labels_v{n} SELECT '', 'no', '=such', id \
             FROM stateward_views.entities_v{n} LIMIT 1",
            "labels",
        ),
    ] {
        run(&owner, &statement.replace("{n}", &tables.to_string())).await;
        let faults = verified(&store).await.faults;
        let found = faults.iter().any(|fault| fault.table.as_deref() == Some(table));
        assert!(found, "{table}: {faults:#?}");
    }
}

#[tokio::test]
async fn heads_of_streams_that_the_events_do_not_make_are_named() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let store = Subject::node(&database, ManualClock::new()).await;
    for name in ["a", "b", "c"] {
        store
            .log
            .append(append(name, 0, u128::from(name.as_bytes()[0]) * 10, 2, vec![]))
            .await
            .unwrap();
    }
    let owner = database.owner().await;
    let heads = async || {
        let faults = verified(&store).await.faults;
        let heads = faults.into_iter().filter(|fault| fault.table.as_deref() == Some("streams"));
        heads.map(|fault| (fault.stream.unwrap(), fault.column)).collect::<Vec<_>>()
    };
    assert_eq!(heads().await, []);
    for (damage, repair, stream, column) in [
        ("version = version + 1", "version = version - 1", "entity/b", Some("version")),
        ("version = version - 1", "version = version + 1", "entity/b", Some("version")),
        (
            "hash = sha256(hash)",
            "hash = (SELECT hash FROM stateward.events WHERE aggregate_id = 'b' AND sequence = 2)",
            "entity/b",
            Some("hash"),
        ),
        (
            "recorded_at = recorded_at + 1",
            "recorded_at = recorded_at - 1",
            "entity/b",
            Some("recorded_at"),
        ),
    ] {
        let update =
            |what: &str| format!("UPDATE stateward.streams SET {what} WHERE aggregate_id = 'b'");
        run(&owner, &update(damage)).await;
        assert_eq!(heads().await, [(stream.to_owned(), column.map(str::to_owned))], "{damage}");
        run(&owner, &update(repair)).await;
        assert_eq!(heads().await, [], "{repair}");
    }
    run(&owner, "DELETE FROM stateward.streams WHERE aggregate_id = 'c'").await;
    run(&owner, "INSERT INTO stateward.streams VALUES ('entity', 'z', 1, 0, '', 0)").await;
    let expected = [("entity/c".to_owned(), None), ("entity/z".to_owned(), None)];
    assert_eq!(heads().await, expected);
}

#[tokio::test]
async fn an_append_in_flight_is_no_gap_of_an_audit() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let store = lived(&database).await;
    let before = verified(&store).await;
    assert!(before.ok, "{:#?}", before.faults);
    let mut open = database.owner().await.begin().await.unwrap();
    sqlx::raw_sql("SELECT stateward.begin_block()").execute(&mut *open).await.unwrap();
    let mut writer = HistoryWriter::new(store.clock.clone());
    writer.append_control_events(&*store.log).await;
    let during = store.auditor.verify(Some(&before.checkpoint), &|_| ()).await.unwrap();
    assert!(during.ok && during.events == before.events, "{:#?}", during.faults);
    let taken = store.auditor.checkpoint().await.unwrap();
    assert_eq!(taken.digest, before.checkpoint.digest);
    open.rollback().await.unwrap();
    let after = store.auditor.verify(Some(&before.checkpoint), &|_| ()).await.unwrap();
    assert!(after.ok && after.events > before.events, "{:#?}", after.faults);
}

async fn exported(auditor: &dyn stateward_domain::ports::audit::Auditor, head: Position) -> String {
    let (mut at, mut text) = (Position::START, String::new());
    loop {
        let page = auditor.chained_events(at, head, 70).await.unwrap();
        let Some(last) = page.last() else { return text };
        at = last.event.position;
        for chained in &page {
            text += &cloud_event::render(chained, auditor.log_id(), false);
            text.push('\n');
        }
    }
}

#[tokio::test]
async fn an_import_goes_into_an_empty_log_only_and_begins_under_the_hold() {
    let (Some(database), Some(target)) = (test_database(), test_database()) else { return };
    let (database, target) = (database.await, target.await);
    let store = lived(&database).await;
    let text = exported(&*store.auditor, store.log.head().await.unwrap()).await;
    let now = store.clock.now();

    // An unsound export changes nothing.
    let connections = target.connect().await;
    let first = text.lines().position(|line| line.contains("\"subject\":\"entity/")).unwrap();
    let rest = text.lines().enumerate().filter(|(place, _)| *place != first);
    let cut: String = rest.map(|(_, line)| format!("{line}\n")).collect();
    let refused = import(cut.as_bytes(), &connections, now).await;
    assert!(matches!(refused, Err(ImportError::Line { .. })), "{refused:?}");
    let empty = import(&b""[..], &connections, now).await;
    assert!(matches!(empty, Err(ImportError::Empty)), "{empty:?}");

    let checkpoint = import(text.as_bytes(), &connections, now).await.unwrap();
    let before = store.auditor.checkpoint().await.unwrap();
    assert_eq!((checkpoint.count, checkpoint.digest), (before.count, before.digest));
    let again = import(text.as_bytes(), &connections, now).await;
    assert!(matches!(again, Err(ImportError::Occupied(_))), "{again:?}");

    let log = target.log(ManualClock::new()).await;
    assert!(log.identity().put_back, "it begins under the hold");
    assert_eq!(log.identity().log_id, store.auditor.log_id());
    let copy = Auditor::new(target.connect().await, log.identity(), store.clock.clone());
    let report = copy.verify(Some(&before), &|_| ()).await.unwrap();
    // The read model of the copy follows later.
    let faults: Vec<_> = report.faults.iter().filter(|fault| fault.table.is_none()).collect();
    assert!(faults.is_empty() && report.events == before.count, "{faults:#?}");
    let head = log.head().await.unwrap();
    let epochs = |line: &str| cloud_event::parse(line).unwrap().chained;
    for (one, other) in text.lines().zip(exported(&copy, head).await.lines()) {
        let (one, other) = (epochs(one), epochs(other));
        assert_eq!(one.previous, other.previous);
        assert_eq!(
            stateward_domain::envelope::Recorded { position: other.event.position, ..one.event },
            other.event
        );
    }
}

#[tokio::test]
async fn a_log_that_a_process_serves_takes_no_import() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    run(
        &owner,
        "INSERT INTO stateward_views.members (id, name, role, version, knows, seen, backends, until) \
         VALUES (gen_random_uuid(), 'n1', 'all', '1', 1, '', '{}', 9000000000000000000)",
    )
    .await;
    let served =
        import(&b"x\n"[..], &database.connect().await, Arc::new(ManualClock::new()).now()).await;
    assert!(matches!(served, Err(ImportError::Served { .. })), "{served:?}");
}
