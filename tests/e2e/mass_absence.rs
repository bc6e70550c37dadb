//! Mass absence: one confirmation covers all objects that are gone at that moment, and no later ones.

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Setup, text, until};

const FILES: usize = 60;

/// Slow enough to kill a server in the middle of it.
fn setup() -> Setup {
    Setup::new(
        "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\ndrift_interval = \"500ms\"\n\
         rate = 100\nbreaker = { probe_interval = \"200ms\" }\n",
    )
}

async fn declare(client: &Client) {
    for number in 0..FILES {
        let name = format!("f{number}");
        let manifest = json!({
            "kind": "local.file", "name": name, "backend": "local",
            "desired": { "path": name, "content": name },
        });
        let reply = client.send(Method::POST, "/v1/entities", Some(&manifest), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
    }
}

fn files(managed: &Path) -> Vec<std::path::PathBuf> {
    let all = std::fs::read_dir(managed).unwrap().map(|entry| entry.unwrap());
    let ours = all.filter(|entry| entry.file_name().to_string_lossy().starts_with('f'));
    ours.map(|entry| entry.path()).collect()
}

async fn all_there(client: &Client, managed: &Path) {
    until("all files are there and known to be", async || {
        let entities = client.entities().await;
        let ok = entities.iter().all(|entity| entity["state"] == "ok" && synced(entity));
        (files(managed).len() == FILES && ok).then_some(())
    })
    .await;
}

fn synced(entity: &Value) -> bool {
    crate::harness::condition(entity, "synced")
}

fn remove_all(managed: &Path) {
    for file in files(managed) {
        std::fs::remove_file(file).unwrap();
    }
}

async fn parked(client: &Client) {
    until("parked", async || {
        let backend = client.get("/v1/backends/local").await.body;
        backend["closed"].to_string().contains("mass_absence").then_some(())
    })
    .await;
}

async fn confirm(client: &Client) {
    let reason = json!({ "reason": "I removed them" });
    let resume = "/v1/backends/local/actions/resume";
    let reply = client.send(Method::POST, resume, Some(&reason), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
}

/// How often the backend was parked so far.
async fn times_parked(client: &Client) -> usize {
    let events = client.get("/v1/events?page_size=1000&type=backend.parked").await.body;
    events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| text(&it["type"]) == "backend.parked")
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_confirmation_covers_all_that_is_gone_and_nothing_that_goes_later() {
    let setup = setup();
    let server = setup.start().await;
    let client = &server.client;
    declare(client).await;
    all_there(client, &setup.managed()).await;
    for times in 1..=2 {
        remove_all(&setup.managed());
        parked(client).await;
        confirm(client).await;
        all_there(client, &setup.managed()).await;
        assert_eq!(times_parked(client).await, times);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_outlives_the_server() {
    let setup = setup();
    let mut server = setup.start().await;
    declare(&server.client).await;
    all_there(&server.client, &setup.managed()).await;
    remove_all(&setup.managed());
    parked(&server.client).await;
    confirm(&server.client).await;
    server.kill_now().await;
    assert!(files(&setup.managed()).len() < FILES, "nothing was left to cover");
    let mut server = setup.start().await;
    all_there(&server.client, &setup.managed()).await;
    assert_eq!(times_parked(&server.client).await, 1);
    // All were observed since the confirmation: another loss is counted anew, also by the next server.
    assert!(server.terminate().await.success());
    remove_all(&setup.managed());
    let server = setup.start().await;
    parked(&server.client).await;
    assert_eq!(times_parked(&server.client).await, 2);
}
