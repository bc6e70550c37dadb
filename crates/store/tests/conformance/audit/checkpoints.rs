//! Changes that only a checkpoint kept elsewhere reveals.

use sqlx::{AssertSqlSafe, Connection, Row};
use stateward_domain::audit::{Checkpoint, Fault, FaultKind, Report};
use stateward_domain::id::{LogId, Version};
use stateward_store::hash;
use uuid::Uuid;

use super::fixture::{FIRST, Fixture, histories};

/// A log without views, which a tamperer would delete, and an earlier checkpoint.
async fn log_without_views() -> (Fixture, Checkpoint) {
    let fixture = Fixture::with(&histories(31, 8, 30)).await;
    std::fs::remove_file(fixture.path("views.db")).unwrap();
    let checkpoint = fixture.checkpoint().await;
    (fixture, checkpoint)
}

fn only_checkpoint(report: &Report) -> &Fault {
    assert_eq!(report.fault_count, 1, "{:#?}", report.faults);
    assert_eq!(report.faults[0].fault, FaultKind::Checkpoint);
    &report.faults[0]
}

/// Claims of removed events would reveal the removal.
const CLAIMS: &str = "DELETE FROM claims WHERE NOT EXISTS (SELECT 1 FROM events e WHERE \
    e.aggregate_id = claims.aggregate_id AND e.sequence >= claims.sequence)";

#[tokio::test]
async fn a_checkpoint_stays_valid_as_the_log_grows() {
    let (mut fixture, checkpoint) = log_without_views().await;
    assert!(fixture.verify(Some(&checkpoint)).await.ok);
    let store = fixture.open().await;
    fixture.append_histories(&store, &histories(32, 4, 30)).await;
    store.close().await;
    let report = fixture.verify(Some(&checkpoint)).await;
    assert!(report.ok && report.events > checkpoint.count, "{:#?}", report.faults);
    assert!(fixture.verify(Some(&report.checkpoint)).await.ok);
}

#[tokio::test]
async fn a_cut_tail_shows_against_a_checkpoint_only() {
    let (fixture, checkpoint) = log_without_views().await;
    // Control events are at the end: no claim refers to them.
    fixture
        .damage("DELETE FROM events WHERE position > (SELECT max(position) - 2 FROM events)")
        .await;
    assert!(fixture.verify(None).await.ok, "a chain does not know its end");
    let report = fixture.verify(Some(&checkpoint)).await;
    assert!(only_checkpoint(&report).detail.contains("it was cut"), "{:?}", report.faults);
}

#[tokio::test]
async fn a_removed_stream_shows_against_a_checkpoint_only() {
    let (fixture, checkpoint) = log_without_views().await;
    fixture
        .damage(
            "DELETE FROM events WHERE aggregate_type = 'entity' AND aggregate_id = \
         (SELECT min(aggregate_id) FROM events WHERE aggregate_type = 'entity'); \
         CREATE TEMP TABLE places AS \
         SELECT event_id, row_number() OVER (ORDER BY position) place FROM events; \
         UPDATE events SET position = -position; \
         UPDATE events SET position = \
         (SELECT place FROM places WHERE places.event_id = events.event_id)",
        )
        .await;
    fixture.damage(CLAIMS).await;
    let report = fixture.verify(None).await;
    assert!(report.ok && report.events < checkpoint.count, "{:#?}", report.faults);
    let against = fixture.verify(Some(&checkpoint)).await;
    assert!(against.faults.iter().any(|fault| fault.fault == FaultKind::Checkpoint));
}

#[tokio::test]
async fn a_rewritten_chain_shows_against_a_checkpoint_only() {
    let (fixture, checkpoint) = log_without_views().await;
    let mut connection = fixture.tamper().await;
    let rows = sqlx::query(
        "SELECT position FROM events WHERE aggregate_type = 'access' ORDER BY sequence",
    );
    let rows = rows.fetch_all(&mut connection).await.unwrap();
    let (mut previous, mut version) = (hash::GENESIS, Version(0));
    let exported = fixture.exported().await;
    for row in rows {
        let position: i64 = row.get(0);
        let line = exported.lines().nth(usize::try_from(position).unwrap() - 1).unwrap();
        let mut event = stateward_domain::cloud_event::parse(line).unwrap().chained.event;
        event.metadata = event.metadata.replace("\"actor_id\":\"", "\"actor_id\":\"mallory").into();
        version = version.next();
        assert_eq!(event.version, version);
        previous = hash::of_recorded(&previous, &event);
        let hex: String = previous.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!(
            "UPDATE events SET metadata = '{}', hash = x'{hex}' WHERE position = {position}",
            event.metadata
        );
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    assert!(version > FIRST);
    assert!(fixture.verify(None).await.ok, "a chain rewritten as a whole is sound in itself");
    let report = fixture.verify(Some(&checkpoint)).await;
    assert!(only_checkpoint(&report).detail.contains("rewritten"), "{:?}", report.faults);
}

#[tokio::test]
async fn events_of_different_streams_in_each_other_s_place_show_against_a_checkpoint_only() {
    let (fixture, checkpoint) = log_without_views().await;
    fixture
        .damage(
            "UPDATE events SET position = -1 WHERE position = 1; \
         UPDATE events SET position = 1 WHERE position = 2; \
         UPDATE events SET position = 2 WHERE position = -1",
        )
        .await;
    assert!(fixture.verify(None).await.ok);
    only_checkpoint(&fixture.verify(Some(&checkpoint)).await);
}

#[tokio::test]
async fn another_log_is_not_taken_for_this_one() {
    let (fixture, checkpoint) = log_without_views().await;
    let other = Checkpoint { log_id: LogId(Uuid::from_u128(1)), ..checkpoint };
    let report = fixture.verify(Some(&other)).await;
    assert!(only_checkpoint(&report).detail.contains("is of log"), "{:?}", report.faults);
}
