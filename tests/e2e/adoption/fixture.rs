//! A log of an older version, in which two entities hold one file: imported, and the effects.

use std::path::Path;
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::CONFIG;
use crate::harness::{Client, Setup, condition, reason, until};

async fn named(client: &Client, name: &str) -> Value {
    let entities = client.entities().await;
    entities.into_iter().find(|entity| entity["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_entities_that_held_one_file_the_older_one_has_it_and_both_show_it() {
    let setup = Setup::new(CONFIG);
    let export =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/two-holders/export.jsonl");
    let imported = Command::new(env!("CARGO_BIN_EXE_stateward"))
        .args(["audit", "import"])
        .arg(export)
        .arg("--data")
        .arg(setup.data())
        .stdout(Stdio::null())
        .status()
        .await
        .unwrap();
    assert!(imported.success());
    std::fs::create_dir_all(setup.managed()).unwrap();
    std::fs::write(setup.managed().join("shared.txt"), "one").unwrap();
    let server = setup.start().await;
    let client = &server.client;
    let (older, newer) = until("both show it", async || {
        let (older, newer) = (named(client, "mine").await, named(client, "theirs").await);
        let shown = reason(&older, "blocked") == "ObjectShared" && condition(&newer, "blocked");
        shown.then_some((older, newer))
    })
    .await;
    assert!(!condition(&older, "blocked"), "{older:#}");
    assert_eq!(reason(&newer, "blocked"), "ObjectTaken", "{newer:#}");
    assert_eq!(newer["observed"]["attributes"], Value::Null, "{newer:#}");
    let verified = async || {
        let report = client.send(Method::POST, "/v1/audit/verify", None, &[]).await.unwrap();
        assert_eq!(report.body["ok"], true, "{:#}", report.body);
    };
    verified().await;

    // The backends have other identities than those in the log: a person confirms them.
    for backend in ["local", "sandbox"] {
        let path = format!("/v1/backends/{backend}/actions/resume");
        until("the backend may be asked", async || {
            let reply = client.send(Method::POST, &path, Some(&json!({})), &[]).await.unwrap();
            reply.status.is_success().then_some(())
        })
        .await;
    }
    let release =
        |entity: &Value| format!("/v1/entities/{}/actions/release", entity["id"].as_str().unwrap());
    client.send(Method::POST, &release(&newer), Some(&json!({})), &[]).await.unwrap();
    until("nobody contends for it any more", async || {
        let older = named(client, "mine").await;
        (reason(&older, "blocked") == "NotBlocked").then_some(())
    })
    .await;
    verified().await;
}
