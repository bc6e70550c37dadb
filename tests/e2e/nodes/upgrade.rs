//! Nodes of two versions on one log: the newer writes an event that the older cannot read.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Nodes;
use crate::harness::{thing, until};

/// Makes a node one of the next version, which brings this type of event.
const NEXT: &str = "engine::catalogue::next=return(entity.refresh_requested)";

#[tokio::test(flavor = "multi_thread")]
async fn a_new_type_of_event_is_written_once_no_older_node_is_left_and_then_bars_them() {
    let Some(mut nodes) = Nodes::start(2).await else { return };
    let (id, _) = nodes.declare(0, "it", json!({ "size": 1 })).await;
    nodes.client(0).reaches(&id, "ok").await;
    nodes.joined("all", NEXT).await.unwrap();
    nodes.know_each_other().await;

    let refresh = format!("/v1/entities/{id}/actions/refresh");
    let newer = nodes.servers.len() - 1;
    for _ in 0..2 {
        let reply = nodes.client(newer).send(Method::POST, &refresh, None, &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE, "{:#}", reply.body);
        let said = reply.body["detail"].to_string();
        assert!(said.contains("entity.refresh_requested"), "{said}");
    }
    let known = thing("b", json!({ "size": 1 }));
    nodes.client(newer).done(Method::POST, "/v1/entities", known).await;

    // One is stopped in order, the other is killed: it counts until its heartbeat is missed.
    nodes.servers.remove(0).terminate().await;
    nodes.servers[0].kill_now().await;
    let newer = nodes.servers.pop().expect("the newer node");
    until("the older nodes are gone", async || {
        let reply = newer.client.send(Method::POST, &refresh, None, &[]).await.unwrap();
        reply.status.is_success().then_some(())
    })
    .await;

    let said = nodes.joined("all", "").await.expect_err("an older node");
    assert!(said.contains("catalogue 2") && said.contains("use a newer stateward"), "{said}");
    let history = newer.client.get(&format!("/v1/entities/{id}/events")).await.body;
    assert_eq!(count(&history, "entity.refresh_requested"), 1, "{history:#}");
    nodes.joined("all", NEXT).await.expect("one of the same version");
}

fn count(events: &Value, event_type: &str) -> usize {
    let all = events["items"].as_array().expect("items");
    all.iter().filter(|event| event["type"] == event_type).count()
}
