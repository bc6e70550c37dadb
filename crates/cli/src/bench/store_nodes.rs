//! Nodes on one store, with a first administrator's token that is known before they start.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::http::RawConnection;
use super::lifecycle;
use super::process_usage::{self, Process};

/// The token of all nodes: their store is for the run alone.
pub(super) const TOKEN: &str = "stw_of-a-benchmark";
/// How long what was accepted may take until it is done.
const CONVERGENCE_MAX: Duration = Duration::from_mins(2);

/// Starts a node with its files in `folder`; `store` is the URL of a database, `None` = the embedded store. Its backend is
/// `world`, which several nodes may share; `None` = one in its memory.
pub(super) async fn start(
    folder: &Path,
    store: Option<&str>,
    role: &str,
    world: Option<&Process>,
) -> anyhow::Result<Process> {
    let store = store.map_or(String::new(), |url| format!("[store]\nurl = {url:?}\n"));
    let world =
        world.map_or(String::new(), |world| format!("url = \"http://{}\"\n", world.address));
    let settings = format!(
        "{}{world}[server]\nadmin_token = {{ file = \"secret\" }}\n{store}",
        process_usage::CONFIG
    );
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("secret"), TOKEN)?;
    Process::serve_as(folder, &settings, &["--role", role]).await
}

/// Brings a database's schema to this version.
pub(super) async fn migrate(store: &str) -> anyhow::Result<()> {
    let mut command = process_usage::this_binary()?;
    command.args(["migrate", "--url", store]).stderr(Stdio::piped());
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "migrate: {}", said.trim());
    Ok(())
}

/// Waits until as many entities as `wanted` are `ok`: the next measurement has the machine for itself.
pub(super) async fn settle(server: &Process, wanted: u64) -> anyhow::Result<()> {
    let began = Instant::now();
    while lifecycle::ok_entities(server).await? < wanted {
        ensure!(
            began.elapsed() < CONVERGENCE_MAX,
            "what was accepted is not done within {CONVERGENCE_MAX:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Waits until the number of entities that are `ok` grows no more: on a log of earlier runs some wait for a decision, because
/// the ids of a new world were taken.
pub(super) async fn until_still(server: &Process) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut before = lifecycle::ok_entities(server).await?;
    while began.elapsed() < CONVERGENCE_MAX {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = lifecycle::ok_entities(server).await?;
        if now == before {
            return Ok(());
        }
        before = now;
    }
    anyhow::bail!("what was accepted is not done within {CONVERGENCE_MAX:?}")
}

/// Sends a POST without a body; its reply, `Null` without one, and how long it took.
pub(super) async fn post(server: &Process, path: &str) -> anyhow::Result<(Value, Duration)> {
    let mut connection = RawConnection::open(server.address).await?;
    let (answer, took) = connection.post(TOKEN, path).await?;
    if answer.status == 204 {
        return Ok((Value::Null, took));
    }
    let body = answer.expect(200).with_context(|| format!("POST {path}"))?;
    Ok((serde_json::from_slice(body)?, took))
}
