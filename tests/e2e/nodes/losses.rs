//! Databases that lost the end of the log, as after the promotion of an asynchronous standby: what was made in between is
//! not made twice.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::Nodes;
use crate::harness::until;

/// Things that are declared before the loss.
const THINGS: usize = 4;

/// Nodes whose log has `THINGS` declared things and no intent to create one, then lost what made them.
struct Loss {
    nodes: Nodes,
    ids: Vec<String>,
}

impl Loss {
    /// `None` where PostgreSQL is missing. `seen`: a process lives on that remembers what was lost; else the database was
    /// restored.
    async fn begin(seen: bool) -> Option<Self> {
        let mut nodes = Nodes::start(0).await?;
        nodes.backend_settings = "call_timeout = \"2s\"\n";
        nodes.join("all").await;
        nodes.post("/v1/backends/sandbox/actions/pause").await;
        let mut ids = Vec::new();
        for number in 0..THINGS {
            ids.push(nodes.declare(0, &format!("t{number}"), json!({ "size": 1 })).await.0);
        }
        nodes.servers.remove(0).kill_now().await;
        let saved = nodes.database.save();

        nodes.join("all").await;
        nodes.join("api").await;
        nodes.post("/v1/backends/sandbox/actions/resume").await;
        for id in &ids {
            nodes.client(1).reaches(id, "ok").await;
        }
        assert_eq!(nodes.world.counts().await.objects, THINGS as u64);
        nodes.servers.remove(0).kill_now().await;
        let mut witness = nodes.servers.remove(0);
        if !seen {
            witness.kill_now().await;
        }
        nodes.database.restore(&saved, seen);
        if seen {
            assert_eq!(witness.ended().await.code(), Some(1), "{}", witness.said());
            assert!(witness.said().contains("are gone"), "{}", witness.said());
        }

        nodes.join("all").await;
        let ready = nodes.client(0).get("/readyz").await.body;
        assert_eq!(ready["observe_only"], !seen, "{ready:#}");
        if !seen {
            let reply =
                nodes.client(0).send(Method::POST, "/v1/system/unfreeze", None, &[]).await.unwrap();
            assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
        }
        Some(Self { nodes, ids })
    }

    /// Deletes the first thing, then lets the backend act: there is one object for each other thing.
    async fn repair(self) {
        let Self { nodes, ids } = self;
        let client = nodes.client(0);
        let gone = format!("/v1/entities/{}", ids[0]);
        let reply = client.send(Method::DELETE, &gone, None, &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
        nodes.post("/v1/backends/sandbox/actions/resume").await;
        for id in &ids[1..] {
            client.reaches(id, "ok").await;
        }
        client.reaches(&ids[0], "deleted").await;
        until("the object of the deleted thing is gone", async || {
            (nodes.world.counts().await.objects == THINGS as u64 - 1).then_some(())
        })
        .await;
        nodes.world.counts().await.assert_none_twice();
        let (later, _) = nodes.declare(0, "later", json!({ "size": 1 })).await;
        client.reaches(&later, "ok").await;
        assert_eq!(nodes.world.counts().await.objects, THINGS as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_by_a_lost_intent_is_found_and_not_made_twice() {
    let Some(loss) = Loss::begin(true).await else { return };
    loss.repair().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_after_a_backup_is_found_and_not_made_twice() {
    let Some(loss) = Loss::begin(false).await else { return };
    loss.repair().await;
}
