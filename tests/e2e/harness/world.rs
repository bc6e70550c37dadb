//! `stateward fake-world` as a process: it outlives servers and counts what they do.

use std::collections::BTreeMap;
use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A running world.
pub(crate) struct World {
    child: Child,
    pub(crate) url: String,
    http: reqwest::Client,
}

/// The counters of a world.
#[derive(Debug, Deserialize)]
pub(crate) struct Counts {
    pub(crate) creates: BTreeMap<String, u64>,
    pub(crate) actions: BTreeMap<String, u64>,
    pub(crate) objects: u64,
    /// SHA-256 of the passwords that things were created or updated with, by id.
    pub(crate) passwords: BTreeMap<String, String>,
    /// Peak of concurrent requests.
    pub(crate) max_in_flight: u64,
    pub(crate) requests: u64,
}

impl Counts {
    /// # Panics
    /// When a thing was created twice.
    pub(crate) fn assert_none_twice(&self) {
        let twice: Vec<_> = self.creates.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "made more than once: {twice:?}");
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    /// An empty world at `address`.
    pub(crate) async fn start_at(address: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stateward"))
            .args(["fake-world", "--listen", address])
            .env_remove("FAILPOINTS")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = lines.next_line().await.expect("text").expect("an address");
        Self { child, url, http: super::client::http() }
    }

    /// Ends this world; returns its address, for a successor.
    pub(crate) async fn end(mut self) -> String {
        self.child.kill().await.expect("killed");
        self.url.trim_start_matches("http://").to_owned()
    }

    /// Sets whether it answers no request from now on.
    pub(crate) async fn down(&self, down: bool) {
        self.control(json!({ "down": down })).await;
    }

    pub(crate) async fn counts(&self) -> Counts {
        let reply = self.http.get(format!("{}/counts", self.url)).send().await.expect("alive");
        reply.json().await.expect("counts")
    }

    /// Sets the duration of each request from now on.
    pub(crate) async fn latency(&self, ms: u64) {
        self.control(json!({ "latency_ms": ms })).await;
    }

    /// Sets the token that requests need from now on.
    pub(crate) async fn wants(&self, token: &str) {
        self.control(json!({ "token": token })).await;
    }

    async fn control(&self, body: Value) {
        let request = self.http.put(format!("{}/control", self.url)).json(&body);
        assert!(request.send().await.expect("alive").status().is_success());
    }

    /// Deletes a thing directly in the world.
    pub(crate) async fn take_away(&self, id: &str) {
        let reply = self.http.delete(format!("{}/things/{id}", self.url)).send().await;
        assert!(reply.expect("alive").status().is_success());
    }

    /// Changes a thing directly in the world.
    pub(crate) async fn tamper(&self, id: &str, attributes: &Value) {
        let request = self.http.put(format!("{}/things/{id}", self.url)).json(attributes);
        assert!(request.send().await.expect("alive").status().is_success());
    }
}
