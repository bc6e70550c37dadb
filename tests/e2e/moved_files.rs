//! Files that are moved, removed or replaced under a running server: it ends with one line, writes nothing more, and no
//! second server starts beside it.

use std::path::Path;

use reqwest::{Method, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, refused, thing, until};

/// Declares a thing until the server does not accept any more: `false` if it accepted one after `moved`.
async fn refuses(client: &Client, name: &str) -> bool {
    let reply = client.send(Method::POST, "/v1/entities", Some(&thing(name, json!({}))), &[]).await;
    reply.is_err() || reply.is_ok_and(|reply| reply.status == StatusCode::SERVICE_UNAVAILABLE)
}

/// Waits for the server's end, which has to be one line that names `path`.
async fn ended_because_of(server: &mut Server, path: &Path) {
    assert_eq!(server.ended().await.code(), Some(1));
    let line = until("it says why", async || {
        server.said().lines().find(|line| line.starts_with("stateward: ")).map(str::to_owned)
    })
    .await;
    assert!(line.contains(path.to_str().unwrap()), "{line}");
    let lines = server.said();
    assert_eq!(lines.lines().filter(|line| line.starts_with("stateward: ")).count(), 1, "{lines}");
}

async fn assert_refused(setup: &Setup, data: &Path) {
    let (code, said) = refused(setup.command_in(data)).await;
    assert_eq!(code, Some(1), "a second server started: {said:#?}");
    assert!(said.iter().any(|line| line.contains("another stateward serves")), "{said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_moved_away_ends_the_server_and_none_starts_beside_it() {
    let setup = Setup::new("");
    let mut server = setup.start().await;
    server.client.thing("before", json!({ "size": 1 })).await;
    let (data, moved) = (setup.data(), setup.folder.path().join("moved"));
    // Suspended, so that it does not notice and end before the second one has tried to start.
    rustix::process::kill_process(server.pid(), Signal::STOP).unwrap();
    std::fs::rename(&data, &moved).unwrap();
    assert_refused(&setup, &moved).await;
    rustix::process::kill_process(server.pid(), Signal::CONT).unwrap();
    assert!(refuses(&server.client, "after").await, "accepted into files that were moved away");
    ended_because_of(&mut server, &data).await;

    let server = setup.start_in(&moved).await;
    let names: Vec<_> =
        server.client.entities().await.iter().map(|entity| entity["name"].clone()).collect();
    assert_eq!(names, ["before"], "what was acknowledged is there, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_lock_file_lets_no_second_server_in() {
    let setup = Setup::new("");
    let mut server = setup.start().await;
    let lock = setup.data().join("lock");
    std::fs::remove_file(&lock).unwrap();
    assert_refused(&setup, &setup.data()).await;
    // Recreated by the server that holds the folder: it contains the newest position of the log.
    until("the lock file is there again", async || {
        std::fs::read_to_string(&lock).is_ok_and(|text| !text.is_empty()).then_some(())
    })
    .await;
    assert_eq!(server.client.get("/readyz").await.status, StatusCode::OK, "the first goes on");
    server.kill_now().await;
    setup.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_that_is_replaced_or_removed_ends_the_server() {
    for (name, replaced) in [("events.db", true), ("events.db", false), ("views.db", false)] {
        let setup = Setup::new("");
        let mut server = setup.start().await;
        server.client.thing("before", json!({ "size": 1 })).await;
        let (file, copy) = (setup.data().join(name), setup.folder.path().join("copy"));
        std::fs::copy(&file, &copy).unwrap();
        if replaced {
            std::fs::rename(&copy, &file).unwrap();
        } else {
            std::fs::remove_file(&file).unwrap();
        }
        assert!(refuses(&server.client, "after").await, "{name}: accepted after it was gone");
        ended_because_of(&mut server, &file).await;
        if replaced {
            // The new file belongs to its creator: the shutdown left it unchanged.
            assert!(setup.data().join(format!("{name}-wal")).exists(), "{name}");
        }
    }
}

/// The positions from `GET /v1/events`.
async fn positions(client: &Client) -> Vec<String> {
    let page = client.get("/v1/events?page_size=1000").await.body;
    let position = |event: &Value| event["position"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(position).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_back_log_takes_no_old_position_for_one_of_its_own() {
    let setup = Setup::new("");
    let mut server = setup.start().await;
    server.client.thing("early", json!({ "size": 1 })).await;
    assert!(server.terminate().await.success());
    let (log, copy) = (setup.data().join("events.db"), setup.folder.path().join("copy"));
    std::fs::copy(&log, &copy).unwrap();

    let mut server = setup.start().await;
    server.client.thing("late", json!({ "size": 1 })).await;
    let remembered = positions(&server.client).await;
    let (newest, oldest) = (remembered.last().unwrap(), &remembered[0]);
    assert!(server.terminate().await.success());
    std::fs::copy(&copy, &log).unwrap();

    let server = setup.start().await;
    let client = &server.client;
    // As many events as were lost, so that their positions are used again.
    for number in 0..4 {
        let body = thing(&format!("new{number}"), json!({ "size": 1 }));
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
    }
    for position in [newest, oldest] {
        let resumed = client.get(&format!("/v1/events?after={position}")).await;
        assert_eq!(resumed.status, StatusCode::GONE, "{:#}", resumed.body);
    }
    assert_eq!(client.get("/readyz").await.body["observe_only"], true, "nobody has looked yet");
}
