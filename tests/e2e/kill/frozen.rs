//! Frozen workers: suspended for longer than the lease, then resumed.

use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, World, text, thing, until};

/// Longer than a lease, which lasts 1.2 s here.
const FROZEN: Duration = Duration::from_millis(2_500);
/// A process on PostgreSQL that began takes no lease over for four seconds.
const SETTLED: Duration = Duration::from_millis(4_500);

fn short_leases(url: &str) -> Setup {
    Setup::new(&format!(
        "[workers]\nlease = \"1200ms\"\nlease_margin = \"400ms\"\n\
         [backends.sandbox]\ndriver = \"fake\"\nurl = \"{url}\"\n\
         retry = {{ first = \"50ms\", max = \"500ms\" }}\n"
    ))
}

async fn declared(client: &Client) -> String {
    let body = thing("frozen", json!({ "size": 1 }));
    let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    let id = text(&reply.body["entity"]["id"]);
    until("the creation is intended", async || {
        let events = client.get(&format!("/v1/entities/{id}/events")).await.body;
        events.to_string().contains("entity.sync_started").then_some(())
    })
    .await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_past_its_lease_makes_one_object() {
    let world = World::start().await;
    let setup = short_leases(&world.url);
    let server = setup.start().await;
    world.latency(300).await;
    let id = declared(&server.client).await;

    server.signal(Signal::STOP);
    // A lease ends by time alone, without any event.
    tokio::time::sleep(FROZEN).await;
    server.signal(Signal::CONT);

    server.client.reaches(&id, "ok").await;
    let counts = world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, 1, "{counts:?}");
    server.client.done(Method::DELETE, &format!("/v1/entities/{id}"), Value::Null).await;
    assert_eq!(world.counts().await.objects, 0);
}

/// A worker freezes at `point` of a creation; another takes over; the entity is deleted; the first worker resumes.
async fn wakes_up_after_deletion(point: &str) -> (World, Server) {
    let world = World::start().await;
    let setup = short_leases(&world.url);
    let frozen = FROZEN.as_millis();
    let points = format!("{point}=1*return({frozen});engine::lease::renew=3*return");
    let server = setup.start_with(&points).await.unwrap();
    if setup.is_shared() {
        // It ends by time alone, without any event.
        tokio::time::sleep(SETTLED).await;
    }
    let wakes = tokio::time::Instant::now() + FROZEN + Duration::from_millis(500);
    let id = declared(&server.client).await;
    let path = format!("/v1/entities/{id}");
    server.client.done(Method::DELETE, &path, Value::Null).await;
    assert_eq!(world.counts().await.objects, 0, "deleted before the first worker wakes");
    let events = server.client.get(&format!("{path}/events?page_size=1000")).await.body;
    assert!(events.to_string().contains("takes_over"), "nobody took over: {events:#}");

    tokio::time::sleep_until(wakes).await;
    until("what the late worker left is cleaned up", async || {
        (world.counts().await.objects == 0).then_some(())
    })
    .await;
    assert_eq!(server.client.entity(&id).await["state"], "deleted");
    (world, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_froze_before_its_call_never_makes_it() {
    let (world, _server) = wakes_up_after_deletion("driver::create::before").await;
    let counts = world.counts().await;
    assert!(counts.creates.is_empty(), "sent after the lease: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_froze_after_its_call_leaks_nothing() {
    let (world, _server) = wakes_up_after_deletion("driver::create::after").await;
    let counts = world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.creates.len(), 1, "{counts:?}");
}
