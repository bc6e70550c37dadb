//! Servers that crash, restart or wait for a standby: nothing acknowledged is lost, nothing is written twice, and no
//! connection stays behind.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{Append, AppendError, Appended, EventStore};
use stateward_domain::ports::health::StoreHealth;
use stateward_domain::time::ManualClock;
use stateward_store::postgres::{Database, Health, Limits, Log, Target};

use super::{MISSING, ROLE, TestDatabase, test_database};
use crate::postgres_server::Server;
use crate::skip;
use crate::support::{append, key, stream, take};

/// A database of a server that the test may stop.
#[track_caller]
pub(super) fn own_server() -> Option<impl Future<Output = TestDatabase>> {
    let server = Server::private();
    if server.is_none() {
        skip::skipped(MISSING);
    }
    server.map(|server| TestDatabase::migrated(Box::leak(Box::new(server))))
}

/// Sends the same append until its outcome is known, as requests and process managers do.
async fn append_surely(log: &Log, sent: &Append) -> Appended {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        match log.append(sent.clone()).await {
            Ok(appended) => return appended,
            Err(error @ (AppendError::OutcomeUnknown | AppendError::Store(_))) => {
                assert!(tokio::time::Instant::now() < deadline, "{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn ids(log: &Log) -> Vec<u128> {
    log.head().await.unwrap();
    let page = log.read_log(Position::START, 1_000).await.unwrap();
    page.events.into_iter().map(|event| event.id.0.as_u128()).collect()
}

#[tokio::test]
async fn what_a_rollback_drew_before_a_crash_is_drawn_again_and_reaches_every_reader() {
    let Some(database) = own_server() else { return };
    let database = database.await;
    let logs = [database.log(ManualClock::new()).await, database.log(ManualClock::new()).await];
    let before = logs[0].append(append("a", 0, 1, 1, vec![])).await.unwrap();
    let mut owner = PgConnection::connect(&database.server.url(&database.name)).await.unwrap();
    let mut drawn = 0_i64;
    for _ in 0..80 {
        sqlx::query("BEGIN").execute(&mut owner).await.unwrap();
        let draw = sqlx::query_scalar("SELECT stateward.begin_block()");
        drawn = draw.fetch_one(&mut owner).await.unwrap();
        sqlx::query("ROLLBACK").execute(&mut owner).await.unwrap();
    }
    // Both have a horizon behind all that was drawn, and keep none of it.
    for log in &logs {
        assert_eq!(log.read_log(before.position, 10).await.unwrap().through, before.position);
    }
    database.server.control(&["stop", "-m", "immediate"]);
    database.server.control(&["start"]);
    let after = append_surely(&logs[0], &append("b", 0, 2, 1, vec![])).await;
    let again = i64::try_from(after.position.minor >> 10).unwrap();
    assert!(again <= drawn, "the number {again} was drawn before: {drawn}");
    for log in &logs {
        assert_eq!(ids(log).await, [1, 2]);
    }
}

#[tokio::test]
async fn an_append_whose_session_ends_is_unknown_and_is_written_once_by_a_repetition() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    for statement in [
        "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$",
        "CREATE TRIGGER wait BEFORE INSERT ON stateward.events FOR EACH ROW \
         EXECUTE FUNCTION public.wait()",
    ] {
        sqlx::query(statement).execute(&owner).await.unwrap();
    }
    let url = database.server.url(&database.name);
    let mut held = PgConnection::connect(&url).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(42)").execute(&mut held).await.unwrap();
    let log = database.log(ManualClock::new()).await;
    let sent = append("a", 0, 1, 2, vec![]);
    let end = async {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(end).fetch_one(&owner).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (unknown, ()) = tokio::join!(log.append(sent.clone()), end);
    assert_eq!(unknown, Err(AppendError::OutcomeUnknown));
    held.close().await.unwrap();
    assert_eq!(append_surely(&log, &sent).await.version, Version(2));
    assert_eq!(ids(&log).await, [1, 2]);
}

/// Makes commits wait for the standby of this name; empty = for none.
async fn set_standby(database: &TestDatabase, value: &str) {
    let mut owner = PgConnection::connect(&database.server.url("postgres")).await.unwrap();
    let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{value}'");
    sqlx::query(AssertSqlSafe(set)).execute(&mut owner).await.unwrap();
    sqlx::query("SELECT pg_reload_conf()").execute(&mut owner).await.unwrap();
}

/// Number of sessions whose commit waits for a standby.
async fn waiting(database: &TestDatabase) -> i64 {
    let mut owner = PgConnection::connect(&database.server.url("postgres")).await.unwrap();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    sqlx::query_scalar(waiting).fetch_one(&mut owner).await.unwrap()
}

#[tokio::test]
async fn what_is_found_instead_of_written_is_answered_once_the_standby_has_it() {
    let Some(database) = own_server() else { return };
    let database = database.await;
    let target: Target = database.server.url_of(ROLE, &database.name).parse().unwrap();
    let limits = Limits { statement: Duration::from_millis(500), ..Limits::default() };
    let connected = Database::connect(target, "test", limits).await.unwrap();
    let log = Log::open(connected, ManualClock::new()).await.unwrap();
    let claim = "idempotency/n/a/k";
    let first = append("a", 0, 1, 1, vec![take(claim), take("name/n/k/a")]);
    let done = log.append(first.clone()).await.unwrap();
    assert_eq!(log.append(first.clone()).await, Ok(done));
    let other = append("b", 0, 9, 1, vec![take(claim)]);

    set_standby(&database, "none").await;
    // The setting reaches the sessions a moment later.
    while log.head_of(&first.stream).await.is_ok() {}
    assert_eq!(log.append(first.clone()).await, Err(AppendError::OutcomeUnknown), "by ids");
    assert_eq!(log.append(other.clone()).await, Err(AppendError::OutcomeUnknown), "by key");
    assert!(log.holder(&key(claim)).await.is_err(), "by key, before an append");
    assert!(log.head_of(&first.stream).await.is_err(), "a decision without events");
    // Facts that no answer rests on need no barrier.
    assert_eq!(log.holder(&key("name/n/k/a")).await.unwrap().unwrap().stream, first.stream);
    assert_eq!(log.holder(&key("idempotency/n/a/other")).await, Ok(None));
    assert_eq!(log.read_stream(&first.stream, Version(0), 9).await.unwrap().len(), 1);
    assert_eq!(waiting(&database).await, 1, "one record for all that wait");

    set_standby(&database, "").await;
    assert_eq!(append_surely(&log, &first).await, done);
    assert_eq!(log.head_of(&first.stream).await, Ok(Version(1)));
    let taken = log.append(other).await;
    assert!(matches!(taken, Err(AppendError::ClaimTaken { .. })), "{taken:?}");
}

#[tokio::test]
async fn an_append_that_waits_for_its_standby_is_neither_visible_nor_passed_and_keeps_one_connection()
 {
    let Some(database) = own_server() else { return };
    let database = database.await;
    let set_standby = async |value: &str| set_standby(&database, value).await;
    let waiting = async || waiting(&database).await;
    let target: Target = database.server.url_of(ROLE, &database.name).parse().unwrap();
    let limits = Limits { statement: Duration::from_millis(700), ..Limits::default() };
    let connected = Database::connect(target, "test", limits).await.unwrap();
    let log = Log::open(connected, ManualClock::new()).await.unwrap();
    let first = log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    set_standby("none").await;
    // The setting reaches the sessions a moment later.
    let mut sent = Vec::new();
    for number in 1..20_u64 {
        let one = append("a", number, 1 + u128::from(number), 1, vec![]);
        let outcome = log.append(one.clone()).await;
        sent.push(one);
        if outcome == Err(AppendError::OutcomeUnknown) {
            break;
        }
        outcome.unwrap();
    }
    let late = sent.last().unwrap().clone();
    let before = log.head().await.unwrap();
    assert!(before >= first.position);
    let read = log.read_stream(&stream("a"), Version(0), 100).await.unwrap();
    assert_eq!(read.last().unwrap().version, late.expected, "not visible");
    let refused = log.append(append("b", 0, 500, 1, vec![])).await;
    assert_eq!(refused, Err(AppendError::OutcomeUnknown));
    for _ in 0..8 {
        // All that may wait do; more are refused at once, and none is cancelled.
        let again = log.append(append("c", 0, 600, 1, vec![])).await;
        assert!(
            matches!(again, Err(AppendError::OutcomeUnknown | AppendError::Store(_))),
            "{again:?}"
        );
    }
    assert_eq!(waiting().await, 3, "of a, b and c; the repetitions of c wait for its lock");
    assert_eq!(log.read_log(before, 10).await.unwrap().through, before, "nothing was passed");
    set_standby("").await;
    for one in &sent {
        assert_eq!(append_surely(&log, one).await.version.0, one.expected.0 + 1);
    }
    append_surely(&log, &append("b", 0, 500, 1, vec![])).await;
    append_surely(&log, &append("c", 0, 600, 1, vec![])).await;
    let mut found = ids(&log).await;
    found.sort_unstable();
    let mut expected: Vec<u128> = vec![1];
    expected.extend(sent.iter().map(|one| one.events[0].id.0.as_u128()));
    expected.extend([500, 600]);
    assert_eq!(found, expected, "each once");
    assert_eq!(waiting().await, 0);
}

#[tokio::test]
async fn a_server_that_restarts_is_found_again_and_one_that_is_gone_is_reported_in_time() {
    let Some(database) = own_server() else { return };
    let database = database.await;
    let target: Target = database.server.url_of(ROLE, &database.name).parse().unwrap();
    let limits = Limits { acquire: Duration::from_secs(1), ..Limits::default() };
    let connected = Database::connect(target, "test", limits).await.unwrap();
    let log = Log::open(connected.clone(), ManualClock::new()).await.unwrap();
    log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    database.server.control(&["stop", "-m", "fast"]);
    let began = std::time::Instant::now();
    let refused = log.append(append("a", 1, 2, 1, vec![])).await;
    assert!(
        matches!(refused, Err(AppendError::Store(_) | AppendError::OutcomeUnknown)),
        "{refused:?}"
    );
    assert!(log.head().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(connected.fault().is_some());
    let health = Health::new(connected.clone());
    let failed = health.health().await;
    assert!(failed.iter().any(|check| check.name == "store/database" && !check.ok), "{failed:?}");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    database.server.control(&["start"]);
    append_surely(&log, &append("a", 1, 2, 1, vec![])).await;
    assert_eq!(ids(&log).await, [1, 2]);
    assert_eq!(connected.fault(), None);

    // An append of another program that was prepared and left: readers wait before it, and it is named.
    let mut other = PgConnection::connect(&database.server.url(&database.name)).await.unwrap();
    for statement in [
        "BEGIN",
        "INSERT INTO stateward.events (aggregate_type, aggregate_id, sequence, event_type, event_version, \
         payload, metadata) VALUES ('entity', 'left', 1, 'Foreign', '1', '{}', '{}')",
        "PREPARE TRANSACTION 'left'",
    ] {
        sqlx::raw_sql(statement).execute(&mut other).await.unwrap();
    }
    let checks = health.health().await;
    let held = checks.iter().find(|check| check.name == "store/log-held-back").unwrap();
    let detail = held.detail.as_deref().unwrap();
    assert!(!held.ok && !held.serious && detail.contains("prepared transaction"), "{held:?}");
    assert!(checks.iter().any(|check| check.name == "store/database" && check.ok), "{checks:?}");
    assert!(checks.iter().any(|check| check.name == "store/fsync" && !check.ok), "of this server");
}

#[tokio::test]
async fn an_append_of_another_program_that_stays_open_is_measured_and_named_with_its_process() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let connected = database.connect().await;
    let log = Log::open(connected.clone(), ManualClock::new()).await.unwrap();
    let health = Health::new(connected);
    let before = log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    let mut other = PgConnection::connect(&database.server.url(&database.name)).await.unwrap();
    let begin = "BEGIN; INSERT INTO stateward.events (aggregate_type, aggregate_id, sequence, event_type, \
         event_version, payload, metadata) VALUES ('entity', 'left', 1, 'Foreign', '1', '{}', '{}')";
    sqlx::raw_sql(begin).execute(&mut other).await.unwrap();
    let pid: i32 =
        sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut other).await.unwrap();
    log.append(append("b", 0, 2, 1, vec![])).await.unwrap();
    let detail = loop {
        let checks = health.health().await;
        let held = checks.into_iter().find(|check| check.name == "store/log-held-back").unwrap();
        if let Some(detail) = held.detail {
            break detail;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(detail.contains(&format!("process {pid}")) && detail.contains(" s"), "{detail}");
    assert!(health.log_held_back() >= Duration::from_secs(3), "{:?}", health.log_held_back());
    assert_eq!(log.read_log(before.position, 9).await.unwrap().events, [], "nothing is passed");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(log.read_log(before.position, 9).await.unwrap().events.len(), 1);
    while !health.log_held_back().is_zero() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        health.health().await.iter().all(|check| check.name != "store/log-held-back" || check.ok)
    );
}
