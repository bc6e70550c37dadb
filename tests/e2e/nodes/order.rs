//! Watchers on different nodes see one order, and every event once.

use std::collections::BTreeSet;

use serde_json::json;

use super::Nodes;
use crate::harness::WAIT_MAX;
use crate::watch::{Seen, listen};

/// Clients that write at the same time, and what each of them declares.
const CLIENTS: usize = 16;
const EACH: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn watchers_on_two_nodes_see_every_event_once_in_one_order_while_three_write() {
    let Some(nodes) = Nodes::start(3).await else { return };
    let head = nodes.declare(0, "first", json!({ "size": 1 })).await.1;
    let query = format!("type=entity.create_requested&after={head}");
    let watchers: Vec<_> = (0..2)
        .map(|node| {
            let (client, query) = (nodes.client(node).clone(), query.clone());
            tokio::spawn(async move {
                let mut seen = Seen::default();
                let all = listen(&client, &query, &mut seen, CLIENTS * EACH);
                assert!(tokio::time::timeout(WAIT_MAX, all).await.is_ok(), "not all events came");
                seen
            })
        })
        .collect();
    let nodes = std::sync::Arc::new(nodes);
    let writers: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let nodes = std::sync::Arc::clone(&nodes);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let name = format!("w-{client}-{number}");
                    nodes.declare(client + number, &name, json!({ "size": 1 })).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut seen = Vec::new();
    for watcher in watchers {
        seen.push(watcher.await.unwrap());
    }
    assert_eq!(seen[0].positions, seen[1].positions, "one order");
    assert!(seen[0].positions.is_sorted(), "positions of one epoch rise");
    let names: BTreeSet<_> = seen[0].names.iter().collect();
    assert_eq!((names.len(), seen[0].names.len()), (CLIENTS * EACH, CLIENTS * EACH), "each once");
}
