//! Reloads of the configuration: on request, on SIGHUP, and when a backend refuses our credentials.

use reqwest::{Method, StatusCode};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::{Client, Setup, World, text, thing, until};

const SANDBOX: &str = "[backends.sandbox]\ndriver = \"fake\"\n";

async fn reload(client: &Client) -> (StatusCode, Value) {
    let reply = client.send(Method::POST, "/v1/backends/reload", None, &[]).await.unwrap();
    (reply.status, reply.body)
}

fn changes(body: &Value) -> Vec<(String, String)> {
    let backends = body["backends"].as_array().unwrap().iter();
    backends.map(|backend| (text(&backend["name"]), text(&backend["change"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, change)| ((*name).to_owned(), (*change).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_come_change_and_go_while_the_server_runs() {
    let setup = Setup::new(SANDBOX);
    let mut server = setup.start().await;
    let client = server.client.clone();
    let kept = client.thing("kept", json!({ "size": 1 })).await;

    let more = format!("{SANDBOX}[backends.more]\ndriver = \"fake\"\n[namespaces.new]\n");
    setup.configure(&more);
    let (status, body) = reload(&client).await;
    assert_eq!(status, StatusCode::OK, "{body:#}");
    assert_eq!(changes(&body), pairs(&[("more", "added"), ("sandbox", "unchanged")]));
    let mut there = thing("there", json!({ "size": 1 }));
    (there["backend"], there["namespace"]) = ("more".into(), "new".into());
    let there = client.done(Method::POST, "/v1/entities", there).await;
    let path = format!("/v1/entities/{}", text(&there.body["entity"]["id"]));
    // Its world is in memory: a new connection would lose the thing.
    let refresh = format!("/v1/entities/{kept}/actions/refresh");
    client.done(Method::POST, &refresh, json!({})).await;
    assert_eq!(client.entity(&kept).await["state"], "ok");

    setup.configure(&format!("{SANDBOX}[namespaces.new]\n"));
    let (status, body) = reload(&client).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text(&body["detail"]).contains("more is left out, and 1 entities"), "{body:#}");
    setup.configure(&format!("{SANDBOX}[backends.more]\ndriver = \"fake\"\n"));
    let (status, body) = reload(&client).await;
    assert_eq!(status, StatusCode::CONFLICT, "something lives in the namespace: {body:#}");
    client.done(Method::PUT, &path, json!({ "desired": { "size": 2 } })).await;

    setup.configure(&format!(
        "{SANDBOX}concurrency = 3\n[backends.more]\ndriver = \"fake\"\n[namespaces.new]\n"
    ));
    let (status, body) = reload(&client).await;
    assert_eq!(status, StatusCode::OK, "{body:#}");
    assert_eq!(changes(&body), pairs(&[("more", "unchanged"), ("sandbox", "changed")]));

    client.done(Method::DELETE, &path, Value::Null).await;
    setup.configure(SANDBOX);
    let (status, body) = reload(&client).await;
    assert_eq!(status, StatusCode::OK, "{body:#}");
    assert_eq!(changes(&body), pairs(&[("more", "removed"), ("sandbox", "changed")]));
    let named = client.get("/v1/events?type=backend.configured&type=backend.removed").await.body;
    let told: Vec<_> = named["items"].as_array().unwrap().iter().collect();
    assert!(told.iter().all(|event| event["data"]["at"].is_number()), "{named:#}");
    let streams: Vec<_> =
        told.iter().map(|e| format!("{} {}", text(&e["stream"]), text(&e["type"]))).collect();
    assert!(streams.contains(&"backend/more backend.removed".to_owned()), "{streams:?}");
    let digests = told.iter().filter(|e| text(&e["stream"]) == "backend/sandbox").count();
    assert!(digests >= 2, "each configuration is told of: {streams:?}");
    assert!(server.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_changes_nothing_and_sighup_reads_it_too() {
    let setup = Setup::new(SANDBOX);
    let server = setup.start().await;
    let client = &server.client;
    for bad in [
        "nonsense",
        "[backends.sandbox]\ndriver = \"none\"\n",
        "[secrets]\nx = { file = \"not-there\" }\n[backends.sandbox]\ndriver = \"fake\"\n",
        "[backends.sandbox]\ndriver = \"fake\"\nseed = { \"$secret\" = \"none\" }\n",
    ] {
        setup.configure(bad);
        let (status, body) = reload(client).await;
        assert_eq!(status, StatusCode::CONFLICT, "{bad}: {body:#}");
        assert!(text(&body["type"]).ends_with("bad-configuration"), "{body:#}");
    }
    client.thing("works", json!({ "size": 1 })).await;

    setup.configure(&format!("{SANDBOX}[backends.more]\ndriver = \"fake\"\n"));
    kill_process(server.pid(), Signal::HUP).unwrap();
    until("the signal is heard", async || {
        (client.get("/v1/backends/more").await.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_a_secret_is_not_shown_when_it_is_invalid() {
    let setup = Setup::new(
        "[secrets]\nx = { file = \"x\" }\n[backends.sandbox]\ndriver = \"fake\"\nseed = { \"$secret\" = \"x\" }\n",
    );
    std::fs::write(setup.folder.path().join("x"), "hunter2-as-a-seed").unwrap();
    let (code, lines) = crate::harness::refused(setup.command()).await;
    assert_eq!(code, Some(1));
    assert!(lines.concat().contains("sandbox"), "{lines:?}");
    assert!(!lines.concat().contains("hunter2"), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_read_anew_by_themselves() {
    let world = World::start().await;
    world.wants("one").await;
    let setup = Setup::new(&format!(
        "[secrets]\ntoken = {{ file = \"token\" }}\n\
         {SANDBOX}url = \"{}\"\ntoken = {{ \"$secret\" = \"token\" }}\n",
        world.url
    ));
    let secret = setup.folder.path().join("token");
    std::fs::write(&secret, "one\n").unwrap();
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("it", json!({ "size": 1 })).await;

    world.wants("two").await;
    std::fs::write(&secret, "two\n").unwrap();
    let path = format!("/v1/entities/{id}");
    let reply = client.done(Method::PUT, &path, json!({ "desired": { "size": 2 } })).await;
    assert_eq!(reply.body["entity"]["observed"]["attributes"]["size"], 2);
    world.counts().await.assert_none_twice();
}
