//! Databases that lost events, were restored or promoted: positions are of one epoch, and a process that remembers what
//! is gone does not go on.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stateward_domain::id::Position;
use stateward_domain::ports::event_store::{AppendError, EventStore, ReadError};
use stateward_domain::ports::health::StoreHealth;
use stateward_domain::ports::sync_queue::SyncQueue;
use stateward_domain::time::{Clock as _, LogClock, ManualClock};
use stateward_store::postgres::{Database, Health, LeaseClock, Limits, Log, Queue};

use super::outages::own_server;
use super::{TestDatabase, test_database};
use crate::support::append;

async fn run(owner: &PgPool, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(owner).await.unwrap();
}

/// A process with its connections.
struct Node {
    database: Database,
    log: Log,
    queue: Queue,
}

impl Node {
    async fn of(database: &TestDatabase, clock: &Arc<ManualClock>) -> Self {
        Self::with(database.connect().await, clock).await
    }

    async fn with(connections: Database, clock: &Arc<ManualClock>) -> Self {
        let log = Log::open(connections.clone(), clock.clone()).await.unwrap();
        let clock = LogClock::from(clock.clone());
        let queue = Queue::new(connections.clone(), clock, LeaseClock::Database);
        Self { database: connections, log, queue }
    }

    /// What the node reports about lost events.
    async fn lost(&self) -> Option<String> {
        let checks = Health::new(self.database.clone()).health().await;
        let lost = checks.into_iter().find(|check| check.name == "store/log-lost").unwrap();
        assert!(!lost.serious);
        lost.detail
    }
}

/// Ends all sessions of processes under test, as a failover does.
async fn cut(owner: &PgPool) {
    run(
        owner,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND usename = 'stateward'",
    )
    .await;
}

/// Waits until the node gave up.
async fn superseded(node: &Node) -> String {
    let calls = async {
        loop {
            // A node that nothing asks does not search for its primary; the log's reader asks too.
            let _ = node.log.head().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        reason = node.database.superseded() => reason,
        () = calls => unreachable!("calls go on"),
    }
}

#[tokio::test]
async fn a_log_that_still_has_all_that_was_seen_goes_on_in_its_epoch() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let clock = ManualClock::new();
    let node = Node::of(&database, &clock).await;
    let first = node.log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    cut(&database.owner().await).await;
    let second = loop {
        match node.log.append(append("a", 1, 2, 1, vec![])).await {
            Ok(appended) => break appended,
            Err(error) => assert!(!matches!(error, AppendError::Conflict { .. }), "{error}"),
        }
    };
    assert_eq!(second.position.epoch, first.position.epoch);
    assert_eq!((node.database.fault(), node.lost().await), (None, None));
}

#[tokio::test]
async fn an_older_event_that_is_gone_begins_an_epoch_though_the_newest_one_survived() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let (owner, clock) = (database.owner().await, ManualClock::new());
    let nodes = [Node::of(&database, &clock).await, Node::of(&database, &clock).await];
    nodes[0].log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    let last = nodes[1].log.append(append("b", 0, 2, 1, vec![])).await.unwrap().position;
    nodes[0].queue.advance(Position::START, last, &[]).await.unwrap();
    run(&owner, "DELETE FROM stateward.events WHERE aggregate_id = 'a'").await;
    cut(&owner).await;
    for node in &nodes {
        let reason = superseded(node).await;
        assert!(reason.contains("restart this process"), "{reason}");
        let refused = node.log.append(append("b", 1, 3, 1, vec![])).await;
        assert!(matches!(refused, Err(AppendError::Store(_))), "{refused:?}");
    }
    let next = Node::of(&database, &clock).await;
    let found = next.log.identity();
    assert_ne!(found.epoch, last.epoch);
    assert!(!found.put_back, "less than a minute is gone");
    assert!(found.lost_at.is_some_and(|at| at >= clock.now()), "{:?}", found.lost_at);
    let head = Position { epoch: found.epoch, ..last };
    assert_eq!(next.log.check(last).await, Err(ReadError::PositionGone { head }));
    assert_eq!(next.log.head().await, Ok(head));
    assert_eq!(next.queue.checkpoint().await, Ok(head), "what is derived is of the new epoch");
    assert!(next.lost().await.unwrap().starts_with("1 events"), "{:?}", next.lost().await);
}

#[tokio::test]
async fn more_than_a_minute_that_is_gone_sets_the_hold() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let (owner, clock) = (database.owner().await, ManualClock::new());
    let node = Node::of(&database, &clock).await;
    node.log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    clock.advance(Duration::from_secs(50));
    node.log.append(append("b", 0, 2, 1, vec![])).await.unwrap();
    clock.advance(Duration::from_secs(50));
    node.log.append(append("c", 0, 3, 1, vec![])).await.unwrap();
    run(&owner, "DELETE FROM stateward.events").await;
    cut(&owner).await;
    superseded(&node).await;
    let next = Node::of(&database, &clock).await;
    assert!(next.log.identity().put_back);
    assert!(next.lost().await.unwrap().starts_with("3 events"));
}

/// The first process to notice remembers less than a minute.
#[tokio::test]
async fn a_process_that_knows_of_more_than_the_one_that_began_the_epoch_sets_the_hold() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let (owner, clock) = (database.owner().await, ManualClock::new());
    let first = Node::of(&database, &clock).await;
    first.log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    clock.advance(Duration::from_secs(50));
    first.log.append(append("b", 0, 2, 1, vec![])).await.unwrap();
    clock.advance(Duration::from_secs(50));
    first.log.append(append("c", 0, 3, 1, vec![])).await.unwrap();
    run(&owner, "DELETE FROM stateward.events WHERE aggregate_id <> 'c'").await;
    let late = Node::of(&database, &clock).await;
    late.log.append(append("d", 0, 4, 1, vec![])).await.unwrap();
    run(&owner, "DELETE FROM stateward.events WHERE aggregate_id = 'd'").await;
    cut(&owner).await;
    superseded(&late).await;
    let next = Node::of(&database, &clock).await;
    let begun = next.log.identity().clone();
    assert!(!begun.put_back && begun.lost_at.is_some(), "it knew of the last moments: {begun:?}");

    let reason = superseded(&first).await;
    assert!(reason.contains("another epoch"), "{reason}");
    let next = Node::of(&database, &clock).await;
    let found = next.log.identity();
    assert!(found.put_back, "more than a minute is gone");
    assert_eq!((found.epoch, found.lost_at), (begun.epoch, begun.lost_at));
    let lost = next.lost().await.unwrap();
    assert!(lost.starts_with("2 events") || lost.starts_with("3 events"), "{lost}");
    // A person lifts the hold; the process that is asked again does not set it anew.
    run(&owner, "UPDATE stateward.log SET put_back = false").await;
    let _ = first.log.head().await;
    assert!(!Node::of(&database, &clock).await.log.identity().put_back);
}

#[tokio::test]
async fn a_base_copy_in_place_of_a_newer_database_is_found_out_by_a_process_that_lives() {
    let Some(database) = own_server() else { return };
    let database = database.await;
    let clock = ManualClock::new();
    let node = Node::of(&database, &clock).await;
    let first = node.log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    database.server.control(&["stop", "-m", "fast"]);
    database.server.save();
    database.server.control(&["start"]);
    let lost = loop {
        if let Ok(lost) = node.log.append(append("a", 1, 2, 1, vec![])).await {
            break lost;
        }
    };
    database.server.control(&["stop", "-m", "immediate"]);
    database.server.restore_saved();
    database.server.start_promoted();
    superseded(&node).await;
    let next = Node::of(&database, &clock).await;
    let head = Position { epoch: next.log.identity().epoch, ..first.position };
    assert_ne!(head.epoch, lost.position.epoch);
    assert_eq!(next.log.check(lost.position).await, Err(ReadError::PositionGone { head }));
    assert!(next.lost().await.unwrap().starts_with("1 events"));
    next.log.append(append("a", 1, 3, 1, vec![])).await.unwrap();
}

#[tokio::test]
async fn a_promoted_copy_that_no_process_remembers_is_held_and_one_of_a_moment_ago_is_not() {
    let Some(database) = own_server() else { return };
    let database = database.await;
    let clock = ManualClock::new();
    let node = Node::of(&database, &clock).await;
    node.log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    let before = node.log.identity().clone();
    node.log.close().await;
    node.database.close().await;
    let heartbeat = async |age: &str| {
        let url = database.server.url(&database.name);
        let mut owner = PgConnection::connect(&url).await.unwrap();
        let beat = format!(
            "DELETE FROM stateward_views.members; \
             INSERT INTO stateward_views.members (id, name, role, version, knows, seen, backends, until) \
             VALUES (gen_random_uuid(), 'n', 'all', '1', 1, '', '{{}}', \
             stateward_views.clock_or(NULL) - {age} * 1000000)"
        );
        sqlx::raw_sql(AssertSqlSafe(beat)).execute(&mut owner).await.unwrap();
    };
    let promote = || {
        database.server.control(&["stop", "-m", "fast"]);
        database.server.start_promoted();
    };
    heartbeat("500").await;
    promote();
    let node = Node::of(&database, &clock).await;
    assert_eq!(node.log.identity(), &before, "a failover");
    node.log.close().await;
    node.database.close().await;
    heartbeat("700").await;
    let node = Node::of(&database, &clock).await;
    assert_eq!(node.log.identity(), &before, "the same timeline as before");
    node.log.close().await;
    node.database.close().await;
    promote();
    let node = Node::of(&database, &clock).await;
    assert!(node.log.identity().put_back, "nothing remembers what the log had");
    assert_ne!(node.log.identity().epoch, before.epoch);
}

/// Waits until the node has a reason for having no primary, that contains `part`.
async fn fault(node: &Node, part: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        let _ = node.log.head().await;
        let fault = node.database.fault();
        if fault.as_ref().is_some_and(|fault| fault.contains(part)) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{part}: {fault:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn appended(node: &Node, sent: stateward_domain::ports::event_store::Append) -> Position {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
    loop {
        match node.log.append(sent.clone()).await {
            Ok(appended) => return appended.position,
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
    }
}

/// The first primary was frozen while the second one was promoted, and wakes up as the only one.
#[tokio::test]
async fn an_older_primary_that_wakes_is_not_written_to_while_any_host_has_the_newer_history() {
    let Some(database) = own_server() else { return };
    let database = database.await;
    let (server, clock) = (database.server, ManualClock::new());
    let address = server.address();
    let second = address.replace(":5432", ":5433");
    let url = format!("postgres://stateward@{address},{second}/{}", database.name);
    let node = async || {
        let limits = Limits {
            acquire: Duration::from_millis(500),
            forked: Duration::from_millis(300),
            ..Limits::default()
        };
        let connections = Database::connect(url.parse().unwrap(), "test", limits).await.unwrap();
        Node::with(connections, &clock).await
    };
    let one = node().await;
    let first = appended(&one, append("a", 0, 1, 1, vec![])).await;
    server.control(&["stop", "-m", "fast"]);
    server.save();
    server.mark_saved_as_standby();
    server.control_saved(&["start"]);
    server.control_saved(&["promote"]);
    let lost = appended(&one, append("a", 1, 2, 1, vec![])).await;

    server.control_saved(&["stop", "-m", "fast"]);
    server.control(&["start"]);
    fault(&one, "ended before").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = one.log.append(append("a", 2, 3, 1, vec![])).await;
    assert!(matches!(refused, Err(AppendError::Store(_))), "a host that may be right is away");
    server.mark_saved_as_standby();
    server.control_saved(&["start"]);
    fault(&one, "has events that the older one lacks").await;

    // The right one answers again: no restart is needed.
    server.control_saved(&["promote"]);
    let healed = appended(&one, append("a", 2, 3, 1, vec![])).await;
    assert_eq!(healed.epoch, first.epoch);
    let counters = Health::new(one.database.clone()).counters().unwrap();
    assert_eq!(counters.failovers, 2, "timelines 1, 2 and 3");
    let two = node().await;
    assert_eq!(two.log.head().await, Ok(healed), "a new process takes the latest timeline");

    // No host has the newer history any more.
    server.control(&["stop", "-m", "fast"]);
    server.control_saved(&["stop", "-m", "fast"]);
    server.forget_saved();
    server.save();
    server.mark_saved_as_standby();
    server.control(&["start"]);
    server.control_saved(&["start"]);
    for node in [&one, &two] {
        superseded(node).await;
    }
    let next = node().await;
    assert_ne!(next.log.identity().epoch, lost.epoch);
    assert!(next.lost().await.unwrap().starts_with("2 events"), "{:?}", next.lost().await);
    server.control_saved(&["stop", "-m", "fast"]);
}
