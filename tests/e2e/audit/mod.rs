//! Audits from outside: over REST beside a working server, and on its files without one.

mod backup;
mod export;
mod offline;
mod verify;

use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Client, WAIT_MAX, text, thing};

/// The output and exit code of a command.
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

/// Runs the binary with these arguments.
pub(super) async fn stateward(arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stateward"));
    command.args(arguments).env_remove("FAILPOINTS");
    let output = tokio::time::timeout(WAIT_MAX, command.output()).await;
    let output = output.expect("it ends").expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

pub(super) fn shown(path: &Path) -> &str {
    path.to_str().expect("a path that can be written")
}

/// The report of `POST /v1/audit/verify`.
pub(super) async fn verified(client: &Client, body: Option<&Value>) -> Value {
    let reply = client.send(Method::POST, "/v1/audit/verify", body, &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
    reply.body
}

/// Flips one bit of the byte at `offset` in each occurrence of `needle` in a closed file: pages keep copies of moved
/// cells.
pub(super) fn flip(file: &Path, needle: &str, offset: usize, mask: u8) {
    let mut bytes = std::fs::read(file).unwrap();
    let windows = bytes.windows(needle.len()).enumerate();
    let found: Vec<_> =
        windows.filter(|(_, window)| *window == needle.as_bytes()).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "{needle} is not there");
    for at in found {
        bytes[at + offset] ^= mask;
    }
    std::fs::write(file, &bytes).unwrap();
}

/// Some hundred events of all sorts: creations, changes, deletions, failures, drift, decisions, control events.
pub(super) async fn live(client: &Client, seed: u64) {
    let mut chance = StdRng::seed_from_u64(seed);
    let namespace = json!({ "name": format!("made-{seed}") });
    client.send(Method::POST, "/v1/namespaces", Some(&namespace), &[]).await.unwrap();
    let token = json!({ "actor": "auditor", "grants": [{ "role": "viewer" }] });
    client.send(Method::POST, "/v1/tokens", Some(&token), &[]).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..25 {
        let desired = match number % 5 {
            0 => json!({ "_fake": { "fail": { "create": "ambiguous" }, "times": 1 } }),
            1 => json!({ "_fake": { "fail": { "create": "already_exists" } } }),
            _ => json!({ "size": 0.1 + f64::from(number) / 3.0 }),
        };
        let key = format!("{seed}-{number}");
        let body = thing(&format!("t{seed}-{number}"), desired);
        let headers = [("Idempotency-Key", key.as_str()), ("Stateward-Reason", "why — “so”")];
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &headers).await;
        ids.push(text(&reply.unwrap().body["entity"]["id"]));
    }
    for _ in 0..60 {
        let id = &ids[chance.random_range(0..ids.len())];
        let path = format!("/v1/entities/{id}");
        let size = json!({ "desired": { "size": chance.random_range(0..9) } });
        let (method, path, body) = match chance.random_range(0..6) {
            0 => (Method::DELETE, path, None),
            1 => (Method::POST, format!("{path}/actions/refresh"), None),
            2 => (Method::POST, format!("{path}/actions/pause"), None),
            3 => (Method::POST, format!("{path}/actions/resume"), None),
            _ => (Method::PUT, path, Some(size)),
        };
        // Some do not apply to the present state of the entity, and are refused.
        client.send(method, &path, body.as_ref(), &[]).await.unwrap();
    }
    for id in &ids {
        let resume = format!("/v1/entities/{id}/actions/resume");
        client.send(Method::POST, &resume, None, &[]).await.unwrap();
    }
    for action in ["pause", "resume"] {
        let path = format!("/v1/backends/sandbox/actions/{action}");
        client.send(Method::POST, &path, Some(&json!({})), &[]).await.unwrap();
    }
}
