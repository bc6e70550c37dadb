//! Nodes that die or freeze: the others go on, and nothing is lost, stuck or made twice.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::json;

use super::Nodes;
use crate::harness::{text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_at_work_is_taken_over_by_the_others() {
    let Some(mut nodes) = Nodes::start(3).await else { return };
    nodes.world.latency(150).await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(nodes.declare(number, &format!("t{number}"), json!({ "size": 1 })).await.0);
    }
    nodes.servers[0].kill_now().await;
    for (number, id) in ids.iter().enumerate() {
        nodes.client(1 + number % 2).reaches(id, "ok").await;
    }
    let counts = nodes.world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_frozen_for_three_leases_makes_nothing_twice_when_it_wakes() {
    let Some(nodes) = Nodes::start(3).await else { return };
    nodes.world.latency(150).await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(nodes.declare(number, &format!("t{number}"), json!({ "size": 1 })).await.0);
    }
    kill_process(nodes.servers[2].pid(), Signal::STOP).unwrap();
    for (number, id) in ids.iter().enumerate() {
        nodes.client(number % 2).reaches(id, "ok").await;
    }
    // A lease ends by time alone, without any event.
    tokio::time::sleep(Duration::from_secs(6)).await;
    kill_process(nodes.servers[2].pid(), Signal::CONT).unwrap();
    let woken = nodes.client(2).get("/v1/entities?page_size=1000").await;
    let states = woken.body["items"].as_array().expect("items");
    assert!(states.iter().all(|entity| text(&entity["state"]) == "ok"), "{:#}", woken.body);
    let (id, _) = nodes.declare(2, "after", json!({ "size": 1 })).await;
    nodes.client(2).reaches(&id, "ok").await;
    let counts = nodes.world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_credentials_are_refused_leaves_the_work_to_one_whose_are_not() {
    let Some(mut nodes) = Nodes::start(0).await else { return };
    nodes.world.wants("good").await;
    nodes.backend_settings = "token = \"good\"\nbreaker = { probe_interval = \"200ms\" }\n";
    nodes.join("all").await;
    let (first, _) = nodes.declare(0, "first", json!({ "size": 1 })).await;
    nodes.client(0).reaches(&first, "ok").await;
    nodes.backend_settings = "token = \"stale\"\nbreaker = { probe_interval = \"200ms\" }\n";
    nodes.join("all").await;
    nodes.know_each_other().await;
    until("the second node is refused", async || {
        let backend = nodes.client(1).get("/v1/backends/sandbox").await.body;
        backend["closed"].to_string().contains("refuses the token").then_some(())
    })
    .await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(nodes.declare(number, &format!("t{number}"), json!({ "size": 1 })).await.0);
    }
    for id in &ids {
        nodes.client(0).reaches(id, "ok").await;
    }
    let failed = nodes.client(0).get("/v1/events?type=entity.sync_failed").await.body;
    assert_eq!(failed["items"].as_array().map(Vec::len), Some(0), "{failed:#}");
    // Where none can use it, each says so.
    nodes.world.wants("another").await;
    let (blocked, _) = nodes.declare(0, "blocked", json!({ "size": 1 })).await;
    until("it is blocked", async || {
        let entity = nodes.client(0).entity(&blocked).await;
        crate::harness::condition(&entity, "blocked").then_some(())
    })
    .await;
}

/// Points around the creation of an object; with `STATEWARD_TEST_CRASH_POINTS=all` every point.
fn is_tried(point: &str) -> bool {
    let all = std::env::var("STATEWARD_TEST_CRASH_POINTS").is_ok_and(|points| points == "all");
    all || point.contains("find") || point.contains("create")
}

/// A worker dies at each point of a driver's calls; the next one finishes what it left.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_leaves_at_any_point_of_a_call_is_finished_by_the_next() {
    let Some(mut nodes) = Nodes::start(0).await else { return };
    nodes.join("api").await;
    let mut ids = Vec::new();
    for point in stateward_drivers::FAILPOINTS.iter().filter(|point| is_tried(point)) {
        let name = point.replace("::", "-");
        ids.push(nodes.declare(0, &name, json!({ "size": 1 })).await.0);
        if point.contains("find") {
            // What is searched for: a creation whose outcome is not in the log.
            nodes.dies_at("driver::create::after").await;
        }
        if point.contains("find") || point.contains("create") {
            nodes.dies_at(point).await;
        } else if nodes.joined("worker", &format!("{point}=return")).await.is_ok() {
            nodes.servers.pop().expect("two").kill_now().await;
        }
        nodes.join("worker").await;
        for id in &ids {
            nodes.client(0).reaches(id, "ok").await;
        }
        nodes.servers.pop().expect("two").terminate().await;
    }
    let counts = nodes.world.counts().await;
    counts.assert_none_twice();
    assert_eq!(usize::try_from(counts.objects).unwrap(), ids.len());
}
