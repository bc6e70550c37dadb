//! Several nodes on one PostgreSQL.

mod access;
mod clocks;
mod concurrency;
mod example;
mod failures;
mod held;
mod linearizable;
mod losses;
mod order;
mod upgrade;
mod verbs;
mod work;

use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Client, Database, Server, Setup, World, text, until};

/// The first administrator's token that the nodes share.
const TOKEN: &str = "stw_shared-by-all-nodes";
/// Rounds that all nodes together may run at the same time.
const CONCURRENCY: usize = 5;

/// Nodes of one database, and a world that outlives them.
struct Nodes {
    world: World,
    database: Arc<Database>,
    setups: Vec<Setup>,
    servers: Vec<Server>,
    /// More arguments of each node that joins.
    arguments: &'static [&'static str],
    /// Further settings of the backend.
    backend_settings: &'static str,
}

impl Nodes {
    /// `count` nodes with every role; `None` where PostgreSQL is missing.
    #[track_caller]
    fn start(count: usize) -> impl Future<Output = Option<Self>> {
        Self::start_with(count, &[])
    }

    /// As [`start`](Self::start), with more arguments.
    #[track_caller]
    fn start_with(
        count: usize,
        arguments: &'static [&'static str],
    ) -> impl Future<Output = Option<Self>> {
        let database = Database::shared();
        async move {
            let (database, world) = (database?, World::start().await);
            let (setups, servers) = (Vec::new(), Vec::new());
            let mut nodes =
                Self { world, database, setups, servers, arguments, backend_settings: "" };
            for _ in 0..count {
                nodes.join("all").await;
            }
            nodes.know_each_other().await;
            Some(nodes)
        }
    }

    /// One more node.
    async fn join(&mut self, role: &str) {
        self.joined(role, "").await.expect("ready");
    }

    /// One more node with these crash points. The error is its output when it dies before it is ready.
    async fn joined(&mut self, role: &str, crash_points: &str) -> Result<(), String> {
        self.started(role, &[], "sandbox", crash_points).await
    }

    /// One more node with these arguments, whose only backend is called `backend`.
    async fn joined_with(&mut self, role: &str, arguments: &[&str], backend: &str) {
        self.started(role, arguments, backend, "").await.expect("ready");
    }

    async fn started(
        &mut self,
        role: &str,
        arguments: &[&str],
        backend: &str,
        crash_points: &str,
    ) -> Result<(), String> {
        let config = format!(
            "[server]\nadmin_token = {{ file = \"secret\" }}\n\
             [workers]\nlease = \"2s\"\nlease_margin = \"500ms\"\nsweep_interval = \"1s\"\n\
             [backends.{backend}]\ndriver = \"fake\"\nurl = \"{}\"\nconcurrency = {CONCURRENCY}\n\
             retry = {{ first = \"50ms\", max = \"500ms\" }}\n{}",
            self.world.url, self.backend_settings
        );
        let setup = Setup::sharing(&self.database, &config, Some(TOKEN));
        std::fs::write(setup.folder.path().join("secret"), TOKEN).unwrap();
        let mut command = setup.command();
        command.args(["--role", role]).args(self.arguments).args(arguments);
        command.env("FAILPOINTS", crash_points);
        let server = Server::with_token(command, Ok(TOKEN.to_owned())).await?;
        self.setups.push(setup);
        self.servers.push(server);
        Ok(())
    }

    /// A worker that dies at `point`, before or after it is ready.
    async fn dies_at(&mut self, point: &str) {
        if self.joined("worker", &format!("{point}=return")).await.is_ok() {
            let mut worker = self.servers.pop().expect("it joined");
            assert!(worker.ended().await.code().is_none(), "it did not die at {point}");
        }
    }

    /// Waits until every node counts all others as members.
    async fn know_each_other(&self) {
        for server in &self.servers {
            until("each node knows all others", async || {
                let nodes = server.client.get("/v1/nodes").await.body;
                let known = nodes["items"].as_array().map_or(0, Vec::len);
                (known >= self.servers.len()).then_some(())
            })
            .await;
        }
    }

    fn client(&self, node: usize) -> &Client {
        &self.servers[node % self.servers.len()].client
    }

    /// Posts nothing to this path of the first node.
    async fn post(&self, path: &str) {
        let reply = self.client(0).send(Method::POST, path, None, &[]).await.expect("an answer");
        assert!(reply.status.is_success(), "{:#}", reply.body);
    }

    /// Declares a thing over a node; its id and the position.
    async fn declare(&self, node: usize, name: &str, desired: Value) -> (String, String) {
        let body = crate::harness::thing(name, desired);
        let request = self.client(node).request(Method::POST, "/v1/entities").json(&body);
        let reply = request.send().await.expect("an answer");
        assert!(reply.status().is_success(), "{reply:?}");
        let position = reply.headers()["Stateward-Position"].to_str().unwrap().to_owned();
        let body: Value = reply.json().await.unwrap();
        (text(&body["entity"]["id"]), position)
    }
}
