//! A client of one server, with its token.

use std::net::SocketAddr;

use anyhow::Context;
use serde_json::Value;

use super::super::http::RawConnection;
use super::super::process_usage::{self, Process};

pub(super) struct Api {
    address: SocketAddr,
    connection: RawConnection,
    token: String,
}

impl Api {
    pub(super) async fn open(server: &Process, folder: &std::path::Path) -> anyhow::Result<Self> {
        let connection = RawConnection::open(server.address).await?;
        Ok(Self { address: server.address, connection, token: process_usage::token(folder)? })
    }

    /// Opens a new connection: a server closes idle ones, such as the small server's while the large one is filled.
    pub(super) async fn reconnect(&mut self) -> anyhow::Result<()> {
        self.connection = RawConnection::open(self.address).await?;
        Ok(())
    }

    /// Sends a request that has to succeed; the body of the response.
    pub(super) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> anyhow::Result<Vec<u8>> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let answer = self.connection.exchange(request.as_bytes()).await?;
        let said =
            || String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
        anyhow::ensure!(answer.status < 300, "{path} answered {}: {}", answer.status, said());
        Ok(answer.body.to_vec())
    }

    pub(super) async fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let body = self.send("GET", path, "", "").await?;
        serde_json::from_slice(&body).with_context(|| format!("{path} answers no JSON"))
    }

    /// The number of items of a page; 0 for what is no list. Counted in the text, because parsing would cost more.
    pub(super) async fn count(&mut self, path: &str) -> anyhow::Result<usize> {
        const ITEM: &[u8] = b"{\"id\":\"";
        let body = self.send("GET", path, "", "").await?;
        Ok(body.windows(ITEM.len()).filter(|window| *window == ITEM).count())
    }

    /// The number of entities in this state, from the metrics.
    pub(super) async fn counted(&mut self, state: &str) -> anyhow::Result<u64> {
        let body = self.send("GET", "/metrics", "", "").await?;
        let text = std::str::from_utf8(&body)?;
        let state = format!("state=\"{state}\"");
        let counts = text.lines().filter_map(|line| {
            let (labels, count) = line.strip_prefix("stateward_entities{")?.split_once("} ")?;
            labels.contains(&state).then(|| count.parse::<u64>().ok())?
        });
        Ok(counts.sum())
    }
}
