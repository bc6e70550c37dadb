//! The main path: an entity is created, kept in sync, and deleted.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Server, Setup, World, condition, text, thing, until};

async fn local() -> (Setup, Server) {
    let config =
        "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\ndrift_interval = \"500ms\"\n";
    let setup = Setup::new(config);
    let server = setup.start().await;
    (setup, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_created_updated_and_deleted() {
    let (setup, server) = local().await;
    let client = &server.client;
    let file = setup.managed().join("etc/motd");

    let id = client.file("motd", "etc/motd", "hello\n").await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "hello\n");

    let path = format!("/v1/entities/{id}");
    let update = json!({ "desired": { "path": "etc/motd", "content": "other\n" } });
    let reply = client.done(Method::PUT, &path, update).await;
    assert_eq!(reply.body["entity"]["generation"], 2);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "other\n");

    client.done(Method::DELETE, &path, Value::Null).await;
    assert!(!file.exists());
    assert_eq!(client.entity(&id).await["state"], "deleted");
    assert!(client.entities().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_waited_for_shows_in_lists() {
    let setup = Setup::new("");
    let server = setup.start().await;
    for number in 0..30 {
        let name = format!("t{number}");
        let body = thing(&name, json!({ "size": number }));
        let wait = [("Prefer", "wait=30")];
        let reply = server.client.send(Method::POST, "/v1/entities", Some(&body), &wait).await;
        assert_eq!(reply.unwrap().body["operation"]["state"], "succeeded");
        let listed = server.client.get(&format!("/v1/entities?name={name}")).await.body;
        assert_eq!(listed["items"][0]["state"], "ok", "{listed:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_by_hand_is_put_back_and_a_deleted_file_returns() {
    let (setup, server) = local().await;
    let client = &server.client;
    let file = setup.managed().join("kept");
    let id = client.file("kept", "kept", "as declared").await;

    std::fs::write(&file, "edited by hand").unwrap();
    until("the file is put back", async || {
        (std::fs::read_to_string(&file).ok()? == "as declared").then_some(())
    })
    .await;
    client.reaches(&id, "ok").await;

    std::fs::remove_file(&file).unwrap();
    until("the file returns", async || {
        (std::fs::read_to_string(&file).ok()? == "as declared").then_some(())
    })
    .await;

    let events = client.get(&format!("/v1/entities/{id}/events?page_size=1000")).await.body;
    let events = events["items"].as_array().unwrap();
    assert!(events.iter().any(|event| event["type"] == "entity.drift_detected"), "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_is_only_reported_stays() {
    let (setup, server) = local().await;
    let client = &server.client;
    let file = setup.managed().join("seen");
    let id = client.file("seen", "seen", "declared").await;
    let path = format!("/v1/entities/{id}");
    let report = json!({ "drift_policy": "report" });
    let reply = client.send(Method::PUT, &path, Some(&report), &[]).await.unwrap();
    assert_eq!((reply.status, &reply.body["operation"]), (StatusCode::OK, &Value::Null));

    std::fs::write(&file, "edited").unwrap();
    let entity = until("the drift shows", async || {
        let entity = client.entity(&id).await;
        condition(&entity, "drifted").then_some(entity)
    })
    .await;
    assert_eq!(entity["state"], "ok");
    assert_eq!(entity["drift"][0]["field"], "/content");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "edited");

    std::fs::write(&file, "declared").unwrap();
    until("the drift is over", async || {
        (!condition(&client.entity(&id).await, "drifted")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_root_is_not_followed() {
    let (setup, server) = local().await;
    let outside = setup.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, setup.managed().join("way-out")).unwrap();

    let manifest = json!({
        "kind": "local.file", "name": "escape", "backend": "local",
        "desired": { "path": "way-out/file", "content": "x" },
    });
    let reply = server.client.waited(Method::POST, "/v1/entities", manifest).await;
    assert_eq!(reply.body["operation"]["state"], "failed", "{:#}", reply.body);
    assert_eq!(reply.body["entity"]["state"], "erred");
    assert!(std::fs::read_dir(&outside).unwrap().next().is_none());

    for path in ["../outside/file", "/etc/stateward-test", "a/../../outside/file"] {
        let manifest = json!({
            "kind": "local.file", "name": "escape-2", "backend": "local",
            "desired": { "path": path, "content": "x" },
        });
        let reply = server.client.waited(Method::POST, "/v1/entities", manifest).await;
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {:#}", reply.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_were_deleted_are_rebuilt() {
    let (setup, mut server) = local().await;
    for number in 0..20 {
        server.client.file(&format!("f{number}"), &format!("f{number}"), "x").await;
    }
    let before = listed(&server).await;
    let operations = server.client.get("/v1/operations?page_size=1000").await.body;
    assert!(server.terminate().await.success());
    for suffix in ["", "-wal", "-shm"] {
        // The last two do not exist after an orderly end.
        let _ = std::fs::remove_file(setup.data().join(format!("views.db{suffix}")));
    }
    assert!(!setup.data().join("views.db").exists());

    let server = setup.start().await;
    assert_eq!(listed(&server).await, before);
    let rebuilt = server.client.get("/v1/operations?page_size=1000").await.body;
    assert_eq!(rebuilt, operations);
    std::fs::write(setup.managed().join("f7"), "edited").unwrap();
    until("work goes on", async || {
        (std::fs::read_to_string(setup.managed().join("f7")).ok()? == "x").then_some(())
    })
    .await;
}

async fn listed(server: &Server) -> Vec<(String, String, u64)> {
    let row = |e: &Value| (text(&e["id"]), text(&e["state"]), e["generation"].as_u64().unwrap());
    let mut rows: Vec<_> = server.client.entities().await.iter().map(row).collect();
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_wishes_take_the_place_of_older_ones_and_all_operations_end() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("many", json!({ "size": 0 })).await;
    world.latency(200).await;

    let path = format!("/v1/entities/{id}");
    let mut operations = Vec::new();
    for size in 1..=10 {
        let update = json!({ "desired": { "size": size } });
        let reply = client.send(Method::PUT, &path, Some(&update), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
        operations.push(text(&reply.body["operation"]["id"]));
    }
    let entity = client.reaches(&id, "ok").await;
    assert_eq!(entity["observed"]["attributes"]["size"], 10);
    let mut ends = Vec::new();
    for id in &operations {
        let operation = client.get(&format!("/v1/operations/{id}")).await.body;
        assert_eq!(operation["done"], true, "{operation:#}");
        ends.push(text(&operation["state"]));
    }
    assert_eq!(ends.last().unwrap(), "succeeded");
    assert!(ends.iter().filter(|end| *end == "superseded").count() >= 7, "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_are_done_once_each_and_a_refresh_sees_what_changed() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("acted", json!({ "size": 1 })).await;
    let entity = client.entity(&id).await;
    let object = text(&entity["observed"]["external_id"]);

    let poke = format!("/v1/entities/{id}/actions/poke");
    for _ in 0..3 {
        client.done(Method::POST, &poke, json!({})).await;
    }
    assert_eq!(world.counts().await.actions[&format!("{object}/poke")], 3);

    let report = json!({ "drift_policy": "report" });
    client.send(Method::PUT, &format!("/v1/entities/{id}"), Some(&report), &[]).await.unwrap();
    world.tamper(&object, &json!({ "size": 99 })).await;
    let refresh = format!("/v1/entities/{id}/actions/refresh");
    let reply = client.done(Method::POST, &refresh, json!({})).await;
    assert_eq!(reply.body["entity"]["observed"]["attributes"]["size"], 99);
    assert!(condition(&reply.body["entity"], "drifted"));
}
