//! The concurrency of a backend holds for all nodes together, and is used by those that can use the backend.

use serde_json::json;

use super::{CONCURRENCY, Nodes};
use crate::harness::WAIT_MAX;

/// Most requests that the world had at once.
async fn most(nodes: &Nodes) -> usize {
    usize::try_from(nodes.world.counts().await.max_in_flight).unwrap()
}

/// Declares things over these nodes until the whole concurrency was used; their ids.
async fn declare_until_used(nodes: &Nodes, over: &[usize]) -> Vec<String> {
    let (mut ids, began) = (Vec::new(), tokio::time::Instant::now());
    while most(nodes).await < CONCURRENCY {
        assert!(began.elapsed() < WAIT_MAX, "{} of {CONCURRENCY} are used", most(nodes).await);
        for _ in 0..20 {
            let name = format!("many-{}", ids.len());
            ids.push(
                nodes.declare(over[ids.len() % over.len()], &name, json!({ "size": 1 })).await.0,
            );
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn all_nodes_together_keep_within_a_backends_concurrency_and_use_it() {
    let Some(nodes) = Nodes::start(3).await else { return };
    nodes.world.latency(300).await;
    let ids = declare_until_used(&nodes, &[0, 1, 2]).await;
    for (number, id) in ids.iter().enumerate() {
        nodes.client(number).reaches(id, "ok").await;
    }
    let counts = nodes.world.counts().await;
    counts.assert_none_twice();
    // One request of a sweep and one of a health check may run beside the rounds.
    let most = usize::try_from(counts.max_in_flight).unwrap();
    assert!((CONCURRENCY..=CONCURRENCY + 2).contains(&most), "{most} at once");
}

/// The rounds that run already last longer than a node needs to join.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_beside_long_rounds_do_not_exceed_the_concurrency() {
    let Some(mut nodes) = Nodes::start(1).await else { return };
    nodes.join("all").await;
    nodes.join("worker").await;
    nodes.world.latency(5_000).await;
    let mut ids = Vec::new();
    for number in 0..CONCURRENCY + 3 {
        ids.push(nodes.declare(0, &format!("t{number}"), json!({ "size": 1 })).await.0);
    }
    for id in &ids {
        nodes.client(0).reaches(id, "ok").await;
    }
    nodes.world.counts().await.assert_none_twice();
    // One request of a sweep and one of a health check may run beside the rounds.
    let most = most(&nodes).await;
    assert!((CONCURRENCY..=CONCURRENCY + 2).contains(&most), "{most} at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_cannot_use_a_backend_take_nothing_of_it_and_hold_no_other_up() {
    let Some(mut nodes) = Nodes::start(0).await else { return };
    nodes.joined_with("all", &["--observe-only"], "sandbox").await;
    nodes.joined_with("all", &[], "other").await;
    nodes.join("api").await;
    nodes.join("worker").await;
    nodes.know_each_other().await;
    nodes.world.latency(300).await;
    let ids = declare_until_used(&nodes, &[0, 3]).await;
    for (number, id) in ids.iter().enumerate() {
        nodes.client(number).reaches(id, "ok").await;
    }
    nodes.world.counts().await.assert_none_twice();
    // The last one ran all rounds.
    for node in 0..4 {
        let metrics = nodes.client(node).metrics().await;
        let rounds = |line: &str| line.starts_with("stateward_round_seconds_count{");
        let ran = metrics.lines().any(|line| rounds(line) && line.contains("\"sandbox\""));
        assert_eq!(ran, node == 3, "node {node}");
    }
}
