//! What keeps work from being done, and its end, holds on every node.

use reqwest::Method;
use serde_json::{Value, json};

use super::Nodes;
use crate::harness::{text, until};

async fn act(nodes: &Nodes, node: usize, path: &str, reason: &str) {
    let body = json!({ "reason": reason });
    let reply = nodes.client(node).send(Method::POST, path, Some(&body), &[]).await.unwrap();
    assert!(reply.status.is_success(), "{path}: {:#}", reply.body);
}

/// Waits until every node shows of `path` what `is` says.
async fn all_show(nodes: &Nodes, path: &str, is: impl Fn(&Value) -> bool + Send + Sync) {
    for (number, server) in nodes.servers.iter().enumerate() {
        until(&format!("{path} on node {number}"), async || {
            is(&server.client.get(path).await.body).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_one_node_parked_is_parked_on_all_until_a_person_resumes_it_on_any() {
    const BACKEND: &str = "/v1/backends/sandbox";
    let Some(nodes) = Nodes::start(3).await else { return };
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(nodes.declare(number, &format!("t{number}"), json!({ "size": 1 })).await.0);
    }
    for (number, id) in ids.iter().enumerate() {
        let entity = nodes.client(number).reaches(id, "ok").await;
        nodes.world.take_away(&text(&entity["observed"]["external_id"])).await;
    }
    // The node that finds the first absence too much of all parks the backend.
    for (number, id) in ids.iter().enumerate() {
        let refresh = format!("/v1/entities/{id}/actions/refresh");
        let reply = nodes.client(number).send(Method::POST, &refresh, None, &[]).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
    }
    all_show(&nodes, BACKEND, |backend| backend["closed"].to_string().contains("mass_absence"))
        .await;
    let objects = nodes.world.counts().await.objects;
    let (held, _) = nodes.declare(1, "held", json!({ "size": 1 })).await;
    act(&nodes, 2, &format!("{BACKEND}/actions/resume"), "taken away on purpose").await;
    all_show(&nodes, BACKEND, |backend| backend["open"] == true).await;
    nodes.client(0).reaches(&held, "ok").await;
    assert!(nodes.world.counts().await.objects > objects);
    let parked = nodes.client(1).get("/v1/events?type=backend.parked").await.body;
    assert_eq!(parked["items"].as_array().expect("items").len(), 1, "once for all: {parked:#}");
}

/// Five absences are tolerated of all nodes together, not of each.
#[tokio::test(flavor = "multi_thread")]
async fn absences_that_are_too_many_together_park_the_backend_and_no_more_than_five_are_made_anew()
{
    const THINGS: usize = 14;
    let Some(mut nodes) = Nodes::start(0).await else { return };
    nodes.backend_settings = "breaker = { probe_interval = \"200ms\" }\n";
    for _ in 0..3 {
        nodes.join("all").await;
    }
    nodes.know_each_other().await;
    let mut ids = Vec::new();
    for number in 0..THINGS {
        ids.push(nodes.declare(number, &format!("t{number}"), json!({ "size": 1 })).await.0);
    }
    for (number, id) in ids.iter().enumerate() {
        let entity = nodes.client(number).reaches(id, "ok").await;
        nodes.world.take_away(&text(&entity["observed"]["external_id"])).await;
    }
    // Slow enough that all nodes take part.
    nodes.world.latency(50).await;
    for (number, id) in ids.iter().enumerate() {
        let refresh = format!("/v1/entities/{id}/actions/refresh");
        let reply = nodes.client(number).send(Method::POST, &refresh, None, &[]).await.unwrap();
        assert!(reply.status.is_success(), "{:#}", reply.body);
    }
    all_show(&nodes, "/v1/backends/sandbox", |backend| {
        backend["closed"].to_string().contains("mass_absence")
    })
    .await;
    for id in &ids {
        until("it waits for a person, or is there again", async || {
            let entity = nodes.client(0).entity(id).await;
            let blocked = crate::harness::condition(&entity, "blocked");
            (blocked || entity["observed"]["presence"] == "present" && entity["state"] == "ok")
                .then_some(())
        })
        .await;
    }
    let objects = nodes.world.counts().await.objects;
    assert!(objects <= 5, "{objects} were made anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfreeze_on_one_node_lets_all_of_them_work() {
    let Some(nodes) = Nodes::start_with(3, &["--observe-only"]).await else { return };
    let observes = |expected: bool| move |ready: &Value| ready["observe_only"] == expected;
    all_show(&nodes, "/readyz", observes(true)).await;
    let shown = async |cause: &'static str| {
        let all = move |list: &Value| {
            let mut nodes = list["items"].as_array().expect("items").iter();
            nodes.all(|node| {
                let shown = text(&node["observe_only_cause"]);
                shown == cause && node["observe_only"] == !cause.is_empty()
            })
        };
        all_show(&nodes, "/v1/nodes", all).await;
    };
    shown("argument").await;
    let mut ids = Vec::new();
    for number in 0..9 {
        ids.push(nodes.declare(number, &format!("t{number}"), json!({ "size": 1 })).await.0);
    }
    // Whichever node runs their rounds: they observe and change nothing.
    for (number, id) in ids.iter().enumerate() {
        let refresh = format!("/v1/entities/{id}/actions/refresh");
        nodes.client(number + 1).done(Method::POST, &refresh, json!({})).await;
    }
    assert_eq!(nodes.world.counts().await.objects, 0);
    act(&nodes, 1, "/v1/system/unfreeze", "checked").await;
    all_show(&nodes, "/readyz", observes(false)).await;
    shown("").await;
    for (number, id) in ids.iter().enumerate() {
        nodes.client(number).reaches(id, "ok").await;
    }
    let counts = nodes.world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, 9);
}
