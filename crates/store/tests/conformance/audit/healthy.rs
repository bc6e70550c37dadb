//! Sound logs have no faults.

use stateward_domain::audit::FaultKind;
use stateward_domain::ports::audit::Auditor as _;

use super::fixture::{Fixture, histories, project, size};

#[tokio::test]
async fn random_lives_raise_no_alarm_while_open_closed_and_reopened() {
    for seed in 1..=12 {
        let drawn = histories(seed, 12, 60);
        let (entities, events) = size(&drawn);
        let mut fixture = Fixture::with(&drawn).await;
        let closed = fixture.verify(None).await;
        assert!(closed.ok, "seed {seed}: {:#?}", closed.faults);
        assert_eq!((closed.entities, closed.events), (entities, events + 6), "seed {seed}");
        assert_eq!(closed.streams, entities + 3);

        let store = fixture.open().await;
        fixture.append_histories(&store, &histories(seed + 100, 3, 60)).await;
        // A read model that lags behind its log is no fault.
        let behind = store.audit.verify(Some(&closed.checkpoint), &|_| ()).await.unwrap();
        assert!(behind.ok && behind.entities == entities, "seed {seed}: {:#?}", behind.faults);
        project(&store).await;
        let open = store.audit.verify(Some(&closed.checkpoint), &|_| ()).await.unwrap();
        assert!(open.ok && open.entities == entities + 3, "seed {seed}: {:#?}", open.faults);
        let taken = store.audit.checkpoint().await.unwrap();
        assert_eq!((taken.digest, taken.count), (open.checkpoint.digest, open.events));
        store.close().await;
    }
}

#[tokio::test]
async fn an_empty_log_is_sound_and_has_a_checkpoint() {
    let fixture = Fixture::new();
    fixture.open().await.close().await;
    let report = fixture.verify(None).await;
    assert!(report.ok && report.events == 0, "{report:#?}");
    assert!(fixture.verify(Some(&fixture.checkpoint().await)).await.ok);
}

#[tokio::test]
async fn progress_begins_at_nothing_and_ends_at_everything() {
    let fixture = Fixture::with(&histories(3, 8, 40)).await;
    let seen = std::sync::Mutex::new(Vec::new());
    let tell = |progress| seen.lock().unwrap().push(progress);
    fixture.auditor().await.verify(None, &tell).await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() >= 3 && seen[0].done == 0, "{seen:?}");
    assert!(seen.windows(2).all(|two| two[0].done <= two[1].done), "{seen:?}");
    assert!(seen.last().is_some_and(|last| last.done == last.total && last.total > 0));
}

#[tokio::test]
async fn a_read_model_and_claims_that_the_events_do_not_make_are_named() {
    let fixture = Fixture::with(&histories(5, 12, 40)).await;
    let views = fixture.path("views.db");
    let pristine = std::fs::read(&views).unwrap();
    for (statement, kind) in [
        ("UPDATE entities_v6000 SET state = 'gone' WHERE one(id)", "\"gone\""),
        (
            "UPDATE entities_v6000 SET data = json_set(data, '$.generation', 99) WHERE one(id)",
            "generation",
        ),
        ("DELETE FROM entities_v6000 WHERE one(id)", "is at version 0"),
        ("UPDATE entities_v6000 SET version = version + 1 WHERE one(id)", "events are missing"),
    ] {
        std::fs::write(&views, &pristine).unwrap();
        let first = "id = (SELECT min(id) FROM entities_v6000)";
        let statement = statement.replace("one(id)", first);
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&views);
        let mut connection =
            <sqlx::SqliteConnection as sqlx::Connection>::connect_with(&options).await.unwrap();
        let done = sqlx::query(sqlx::AssertSqlSafe(statement.clone()));
        assert_eq!(done.execute(&mut connection).await.unwrap().rows_affected(), 1);
        sqlx::Connection::close(connection).await.unwrap();
        let report = fixture.verify(None).await;
        assert_eq!(report.fault_count, 1, "{statement}: {:#?}", report.faults);
        let fault = &report.faults[0];
        assert_eq!(fault.fault, FaultKind::View, "{statement}");
        assert!(fault.detail.contains(kind) && fault.stream.is_some(), "{statement}: {fault}");
    }
    std::fs::write(&views, &pristine).unwrap();
    assert!(fixture.verify(None).await.ok);
    let mut known = 0;
    for statement in [
        "DELETE FROM claims WHERE key = (SELECT min(key) FROM claims WHERE key GLOB 'name/*')",
        "UPDATE claims SET key = key || 'x' WHERE key = (SELECT max(key) FROM claims)",
        "INSERT INTO claims SELECT 'identity/none', aggregate_type, aggregate_id, 1, '', 1 FROM claims LIMIT 1",
        "UPDATE claims SET value = 'x' WHERE key = (SELECT min(key) FROM claims WHERE key GLOB 'idem*')",
    ] {
        let mut connection = fixture.tamper().await;
        let done = sqlx::query(statement).execute(&mut connection).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{statement}");
        sqlx::Connection::close(connection).await.unwrap();
        let report = fixture.verify(None).await;
        let named = report.faults.iter().all(|fault| fault.stream.is_some());
        let kinds = report.faults.iter().all(|fault| fault.fault == FaultKind::Claim);
        assert!(named && kinds, "{statement}: {:#?}", report.faults);
        assert!(report.fault_count > known, "{statement}: {:#?}", report.faults);
        known = report.fault_count;
    }
}
