//! Verification and checkpoints over REST.

use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{flip, live, verified};
use crate::harness::{Client, Setup, World, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_working_server_s_log_is_sound_while_it_works_and_after_it_was_killed() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    let mut checkpoints = Vec::new();
    for seed in 0..3 {
        // Verified while rounds run: concurrent changes are no fault.
        let (report, ()) = tokio::join!(verified(&server.client, None), live(&server.client, seed));
        assert_eq!(report["ok"], true, "{report:#}");
        let checkpoint = server.client.get("/v1/audit/checkpoint").await;
        assert_eq!(checkpoint.status, StatusCode::OK);
        checkpoints.push(checkpoint.body);
        server.kill_now().await;
        server = setup.start().await;
        for checkpoint in &checkpoints {
            let body = json!({ "against": checkpoint });
            let report = verified(&server.client, Some(&body)).await;
            assert_eq!(report["ok"], true, "{report:#}");
        }
    }
    let client = &server.client;
    let settled = until("the read model has all", async || {
        let report = verified(client, None).await;
        (report["entities"].as_u64() == Some(75)).then_some(report)
    })
    .await;
    assert!(settled["events"].as_u64() > Some(300), "{settled:#}");
    assert!(settled["streams"].as_u64() > Some(75));
    assert_eq!(settled["checkpoint"]["count"], settled["events"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_in_the_file_is_named() {
    let setup = Setup::new("");
    let mut server = setup.start().await;
    let id = server.client.thing("kept", json!({ "size": 1 })).await;
    server.client.thing("other", json!({ "size": 1 })).await;
    let checkpoint = server.client.get("/v1/audit/checkpoint").await.body;
    assert!(server.terminate().await.success());
    // The id in the payload of its creation: one bit flipped, still valid JSON.
    let needle = format!("\"entity_id\":\"{id}\"");
    flip(&setup.data().join("events.db"), &needle, needle.len() - 2, 1);

    let server = setup.start().await;
    let report = verified(&server.client, Some(&json!({ "against": checkpoint }))).await;
    assert_eq!(report["ok"], false, "{report:#}");
    let fault = &report["faults"][0];
    assert_eq!(fault["stream"], format!("entity/{id}"), "{report:#}");
    assert_eq!((&fault["version"], &fault["fault"]), (&json!(1), &json!("hash")));
    assert!(fault["position"].is_string() && fault["detail"].is_string());

    let mut later = checkpoint.clone();
    later["count"] = json!(checkpoint["count"].as_u64().unwrap() + 1_000);
    let report = verified(&server.client, Some(&json!({ "against": later }))).await;
    assert!(report.to_string().contains("it was cut"), "{report:#}");
}

/// The lines of a verification with progress.
async fn lines(client: &Client) -> Vec<Value> {
    let request = client.request(Method::POST, "/v1/audit/verify");
    let response = request.header("Accept", "application/x-ndjson").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let (mut pieces, mut text) = (response.bytes_stream(), String::new());
    while let Some(piece) = pieces.next().await {
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_comes_as_lines_and_bodies_that_make_no_sense_are_refused() {
    let setup = Setup::new("");
    let server = setup.start().await;
    server.client.thing("one", json!({ "size": 1 })).await;
    let lines = lines(&server.client).await;
    let (last, before) = lines.split_last().unwrap();
    assert_eq!(last["result"]["ok"], true, "{lines:?}");
    assert!(before.iter().all(|line| line["progress"]["total"].is_u64()), "{lines:?}");

    let mut endless = last["result"]["checkpoint"].clone();
    endless["count"] = json!(u64::MAX);
    for (body, status) in [
        (json!({ "against": endless }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "against": { "count": 1 } }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "against": 7 }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({ "since": 7 }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!([]), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let path = "/v1/audit/verify";
        let reply = server.client.send(Method::POST, path, Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, status, "{body}: {:#}", reply.body);
        assert!(text(&reply.body["type"]).starts_with("urn:"), "{:#}", reply.body);
    }
    let reply = server.client.get("/v1/audit/export?until=x").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_verification_at_a_time_and_others_get_a_retry_after() {
    let setup = Setup::new("");
    let server = setup.start().await;
    for number in 0..20 {
        server.client.thing(&format!("t{number}"), json!({ "size": number })).await;
    }
    let ask = || server.client.request(Method::POST, "/v1/audit/verify").send();
    let replies = futures_util::future::join_all((0..24).map(|_| ask())).await;
    let (mut sound, mut busy) = (0, 0);
    for reply in replies {
        let reply = reply.unwrap();
        match reply.status() {
            StatusCode::OK => sound += 1,
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(reply.headers().contains_key("retry-after"));
                busy += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(sound > 0 && busy > 0, "{sound} verified, {busy} came later");
    assert_eq!(verified(&server.client, None).await["ok"], true, "its turn is over");
}
