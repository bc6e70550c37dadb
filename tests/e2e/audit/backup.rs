//! Backups of a running server, restored, and unfrozen.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{shown, stateward, verified};
use crate::harness::{Client, Server, Setup, World, text, thing, until};

/// Number of things that are declared.
const ENOUGH: usize = 90;

/// Declares things, and counts them.
async fn load(client: &Client, declared: &AtomicUsize) {
    for number in 0..ENOUGH {
        let body = thing(&format!("t{number}"), json!({ "size": number }));
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED, "the backup held it up: {:#}", reply.body);
        declared.store(number + 1, Ordering::Release);
    }
}

async fn unfreeze(client: &Client, body: Option<&Value>) -> Value {
    let reply = client.send(Method::POST, "/v1/system/unfreeze", body, &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK, "{:#}", reply.body);
    reply.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_under_load_is_put_back_and_acts_on_nothing_before_it_may() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    world.latency(20).await;
    let declared = AtomicUsize::new(0);
    let (data, copies) = (setup.data(), setup.folder.path().join("copies"));
    std::fs::create_dir(&copies).unwrap();
    let taken = async {
        let mut taken = Vec::new();
        for number in 0..3 {
            until("there is load", async || {
                (declared.load(Ordering::Acquire) > number * ENOUGH / 4).then_some(())
            })
            .await;
            let to = copies.join(number.to_string());
            let said = stateward(&["backup", "--data", shown(&data), "--to", shown(&to)]).await;
            assert_eq!(said.code, Some(0), "{}", said.err);
            let (_, checkpoint) = said.out.split_once("elsewhere: ").expect("a checkpoint");
            taken.push((to, serde_json::from_str::<Value>(checkpoint).unwrap()));
        }
        taken
    };
    let ((), taken) = tokio::join!(load(&server.client, &declared), taken);
    let checkpoints: Vec<_> = taken.iter().map(|(_, checkpoint)| checkpoint).collect();
    assert!(checkpoints[0]["count"].as_u64() < checkpoints[2]["count"].as_u64(), "no load");
    for checkpoint in &checkpoints {
        let report = verified(&server.client, Some(&json!({ "against": checkpoint }))).await;
        assert_eq!(report["ok"], true, "it is a part of the log: {report:#}");
    }
    server.kill_now().await;

    for (from, checkpoint) in &taken {
        assert!(!from.join("admin.token").exists(), "a token is in the backup");
        put_back(&setup, &world, shown(from), checkpoint).await;
    }
}

async fn put_back(setup: &Setup, world: &World, from: &str, checkpoint: &Value) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("restored");
    let restore = ["restore", "--from", from, "--data", shown(&data)];
    let said = stateward(&restore).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("unfreeze"), "says what comes next: {}", said.out);
    let twice = stateward(&restore).await;
    assert_eq!(twice.code, Some(1));
    assert!(twice.err.contains("is there already; nothing was changed"), "{}", twice.err);

    let before = world.counts().await;
    let server = setup.start_in(&data).await;
    let client = &server.client;
    let report = verified(client, Some(&json!({ "against": checkpoint }))).await;
    assert_eq!(report["ok"], true, "{report:#}");
    let body = thing("after", json!({ "size": 1 }));
    client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    looked(client).await;
    let counts = world.counts().await;
    assert_eq!(counts.creates, before.creates, "something was made before a person looked");
    assert_eq!(counts.objects, before.objects);
    assert_eq!(client.get("/readyz").await.body["observe_only"], true);
}

/// Waits until rounds have observed the objects: they could have acted by then.
async fn looked(client: &Client) {
    until("a round has looked and put it aside", async || {
        let metrics = client.metrics().await;
        metrics.contains("stateward_round_seconds_count{backend=\"sandbox\"}").then_some(())
    })
    .await;
}

async fn observer(setup: &Setup) -> Server {
    let mut command = setup.command();
    command.arg("--observe-only");
    setup.run(command).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn unfreezing_lets_work_begin_at_once_and_for_good() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    assert!(server.terminate().await.success());
    let marker = setup.data().join("put-back");
    std::fs::write(&marker, "").unwrap();

    for lost in [false, true] {
        server = setup.start().await;
        assert_eq!(server.client.get("/readyz").await.body["observe_only"], true);
        assert!(marker.exists(), "an older version knows nothing else");
        server.kill_now().await;
        if lost {
            std::fs::remove_file(&marker).unwrap();
        }
    }
    server = setup.start().await;
    let client = server.client.clone();
    assert_eq!(client.get("/readyz").await.body["observe_only"], true, "by the log alone");
    let held = client.get("/v1/events?type=system.frozen").await.body;
    assert_eq!(held["items"].as_array().unwrap().len(), 1, "{held:#}");
    let body = thing("waits", json!({ "size": 1 }));
    let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    let id = text(&reply.body["entity"]["id"]);
    looked(&client).await;
    assert!(world.counts().await.creates.is_empty(), "made before a person looked");

    let too_long = json!({ "reason": "x".repeat(501) });
    let path = "/v1/system/unfreeze";
    let refused = client.send(Method::POST, path, Some(&too_long), &[]).await.unwrap();
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let reason = json!({ "reason": "looked at it" });
    let began = std::time::Instant::now();
    assert_eq!(unfreeze(&client, Some(&reason)).await, json!({ "observe_only": false }));
    client.reaches(&id, "ok").await;
    // A round that waits because of observe-only runs again by itself only after 30 seconds.
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(!marker.exists(), "the mark stays");
    assert_eq!(unfreeze(&client, None).await, json!({ "observe_only": false }), "again");
    let events = client.get("/v1/events?type=system.unfrozen").await.body;
    assert_eq!(events["items"].as_array().unwrap().len(), 1, "{events:#}");
    assert_eq!(events["items"][0]["reason"], "looked at it");
    assert_eq!(events["items"][0]["actor"]["id"], "admin");

    assert!(server.terminate().await.success());
    server = setup.start().await;
    assert_eq!(server.client.get("/readyz").await.body["observe_only"], false, "for good");
    assert!(server.terminate().await.success());
    server = observer(&setup).await;
    assert_eq!(server.client.get("/readyz").await.body["observe_only"], true);
    unfreeze(&server.client, None).await;
    server.client.thing("more", json!({ "size": 1 })).await;
    world.counts().await.assert_none_twice();
}
