//! A log of an earlier version, whose events are nested deeper than a parser goes: one of 128 levels whose update was
//! carried out, and one of 400 levels that the earlier version set aside. `tests/fixtures/too-deep` has its files and its
//! export.

use std::fs;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::audit::{shown, stateward, verified};
use crate::harness::{Client, Server, Setup, reason, text, until};

const SANDBOX: &str = "[backends.sandbox]\ndriver = \"fake\"\ndrift_interval = \"1h\"\n";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/too-deep").join(name)
}

/// The folder as the earlier version left it.
fn unpack(data: &Path) {
    fs::create_dir_all(data).unwrap();
    for name in ["events.db", "views.db"] {
        let packed = fs::File::open(fixture(&format!("{name}.gz"))).unwrap();
        let mut plain = fs::File::create(data.join(name)).unwrap();
        std::io::copy(&mut GzDecoder::new(packed), &mut plain).unwrap();
    }
}

/// The entities by name, once they are listed: none is quarantined.
async fn listed(client: &Client) -> [Value; 3] {
    let mut all = until("three are listed", async || {
        let all = client.entities().await;
        (all.len() == 3).then_some(all)
    })
    .await;
    all.sort_by_key(|entity| text(&entity["name"]));
    let all: [Value; 3] = all.try_into().expect("three");
    assert_eq!(all.each_ref().map(|entity| text(&entity["name"])), ["deep", "deeper", "plain"]);
    all
}

/// The history of each entity at the versions of the fixture.
async fn past(client: &Client) -> Vec<Value> {
    let mut past = Vec::new();
    for (entity, last) in listed(client).await.iter().zip([7, 5, 4]) {
        for version in 1..=last {
            let path = format!("/v1/entities/{}?at={version}", text(&entity["id"]));
            let reply = client.get(&path).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}: {:#}", reply.body);
            past.push(reply.body);
        }
        let events = client.get(&format!("/v1/entities/{}/events", text(&entity["id"]))).await;
        let types = events.body["items"].as_array().expect("every client can read them");
        assert_eq!(types[0]["type"], "entity.create_requested");
    }
    past
}

async fn blocked(client: &Client, id: &str) {
    until("what cannot be read whole is not applied", async || {
        let entity = client.entity(id).await;
        let waits = reason(&entity, "blocked") == "SchemaChanged" || entity["error"] != Value::Null;
        (waits && entity["error"]["code"] == "desired_state_too_deep").then_some(())
    })
    .await;
}

async fn lives_on(server: &Server) {
    let client = &server.client;
    let [deep, deeper, plain] = listed(client).await.map(|entity| text(&entity["id"]));
    // The entity whose change was carried out is observed on request.
    let refresh = format!("/v1/entities/{deep}/actions/refresh");
    client.send(Method::POST, &refresh, None, &[]).await.unwrap();
    for id in [&deep, &deeper] {
        blocked(client, id).await;
    }
    let report = verified(client, None).await;
    assert_eq!(report["ok"], true, "{report:#}");
    // A truncated value is never sent to the backend; a complete one repairs the entity.
    let path = format!("/v1/entities/{deep}");
    let cut = json!({ "desired": client.entity(&deep).await["desired"] });
    let with_more = json!({ "desired": { "a": cut["desired"]["a"].clone(), "more": 1 } });
    let reply = client.send(Method::PUT, &path, Some(&with_more), &[]).await.unwrap();
    assert!(reply.status.is_client_error(), "{:#}", reply.body);
    let whole = json!({ "desired": { "size": 3 } });
    let reply = client.send(Method::PUT, &path, Some(&whole), &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
    // Its world was in the memory of the earlier process, so its object is lost.
    until("it goes on with the new desired state", async || {
        (reason(&client.entity(&deep).await, "blocked") == "DecisionNeeded").then_some(())
    })
    .await;
    for id in [&deep, &deeper, &plain] {
        client.done(Method::DELETE, &format!("/v1/entities/{id}"), Value::Null).await;
    }
    let report = verified(client, None).await;
    assert_eq!(report["ok"], true, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_folder_opens_folds_to_the_same_past_as_its_export_and_lives_on() {
    let opened = Setup::new(SANDBOX);
    unpack(&opened.data());
    let folder = opened.start().await;
    let from_folder = past(&folder.client).await;

    let imported = Setup::new(SANDBOX);
    let (file, data) = (fixture("export.jsonl"), imported.data());
    let said = stateward(&["audit", "import", shown(&file), "--data", shown(&data)]).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    let again = stateward(&["audit", "export", "--offline", "--data", shown(&data)]).await;
    assert!(again.out == fs::read_to_string(&file).unwrap(), "{}", again.err);
    let offline = stateward(&["audit", "verify", "--offline", "--data", shown(&data)]).await;
    assert_eq!(offline.code, Some(0), "{}{}", offline.out, offline.err);
    let import = imported.start().await;
    assert_eq!(past(&import.client).await, from_folder);
    let thaw = import.client.send(Method::POST, "/v1/system/unfreeze", None, &[]).await.unwrap();
    assert_eq!(thaw.status, StatusCode::OK);

    lives_on(&folder).await;
    lives_on(&import).await;
}
