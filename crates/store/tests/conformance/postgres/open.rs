//! Errors of opening a log: one clear line, and nothing changed.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use stateward_domain::id::Position;
use stateward_domain::ports::event_store::{AppendError, EventStore, ReadError};
use stateward_domain::time::ManualClock;
use stateward_store::postgres::{Database, Limits, Log, OpenError, Target, migrate};

use super::outages::own_server;
use super::{ROLE, TestDatabase, test_database};
use crate::postgres_server::Server;
use crate::support::append;

async fn refused(database: &TestDatabase) -> OpenError {
    let opened = Log::open(database.connect().await, ManualClock::new()).await;
    let Err(error) = opened else { panic!("opened") };
    let line = error.to_string();
    assert!(!line.contains('\n') && line.contains(&database.name), "{line}");
    error
}

async fn run(owner: &PgPool, statement: &str) {
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(owner).await.unwrap();
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_is_named_and_left_as_it_is() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    let open = async || Log::open(database.connect().await, ManualClock::new()).await;
    let log = open().await.unwrap();
    let first = log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    log.close().await;
    for (damage, repair, named) in [
        (
            "REVOKE INSERT ON stateward.events FROM stateward",
            "GRANT INSERT ON stateward.events TO stateward",
            "INSERT ON stateward.events",
        ),
        (
            "REVOKE USAGE ON SEQUENCE stateward.blocks FROM stateward",
            "GRANT USAGE ON SEQUENCE stateward.blocks TO stateward",
            "SEQUENCE stateward.blocks",
        ),
        (
            "REVOKE USAGE ON SCHEMA stateward FROM stateward",
            "GRANT USAGE ON SCHEMA stateward TO stateward",
            "USAGE ON SCHEMA stateward",
        ),
        (
            "SELECT setval('stateward.blocks', 1)",
            "SELECT setval('stateward.blocks', 1000)",
            "behind the log",
        ),
        (
            "ALTER SEQUENCE stateward.blocks CACHE 20",
            "ALTER SEQUENCE stateward.blocks CACHE 1",
            "CACHE 1",
        ),
        (
            "UPDATE stateward.log SET fenced = true",
            "UPDATE stateward.log SET fenced = false",
            "fenced",
        ),
        (
            "ALTER TABLE stateward.migrations RENAME TO moved",
            "ALTER TABLE stateward.moved RENAME TO migrations",
            "another program's",
        ),
    ] {
        run(&owner, damage).await;
        let line = refused(&database).await.to_string();
        assert!(line.contains(named), "{damage}: {line}");
        run(&owner, repair).await;
    }
    let log = open().await.unwrap();
    assert_eq!(log.head().await, Ok(first.position));
    log.append(append("a", 1, 2, 1, vec![])).await.unwrap();
}

#[tokio::test]
async fn a_database_is_migrated_by_its_owner_alone_and_once() {
    let Some(server) = Server::shared() else { return crate::skip::skipped(super::MISSING) };
    let database = TestDatabase::empty(server).await;
    assert!(matches!(refused(&database).await, OpenError::NotMigrated(_)));
    let role: Target = server.url_of(ROLE, &database.name).parse().unwrap();
    assert!(matches!(migrate(&role, None).await, Err(OpenError::Database { .. })), "no right to");
    assert!(matches!(refused(&database).await, OpenError::NotMigrated(_)), "nothing was made");

    let owner: Target = server.url(&database.name).parse().unwrap();
    let (one, two) = tokio::join!(migrate(&owner, Some(ROLE)), migrate(&owner, Some(ROLE)));
    assert!(one.is_ok() && one == two, "{one:?} {two:?}");
    let first = database.log(ManualClock::new()).await.identity().clone();
    migrate(&owner, None).await.unwrap();
    assert_eq!(database.log(ManualClock::new()).await.identity().clone(), first);

    let foreign = TestDatabase::empty(server).await;
    let pool = foreign.owner().await;
    run(&pool, "CREATE SCHEMA stateward").await;
    run(&pool, "CREATE TABLE stateward.log (line text)").await;
    let target: Target = server.url(&foreign.name).parse().unwrap();
    assert!(matches!(migrate(&target, None).await, Err(OpenError::Foreign(_))));
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'stateward'::regnamespace";
    assert_eq!(sqlx::query_scalar::<_, i64>(tables).fetch_one(&pool).await.unwrap(), 1);
}

#[tokio::test]
async fn a_database_that_is_not_reached_is_named_without_the_password() {
    let Some(server) = Server::shared() else { return crate::skip::skipped(super::MISSING) };
    let database = TestDatabase::empty(server).await;
    let connect = async |url: String| {
        let target: Target = url.parse().unwrap();
        Database::connect(target.with_password("secret"), "test", Limits::default()).await
    };
    for url in [
        format!("postgres://{ROLE}:secret@%2Fnone/{}", database.name),
        format!("postgres://{ROLE}:secret@127.0.0.1:1/{}", database.name),
        format!("postgres://nobody:secret@{}/{}", server.address(), database.name),
        format!("postgres://{ROLE}:secret@{}/none", server.address()),
    ] {
        let Err(error) = connect(url.clone()).await else { panic!("connected to {url}") };
        let line = error.to_string();
        assert!(matches!(error, OpenError::NoPrimary { .. }), "{line}");
        assert!(!line.contains("secret") && !line.contains('\n'), "{line}");
    }
    let role = "ALTER ROLE stateward IN DATABASE {} SET default_transaction_read_only = on";
    run(&database.owner().await, &role.replace("{}", &database.name)).await;
    let url = format!("postgres://{ROLE}@%2Fnone,{}/{}", server.address(), database.name);
    let Err(error) = connect(url).await else { panic!("connected") };
    let line = error.to_string();
    assert!(line.contains("read-only") && line.contains("/none"), "both hosts: {line}");
}

#[tokio::test]
async fn the_primary_is_found_among_several_hosts() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let (server, name) = (database.server, &database.name);
    let url = format!("postgres://{ROLE}@%2Fnone,127.0.0.1:1,{}/{name}", server.address());
    let target: Target = url.parse().unwrap();
    let connected = Database::connect(target, "test", Limits::default()).await.unwrap();
    assert_eq!(connected.fault(), None);
    let log = Log::open(connected, ManualClock::new()).await.unwrap();
    log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
}

#[tokio::test]
async fn a_log_in_another_database_than_before_begins_an_epoch_and_is_marked_as_put_back() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let connected = database.connect().await;
    let log = Log::open(connected.clone(), ManualClock::new()).await.unwrap();
    let last = log.append(append("a", 0, 1, 1, vec![])).await.unwrap().position;
    let before = log.identity().clone();
    assert!(!before.put_back);
    log.close().await;
    connected.close().await;

    let copy = TestDatabase { server: database.server, name: format!("{}_copy", database.name) };
    let all = PgPool::connect(&database.server.url("postgres")).await.unwrap();
    // A session of the closed log may take a moment to end.
    let create = format!("CREATE DATABASE {} TEMPLATE {}", copy.name, database.name);
    while sqlx::query(AssertSqlSafe(create.clone())).execute(&all).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let open = async |database: &TestDatabase| database.log(ManualClock::new()).await;
    let copies = [open(&copy).await, open(&copy).await];
    for log in &copies {
        let found = log.identity();
        assert_eq!((found.log_id, found.put_back), (before.log_id, true));
        assert_eq!(found, copies[0].identity(), "one epoch for all processes");
        let head = Position { epoch: found.epoch, ..last };
        assert_ne!(head, last);
        assert_eq!(log.check(last).await, Err(ReadError::PositionGone { head }));
        assert_eq!(log.read_log(Position::START, 9).await.unwrap().through, head);
    }
    assert_eq!(open(&database).await.identity(), &before, "the original goes on");
}

#[tokio::test]
async fn a_process_does_not_go_on_with_another_epoch_than_it_opened() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    let connected = database.connect().await;
    let log = Log::open(connected.clone(), ManualClock::new()).await.unwrap();
    log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    run(&owner, "UPDATE stateward.log SET epoch = epoch % 4294967295 + 1").await;
    run(
        &owner,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND usename = 'stateward'",
    )
    .await;
    while log.head().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reason = connected.superseded().await;
    assert!(reason.contains("another epoch"), "{reason}");
    let refused = log.append(append("a", 1, 2, 1, vec![])).await;
    assert!(matches!(refused, Err(AppendError::Store(_))), "{refused:?}");
    assert!(connected.fault().unwrap().contains("another epoch"), "{:?}", connected.fault());
}

#[tokio::test]
async fn a_wrong_password_is_one_line_without_it() {
    let Some(database) = own_server() else { return };
    let database = database.await;
    let owner = database.owner().await;
    run(&owner, &format!("ALTER ROLE {ROLE} PASSWORD 'right'")).await;
    database.server.require_passwords();
    let url = database.server.url_of(ROLE, &database.name);
    let connect = async |password: &str| {
        let target: Target = url.parse().unwrap();
        Database::connect(target.with_password(password), "test", Limits::default()).await
    };
    // The rules reach the server a moment later.
    let line = loop {
        if let Err(error) = connect("wrong-one").await {
            break error.to_string();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(line.contains("password authentication failed"), "{line}");
    assert!(!line.contains("wrong-one") && !line.contains('\n'), "{line}");
    Log::open(connect("right").await.unwrap(), ManualClock::new()).await.unwrap();
}

#[tokio::test]
async fn a_newer_or_damaged_schema_is_not_migrated() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let (owner, target) = (database.owner().await, database.server.url(&database.name));
    let target: Target = target.parse().unwrap();
    let before = "SELECT string_agg(version || encode(checksum, 'hex'), ' ' ORDER BY version) FROM stateward.migrations";
    let applied = async || sqlx::query_scalar::<_, String>(before).fetch_one(&owner).await.unwrap();
    for (damage, repair, named) in [
        (
            "INSERT INTO stateward.migrations VALUES (999, 'later', now(), true, '', 0)",
            "DELETE FROM stateward.migrations WHERE version = 999",
            "999",
        ),
        (
            "UPDATE stateward.migrations SET checksum = sha512(checksum) WHERE version = 1",
            "SELECT 1",
            "migration 1",
        ),
    ] {
        run(&owner, damage).await;
        let found = applied().await;
        let line = migrate(&target, Some(ROLE)).await.unwrap_err().to_string();
        assert!(line.contains(named) && !line.contains('\n'), "{line}");
        assert_eq!(applied().await, found, "nothing was changed");
        run(&owner, repair).await;
    }
}

#[tokio::test]
async fn a_newer_schema_says_which_older_versions_may_start_beside_it() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    run(&owner, "INSERT INTO stateward.migrations VALUES (999, 'later', now(), true, '', 0)").await;
    let open = async || Log::open(database.connect().await, ManualClock::new()).await;
    open().await.expect("it still knows this version");
    run(&owner, "UPDATE stateward.log SET oldest_schema = 999").await;
    let line = open().await.err().expect("it knows this version no more").to_string();
    assert!(line.contains("999") && !line.contains('\n'), "{line}");
}
