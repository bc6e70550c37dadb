//! A damaged row of the views: it is named, requests are refused for it rather than asked to come again, and the views
//! are rebuilt once their file is deleted.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Setup, text, until};

const CONFIG: &str = "[backends.sandbox]\ndriver = \"fake\"\ndrift_interval = \"1s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_nothing_wrote_is_named_until_the_views_are_deleted() {
    let setup = Setup::new(CONFIG);
    let mut server = setup.start().await;
    let id = server.client.thing("one", json!({ "size": 1 })).await;
    server.terminate().await;
    let views = setup.data().join("views.db");
    let bytes = std::fs::read(&views).unwrap();
    std::fs::write(&views, replaced(&bytes, id.as_bytes(), format!("z{}", &id[1..]).as_bytes()))
        .unwrap();

    let mut server = setup.start().await;
    let detail = until("the queue's fault is shown", async || {
        let ready = server.client.get("/readyz").await;
        let checks = ready.body["checks"].as_array().unwrap().clone();
        let queue = checks.into_iter().find(|check| check["name"] == "queue").unwrap();
        queue["detail"].as_str().map(str::to_owned)
    })
    .await;
    assert!(detail.contains("sandbox"), "{detail}");
    assert!(!detail.contains(&id[1..]), "no data without a token: {detail}");
    let logged = server.said();
    assert!(logged.contains("sync_leases.entity"), "the log names the row: {logged}");
    let list = server.client.get("/v1/entities").await;
    assert_eq!(list.status, StatusCode::INTERNAL_SERVER_ERROR, "{:#}", list.body);
    assert!(text(&list.body["type"]).ends_with("store-damaged"), "{:#}", list.body);
    assert!(!list.body.to_string().contains(&id[1..]), "not of what the caller may not see");

    server.terminate().await;
    std::fs::remove_file(&views).unwrap();
    let server = setup.start().await;
    assert_eq!(server.client.entities().await[0]["id"], *id);
    let ready = server.client.get("/readyz").await;
    let queue = ready.body["checks"].as_array().unwrap().iter().find(|it| it["name"] == "queue");
    assert_eq!(queue.unwrap()["ok"], true, "{:#}", ready.body);
}

/// `bytes` with each `from` replaced by `to`, which is as long.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let places: Vec<_> =
        bytes.windows(from.len()).enumerate().filter(|(_, part)| *part == from).collect();
    let places: Vec<_> = places.into_iter().map(|(place, _)| place).collect();
    assert!(!places.is_empty(), "the id is in the file");
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to);
    }
    bytes
}
