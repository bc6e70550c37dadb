//! What is wrong with a log, as the reader of `examples/cqrs-es-reader` says it: one line, exit code 1, nothing written.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use sqlx::PgPool;
use tokio::process::Command;

use crate::example::{binary, lines, run};
use crate::foreign::{Theirs, append, store};
use crate::harness::{Database, until};
use crate::postgres_server::{MISSING, Server};
use crate::skip;

const ID: &str = "00000000-0000-0000-0000-00000000000a";

/// The reader's only line about the log at `url`, which has to name all of `named`.
fn refused(url: &str, named: &[&str]) {
    let output = run("cqrs-es-reader", &[url]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = lines(&output.stderr);
    let [line] = &said[..] else { panic!("{said:#?}") };
    for name in named {
        assert!(line.contains(name), "{name}: {line}");
    }
}

async fn execute(pool: &PgPool, statement: &str) {
    sqlx::raw_sql(statement)
        .execute(pool)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Number of events and the last position.
async fn extent(pool: &PgPool) -> (i64, Option<i64>) {
    let query = "SELECT count(*), max(position) FROM stateward.events";
    sqlx::query_as(query).fetch_one(pool).await.expect("the log")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_read_is_one_line() {
    let Some(server) = Server::shared() else { return skip::skipped(MISSING) };
    refused("no url", &["stateward.events"]);
    refused("postgres://127.0.0.1:1/none", &["stateward.events", "refused"]);
    // The table is not there.
    let empty = format!("empty{:x}", rand::random::<u64>());
    server.execute("postgres", &format!("CREATE DATABASE {empty}"));
    refused(&server.url(&empty), &["stateward.events", "does not exist"]);
    // A role without rights.
    let database = Database::shared().expect("PostgreSQL is there");
    let url = database.owner_url();
    let role = format!("reader{:x}", rand::random::<u64>());
    let pool = PgPool::connect(&url).await.expect("connected");
    execute(&pool, &format!("CREATE ROLE {role} LOGIN")).await;
    let as_role = url.replace("postgres://postgres@", &format!("postgres://{role}@"));
    refused(&as_role, &["stateward.events", "permission denied"]);
    // With the rights that the recipe names.
    let grants = format!(
        "GRANT USAGE ON SCHEMA stateward TO {role}; GRANT SELECT ON stateward.events TO {role}"
    );
    execute(&pool, &grants).await;
    let output = run("cqrs-es-reader", &[&as_role]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_reader_does_not_know_is_one_line() {
    let Some(database) = Database::shared() else { return };
    let url = database.owner_url();
    let pool = PgPool::connect(&url).await.expect("connected");
    let theirs = store::<Theirs>(&pool);
    let insert = |sequence: i32, version: &str, payload: &str| {
        format!(
            "INSERT INTO stateward.events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
             metadata) VALUES ('entity', '{ID}', {sequence}, 'entity.paused', '{version}', '{payload}', '{{}}')"
        )
    };
    append(&theirs, ID, json!({ "paused": { "at": 1 } })).await;
    // Each takes the place of the one before.
    for (statement, named) in [
        // A newer version of an event that is known.
        (insert(2, "2", r#"{"paused": {"at": 1}}"#), ["event 2", "entity.paused 2"]),
        // A version in another form, as cqrs-es' own examples have it.
        (insert(2, "1.0", r#"{"paused": {"at": 1}}"#), ["event 2", "entity.paused 1.0"]),
        // An event of another program.
        (
            insert(2, "1.0", r#"{"Opened": {}}"#).replace("entity.paused", "Opened"),
            ["event 2", "Opened 1.0"],
        ),
        // A payload that does not fit its type.
        (insert(2, "1", r#"{"external_id_recorded": {"at": 1}}"#), ["event 2", "external_id"]),
        (insert(2, "1", "7"), ["event 2", "cannot be read"]),
        // JSON for PostgreSQL, and none for serde: the library's task panics.
        (insert(2, "1", r#"{"paused": {"at": 1e999}}"#), ["only 1 of 2 events", "payload"]),
        // Metadata that are no texts.
        (
            insert(2, "1", r#"{"paused": {"at": 1}}"#).replace("'{}')", r#"'{"a": 1}')"#),
            ["event 2", "string"],
        ),
        // An event is missing.
        (insert(3, "1", r#"{"paused": {"at": 1}}"#), ["event 2 is missing", "3"]),
    ] {
        execute(&pool, &statement).await;
        let before = extent(&pool).await;
        refused(&url, &[&format!("entity/{ID}"), named[0], named[1]]);
        assert_eq!(extent(&pool).await, before, "a reader writes nothing");
        execute(&pool, "DELETE FROM stateward.events WHERE sequence > 1").await;
    }
    let output = run("cqrs-es-reader", &[&url]);
    assert!(output.status.success(), "{output:?}");
}

/// A log with one long stream, which takes a while to read.
async fn long(pool: &PgPool) -> i64 {
    let events = 12_000;
    execute(
        pool,
        &format!(
            "INSERT INTO stateward.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, \
             payload, metadata) SELECT 1000000000 + n, 'entity', '{ID}', n, 'entity.paused', '1', \
             json_build_object('paused', json_build_object('at', n, 'more', repeat('x', 10000))), '{{}}' \
             FROM generate_series(1, {events}) n"
        ),
    )
    .await;
    events
}

/// Starts the reader and stops it as soon as the server sends the long stream faster than it is read.
async fn stopped_in_the_middle(url: &str, pool: &PgPool) -> (tokio::process::Child, i32) {
    let child = Command::new(binary("cqrs-es-reader"))
        .arg(url)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let process = Pid::from_raw(child.id().expect("running").cast_signed()).expect("not zero");
    let reading = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' \
                   AND query LIKE '%ORDER BY sequence' AND wait_event = 'ClientWrite' AND pid <> pg_backend_pid()";
    let backend: i32 = loop {
        if let Some(pid) =
            sqlx::query_scalar(reading).fetch_optional(pool).await.expect("an answer")
        {
            break pid;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    kill_process(process, Signal::STOP).expect("stopped");
    // It waits for the reader, whose buffers are full.
    until("the server waits for the reader", async || {
        let waits = "SELECT wait_event = 'ClientWrite' FROM pg_stat_activity WHERE pid = $1";
        let waits: Option<Option<bool>> =
            sqlx::query_scalar(waits).bind(backend).fetch_optional(pool).await.expect("an answer");
        (waits.flatten() == Some(true)).then_some(())
    })
    .await;
    (child, backend)
}

async fn ends_short(child: tokio::process::Child, events: i64) {
    let process = Pid::from_raw(child.id().expect("running").cast_signed()).expect("not zero");
    kill_process(process, Signal::CONT).expect("continued");
    let output = child.wait_with_output().await.expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = lines(&output.stderr);
    let [line] = &said[..] else { panic!("{said:#?}") };
    assert!(line.contains(&format!("entity/{ID}: only ")), "{line}");
    assert!(line.contains(&format!(" of {events} events came: ")), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_in_the_middle_of_a_replay_is_one_line() {
    let Some(database) = Database::shared() else { return };
    let url = database.owner_url();
    let pool = PgPool::connect(&url).await.expect("connected");
    let events = long(&pool).await;
    let (child, backend) = stopped_in_the_middle(&url, &pool).await;
    sqlx::query("SELECT pg_terminate_backend($1)")
        .bind(backend)
        .execute(&pool)
        .await
        .expect("ended");
    until("the server's process has ended", async || {
        let alive = sqlx::query("SELECT FROM pg_stat_activity WHERE pid = $1").bind(backend);
        alive.fetch_optional(&pool).await.expect("an answer").is_none().then_some(())
    })
    .await;
    ends_short(child, events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_in_the_middle_of_a_replay_is_one_line() {
    let Some(server) = Server::private() else { return skip::skipped(MISSING) };
    server.execute("postgres", "CREATE DATABASE log");
    let url = server.url("log");
    let migrate = std::process::Command::new(env!("CARGO_BIN_EXE_stateward"))
        .args(["migrate", "--url", &url, "--role", "postgres"])
        .output()
        .expect("the binary starts");
    assert!(migrate.status.success(), "{migrate:?}");
    let pool = PgPool::connect(&url).await.expect("connected");
    let events = long(&pool).await;
    let (child, _) = stopped_in_the_middle(&url, &pool).await;
    drop(pool);
    server.control(&["stop", "-m", "immediate"]);
    ends_short(child, events).await;
}
