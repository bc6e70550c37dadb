//! Races of appends and readers, made to happen: an append waits inside of its transaction for a lock of the test.

use std::time::Duration;

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use stateward_domain::entity::claims::Claim;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{AppendError, EventStore};
use stateward_domain::time::ManualClock;
use stateward_store::hash;
use stateward_store::postgres::Log;

use super::{TestDatabase, test_database};
use crate::support::{append, key, stream, take};

/// Makes every row of `table` that is `when` wait for the advisory lock `number`.
async fn wait_for_lock(owner: &PgPool, table: &str, when: &str, number: i64) {
    let name = format!("wait_{table}_{number}");
    for statement in [
        format!(
            "CREATE FUNCTION public.{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM pg_advisory_xact_lock({number}); RETURN NEW; END $$"
        ),
        format!(
            "CREATE TRIGGER {name} {when} EXECUTE FUNCTION public.{name}()",
            when = when.replace("TABLE", &format!("stateward.{table}"))
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(owner).await.unwrap();
    }
}

const SLOW: &str = "BEFORE INSERT ON TABLE FOR EACH ROW WHEN (NEW.aggregate_id = 'slow')";

/// Takes the advisory lock; it is released with the connection.
async fn hold(database: &TestDatabase, number: i64) -> PgConnection {
    let url = database.server.url(&database.name);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let lock = sqlx::query("SELECT pg_advisory_lock($1)").bind(number);
    lock.execute(&mut connection).await.unwrap();
    connection
}

/// Waits until `count` sessions of the database wait for a lock.
async fn blocked(owner: &PgPool, count: i64) {
    let query = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    loop {
        let found: i64 = sqlx::query_scalar(query).fetch_one(owner).await.unwrap();
        if found >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Streams of all events, as a reader of the whole log gets them.
async fn order(log: &Log) -> Vec<String> {
    // The barrier: what other nodes acknowledged is at or before the head.
    log.head().await.unwrap();
    let page = log.read_log(Position::START, 100).await.unwrap();
    page.events.into_iter().map(|event| format!("{}/{}", event.stream.id, event.version)).collect()
}

#[tokio::test]
async fn a_lower_position_that_commits_later_is_not_passed_not_even_the_first_of_a_log() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    wait_for_lock(&owner, "events", SLOW, 42).await;
    let (one, two) =
        (database.log(ManualClock::new()).await, database.log(ManualClock::new()).await);
    let held = hold(&database, 42).await;
    let (slow, fast) = tokio::join!(one.append(append("slow", 0, 1, 1, vec![])), async {
        blocked(&owner, 1).await;
        let fast = two.append(append("fast", 0, 2, 1, vec![])).await.unwrap();
        let naive: Vec<String> =
            sqlx::query_scalar("SELECT aggregate_id FROM stateward.events ORDER BY position")
                .fetch_all(&owner)
                .await
                .unwrap();
        assert_eq!(naive, ["fast"], "a reader of what is committed would pass the other one");
        for log in [&one, &two] {
            assert_eq!(order(log).await, Vec::<String>::new());
            let page = log.read_log(Position::START, 10).await.unwrap();
            assert_eq!(page.through, Position::START, "nothing was read");
            assert_eq!(log.head().await, Ok(fast.position), "the head may be ahead");
            assert_eq!(log.check(fast.position).await, Ok(()));
            let behind = log.read_log(fast.position, 10).await.unwrap();
            assert_eq!((behind.events, behind.through), (vec![], fast.position));
        }
        held.close().await.unwrap();
        fast
    });
    assert!(slow.unwrap().position < fast.position);
    for log in [&one, &two] {
        log.changed_after(Position::START).await;
        assert_eq!(order(log).await, ["slow/1", "fast/1"]);
    }
}

#[tokio::test]
async fn a_claim_that_a_younger_transaction_frees_is_not_taken_before_it_in_the_log() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    let (one, two) =
        (database.log(ManualClock::new()).await, database.log(ManualClock::new()).await);
    one.append(append("slow", 0, 1, 1, vec![take("k")])).await.unwrap();
    // The taker has its transaction's number, and waits before it takes the claim.
    let after = "AFTER INSERT ON TABLE FOR EACH ROW WHEN (NEW.aggregate_id = 'new')";
    wait_for_lock(&owner, "streams", after, 43).await;
    // The one that frees it has done so, and waits before it commits.
    wait_for_lock(&owner, "events", SLOW, 42).await;
    let (before_claim, before_commit) = (hold(&database, 43).await, hold(&database, 42).await);
    let free = vec![Claim::Free { key: key("k") }];
    let (taken, freed, ()) = tokio::join!(
        two.append(append("new", 0, 10, 1, vec![take("k")])),
        async {
            blocked(&owner, 1).await;
            one.append(append("slow", 1, 2, 1, free)).await
        },
        async {
            blocked(&owner, 2).await;
            before_claim.close().await.unwrap();
            // The taker has to wait for the claim now, and not for the test.
            let waits =
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype <> 'advisory'";
            while sqlx::query_scalar::<_, i64>(waits).fetch_one(&owner).await.unwrap() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            before_commit.close().await.unwrap();
        }
    );
    assert!(freed.unwrap().position < taken.unwrap().position);
    assert_eq!(order(&one).await, ["slow/1", "slow/2", "new/1"]);
    let numbers = "SELECT array_agg(xmin::text::bigint ORDER BY position) FROM stateward.events";
    let numbers: Vec<i64> = sqlx::query_scalar(numbers).fetch_one(&owner).await.unwrap();
    assert!(numbers[2] < numbers[1], "the taker's transaction is the older one: {numbers:?}");
}

#[tokio::test]
async fn a_claim_is_shared_or_taken_in_the_order_of_the_log() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    wait_for_lock(&owner, "events", SLOW, 42).await;
    let (one, two) =
        (database.log(ManualClock::new()).await, database.log(ManualClock::new()).await);
    let held = hold(&database, 42).await;
    let share = vec![crate::support::share("k")];
    let (shared, taken) = tokio::join!(one.append(append("slow", 0, 1, 1, share)), async {
        blocked(&owner, 1).await;
        let (taken, ()) =
            tokio::join!(two.append(append("new", 0, 2, 1, vec![take("k")])), async {
                blocked(&owner, 2).await;
                held.close().await.unwrap();
            });
        taken
    });
    assert!(shared.unwrap().position < taken.unwrap().position);
    assert_eq!(one.holder(&key("k")).await.unwrap().unwrap().stream, stream("new"));
    let left = "SELECT count(*) FROM stateward.claims WHERE sequence = 0";
    assert_eq!(sqlx::query_scalar::<_, i64>(left).fetch_one(&owner).await.unwrap(), 0);
}

#[tokio::test]
async fn transactions_of_others_that_stay_open_stop_no_reader() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let log = database.log(ManualClock::new()).await;
    let mut open = Vec::new();
    let own = database.name.as_str();
    // The last is an append's mark, in another database.
    for (name, statement) in [
        ("postgres", "SELECT pg_current_xact_id()::text"),
        (own, "SELECT pg_current_xact_id()::text"),
        (own, "SELECT pg_advisory_xact_lock_shared(7)::text"),
        ("postgres", "SELECT pg_advisory_xact_lock_shared((x'5357'::bigint << 48) | 1)::text"),
    ] {
        let mut other = PgConnection::connect(&database.server.url(name)).await.unwrap();
        sqlx::query("BEGIN").execute(&mut other).await.unwrap();
        sqlx::query(statement).execute(&mut other).await.unwrap();
        open.push(other);
    }
    log.append(append("a", 0, 1, 2, vec![])).await.unwrap();
    assert_eq!(order(&log).await, ["a/1", "a/2"]);
}

/// Inserts an event as postgres-es does, with its seven columns.
async fn insert(connection: &mut PgConnection, id: &str, sequence: i64) {
    let insert = "INSERT INTO stateward.events (aggregate_type, aggregate_id, sequence, event_type, \
                  event_version, payload, metadata) VALUES ('entity', $1, $2, 'Foreign', '1.0', '{}', '{}')";
    sqlx::query(insert).bind(id).bind(sequence).execute(connection).await.unwrap();
}

#[tokio::test]
async fn an_event_of_another_program_has_a_position_and_conflicts_with_the_next_append() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let log = database.log(ManualClock::new()).await;
    let url = database.server.url_of(super::ROLE, &database.name);
    let mut other = PgConnection::connect(&url).await.unwrap();
    log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    insert(&mut other, "a", 2).await;
    insert(&mut other, "b", 1).await;
    for (id, expected, actual) in [("a", 1, 2), ("b", 0, 1)] {
        for number in [10, 11] {
            let refused = log.append(append(id, expected, number, 1, vec![])).await;
            let conflict = AppendError::Conflict { actual: Version(actual) };
            assert_eq!(refused, Err(conflict), "{id} {number}");
        }
        let next = append(id, actual, 20 + u128::from(actual), 1, vec![]);
        assert_eq!(log.append(next).await.unwrap().version, Version(actual + 1));
    }
    assert_eq!(order(&log).await, ["a/1", "a/2", "b/1", "a/3", "b/2"]);
    let read = log.read_stream(&stream("a"), Version(1), 10).await.unwrap();
    assert_eq!((read[0].hash, read[0].schema_version), (hash::GENESIS, u32::MAX), "unsealed");
    assert_eq!(read[1].hash, hash::of_recorded(&hash::GENESIS, &read[1]));

    // One that stays open holds readers back, and nothing is skipped when it ends.
    sqlx::query("BEGIN").execute(&mut other).await.unwrap();
    insert(&mut other, "c", 1).await;
    let last = log.append(append("d", 0, 30, 1, vec![])).await.unwrap();
    let (before, after) = (order(&log).await.len(), log.read_log(last.position, 9).await);
    assert_eq!((before, after.unwrap().through), (5, last.position));
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    assert_eq!(order(&log).await[5..], ["c/1", "d/1"]);
}

#[tokio::test]
async fn no_setting_of_the_role_weakens_an_append() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    let role = super::ROLE;
    for statement in [
        "CREATE TABLE public.seen (setting text)".to_owned(),
        "CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
         INSERT INTO public.seen VALUES (current_setting('synchronous_commit')), \
         (current_setting('transaction_isolation')), (current_setting('statement_timeout')), \
         (current_setting('application_name')); RETURN NEW; END $$"
            .to_owned(),
        "CREATE TRIGGER see BEFORE INSERT ON stateward.events FOR EACH ROW \
         EXECUTE FUNCTION public.see()"
            .to_owned(),
        format!("ALTER ROLE {role} IN DATABASE {} SET synchronous_commit = off", database.name),
        format!("ALTER ROLE {role} IN DATABASE {} SET statement_timeout = '7s'", database.name),
        format!(
            "ALTER ROLE {role} IN DATABASE {} SET default_transaction_isolation = 'repeatable read'",
            database.name
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&owner).await.unwrap();
    }
    let log = database.log(ManualClock::new()).await;
    log.append(append("a", 0, 1, 1, vec![])).await.unwrap();
    assert_eq!(order(&log).await, ["a/1"], "READ COMMITTED for readers too");
    let seen: Vec<String> =
        sqlx::query_scalar("SELECT setting FROM public.seen").fetch_all(&owner).await.unwrap();
    assert_eq!(seen, ["on", "read committed", "0", "stateward/test"]);
}
