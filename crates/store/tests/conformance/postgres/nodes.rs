//! Several processes on one log: one order for all readers, and no process waits for another for ever.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::postgres::PgListener;
use stateward_domain::entity::claims::Claim;
use stateward_domain::id::{Position, Version};
use stateward_domain::ports::event_store::{AppendError, EventStore};
use stateward_domain::ports::health::StoreHealth as _;
use stateward_domain::time::{Clock as _, ManualClock};
use stateward_store::postgres::{Health, Log};

use super::{TestDatabase, test_database};
use crate::support::{append, key, stream, take};

async fn nodes(database: &TestDatabase, count: usize) -> Vec<Arc<Log>> {
    let logs = (0..count).map(|_| database.log(ManualClock::new()));
    join_all(logs).await.into_iter().map(Arc::new).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_on_all_nodes_see_every_event_once_in_one_order_while_all_nodes_write() {
    const STREAMS: u64 = 24;
    const EACH: u64 = 12;
    let Some(database) = test_database() else { return };
    let nodes = nodes(&database.await, 3).await;
    let mut writers = tokio::task::JoinSet::new();
    for id in 0..STREAMS {
        let log = Arc::clone(&nodes[usize::try_from(id).unwrap() % nodes.len()]);
        writers.spawn(async move {
            for version in 0..EACH {
                let first = u128::from(id * EACH + version + 1);
                log.append(append(&id.to_string(), version, first, 1, vec![])).await.unwrap();
            }
        });
    }
    let read = join_all(nodes.iter().map(|log| async move {
        let (mut from, mut seen) = (Position::START, Vec::new());
        while (seen.len() as u64) < STREAMS * EACH {
            log.changed_after(from).await;
            let page = log.read_log(from, 7).await.unwrap();
            assert_eq!(page.through, page.events.last().map_or(from, |last| last.position));
            from = page.through;
            seen.extend(page.events);
        }
        seen
    }))
    .await;
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    let whole = nodes[0].read_log(Position::START, usize::MAX).await.unwrap().events;
    assert_eq!(whole.len() as u64, STREAMS * EACH);
    for seen in read {
        assert_eq!(seen, whole, "nothing was skipped, doubled or moved");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_swap_claims_and_race_for_streams_end_each_append_in_one_way() {
    const ROUNDS: u128 = 25;
    let Some(database) = test_database() else { return };
    let nodes = nodes(&database.await, 3).await;
    let names = ["x", "y"];
    let racers = nodes.iter().enumerate().map(|(node, log)| async move {
        let (mut written, mut refused) = (0_u64, 0_u64);
        for round in 0..ROUNDS {
            let id = 1 + (node as u128) * 10_000 + round * 10;
            let expected = log.head_of(&stream("shared")).await.unwrap().0;
            let (mine, other) = (names[node % 2], names[(node + 1) % 2]);
            let swap = vec![Claim::Free { key: key(mine) }, take(other)];
            let own = format!("own-{node}");
            let both = [
                append("shared", expected, id, 2, vec![take("both")]),
                append(&own, u64::try_from(round).unwrap(), id + 5, 1, swap),
            ];
            let [shared, swapped] = both.map(|append| log.append(append));
            let (shared, swapped) = tokio::join!(shared, swapped);
            match shared {
                Ok(_) => written += 2,
                Err(AppendError::Conflict { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
            match swapped {
                Ok(_) => {}
                Err(AppendError::ClaimTaken { .. }) => {
                    let id = id + 8;
                    let rest = append(&own, u64::try_from(round).unwrap(), id, 1, vec![]);
                    log.append(rest).await.unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
        (written, refused)
    });
    let ended = tokio::time::timeout(Duration::from_mins(1), join_all(racers)).await.unwrap();
    let written: u64 = ended.iter().map(|(written, _)| written).sum();
    assert_eq!(nodes[0].head_of(&stream("shared")).await, Ok(Version(written)));
    // The barrier: what other nodes acknowledged is at or before the head.
    nodes[1].head().await.unwrap();
    let events = nodes[1].read_log(Position::START, usize::MAX).await.unwrap().events;
    assert_eq!(events.len() as u128, u128::from(written) + ROUNDS * nodes.len() as u128);
}

#[tokio::test]
async fn an_append_of_another_node_wakes_a_waiter_and_is_repeated_by_any_node() {
    let Some(database) = test_database() else { return };
    let nodes = nodes(&database.await, 2).await;
    let sent = append("a", 0, 1, 2, vec![take("k")]);
    let (first, ()) =
        tokio::join!(nodes[0].append(sent.clone()), nodes[1].changed_after(Position::START));
    assert_eq!(nodes[1].append(sent.clone()).await, first);
    nodes[1].append(append("a", 2, 5, 1, vec![])).await.unwrap();
    assert_eq!(nodes[0].append(sent).await, first, "also when the stream moved on");
    let stale = nodes[0].append(append("a", 2, 9, 1, vec![])).await;
    assert_eq!(stale, Err(AppendError::Conflict { actual: Version(3) }));
}

#[tokio::test]
async fn a_log_is_read_from_its_beginning_by_a_node_that_came_later() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let first = database.log(ManualClock::new()).await;
    for number in 0..3_u128 {
        let sent = append(&number.to_string(), 0, 1 + number * 500, 500, vec![]);
        first.append(sent).await.unwrap();
    }
    let whole = first.read_log(Position::START, usize::MAX).await.unwrap().events;
    let later = database.log(ManualClock::new()).await;
    later.head().await.unwrap();
    assert_eq!(later.read_log(Position::START, usize::MAX).await.unwrap().events, whole);
    let page = later.read_log(whole[9].position, 1_200).await.unwrap();
    assert_eq!(page.events, whole[10..1_210], "more than one query's rows");
    let large = later.append(append("large", 0, 5_000, 1_001, vec![])).await;
    assert!(matches!(large, Err(AppendError::Store(_))), "{large:?}");
}

#[tokio::test]
async fn notifications_are_sent_after_appends_and_are_fewer_than_these() {
    const APPENDS: u64 = 200;
    let Some(database) = test_database() else { return };
    let database = database.await;
    let owner = database.owner().await;
    let mut listener = PgListener::connect_with(&owner).await.unwrap();
    listener.listen("stateward_log").await.unwrap();
    let log = database.log(ManualClock::new()).await;
    for version in 0..APPENDS {
        log.append(append("a", version, 1 + u128::from(version), 1, vec![])).await.unwrap();
    }
    let first = tokio::time::timeout(Duration::from_secs(10), listener.recv()).await;
    assert_eq!(first.unwrap().unwrap().channel(), "stateward_log");
    let mut count = 1;
    while let Some(_more) = listener.next_buffered() {
        count += 1;
    }
    assert!(count < APPENDS, "{count}");
}

#[tokio::test]
async fn the_lag_of_a_position_is_counted_in_events_and_is_the_same_for_every_node() {
    let Some(database) = test_database() else { return };
    let database = database.await;
    let connections = [database.connect().await, database.connect().await];
    let clock = ManualClock::new();
    let log = Log::open(connections[0].clone(), clock.clone()).await.unwrap();
    let first = log.append(append("a", 0, 1, 3, vec![])).await.unwrap().position;
    let recorded_at = clock.now();
    let last = log.append(append("b", 0, 11, 2, vec![])).await.unwrap().position;
    for (connection, written) in connections.iter().zip([(2, 5), (0, 0)]) {
        let health = Health::new(connection.clone());
        for (position, events) in [(Position::START, 5), (first, 2), (last, 0)] {
            let lag = health.lag(position, last).await.unwrap();
            assert_eq!(lag.events, events, "{position}");
            assert_eq!(lag.since.is_some(), position != Position::START);
            assert!(lag.since.is_none_or(|since| since >= recorded_at), "{lag:?}");
        }
        let counters = health.counters().unwrap();
        assert_eq!((counters.batches, counters.batch_events), written);
        assert_eq!(counters.failovers, 0);
    }
}
