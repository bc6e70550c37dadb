//! Exports over REST, imported elsewhere.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{live, shown, stateward, verified};
use crate::harness::{Client, Setup, World, text};

async fn exported(client: &Client, query: &str) -> String {
    let path = format!("/v1/audit/export{query}");
    let request = client.request(Method::GET, &path).header("Stateward-Reason", "the yearly audit");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{query}");
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    response.text().await.unwrap()
}

fn events(export: &str) -> Vec<Value> {
    export.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_s_log_is_put_back_byte_for_byte_and_acts_on_nothing_before_it_may() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    live(&server.client, 7).await;
    let namespace = async |client: &Client| {
        let (body, key) = (json!({ "name": "team" }), [("Idempotency-Key", "once")]);
        client.send(Method::POST, "/v1/namespaces", Some(&body), &key).await.unwrap().status
    };
    assert_eq!(namespace(&server.client).await, StatusCode::CREATED);
    exported(&server.client, "?type=entity.deleted").await;
    server.client.settled().await;
    let checkpoint = server.client.get("/v1/audit/checkpoint").await.body;
    let until = format!("?until={}", text(&checkpoint["position"]));
    let export = exported(&server.client, &until).await;
    assert!(export.lines().count() > 100);
    for sort in ["access.token_issued", "backend.paused", "system.audit_exported"] {
        assert!(export.contains(&format!("\"type\":\"{sort}\"")), "no {sort}");
    }
    assert!(server.terminate().await.success());

    let (file, data) = (setup.folder.path().join("export"), setup.folder.path().join("other"));
    std::fs::write(&file, &export).unwrap();
    let import = ["audit", "import", shown(&file), "--data", shown(&data)];
    let said = stateward(&import).await;
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("unfreeze"), "says what comes next: {}", said.out);
    let again = stateward(&["audit", "export", "--offline", "--data", shown(&data)]).await;
    assert!(again.out == export, "{}", again.err);
    let twice = stateward(&import).await;
    assert_eq!(twice.code, Some(1));
    assert!(twice.err.contains("is there already"), "{}", twice.err);

    let before = world.counts().await;
    let server = setup.start_in(&data).await;
    let report = verified(&server.client, Some(&json!({ "against": checkpoint }))).await;
    assert_eq!(report["ok"], true, "{report:#}");
    assert_eq!(server.client.get("/readyz").await.body["observe_only"], true);
    assert_eq!(namespace(&server.client).await, StatusCode::CREATED, "asked for again");
    let gone = format!("/v1/events?after={}", text(&checkpoint["position"]));
    assert_eq!(server.client.get(&gone).await.status, StatusCode::GONE, "another life");
    let counts = world.counts().await;
    assert_eq!((counts.creates.len(), counts.objects), (before.creates.len(), before.objects));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_took_which_part_is_in_the_log_before_anybody_has_it() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let client = &server.client;
    client.thing("one", json!({ "size": 1 })).await;
    let position = text(&client.get("/v1/audit/checkpoint").await.body["position"]);
    client.thing("two", json!({ "size": 1 })).await;

    let part =
        events(&exported(client, &format!("?after={position}&type=entity.create_requested")).await);
    assert_eq!(part.len(), 1);
    assert_eq!(part[0]["data"]["create_requested"]["name"], "two");
    assert_eq!(part[0]["partial"], true, "it says that it is a part");
    assert_eq!(part[0]["specversion"], "1.0");
    assert!(events(&exported(client, "?namespace=none").await).is_empty());
    let whole = events(&exported(client, "").await);
    let recorded: Vec<_> =
        whole.iter().filter(|event| event["type"] == "system.audit_exported").collect();
    assert_eq!(recorded.len(), 2, "those before it");
    let first = &recorded[0]["data"]["audit_exported"];
    assert_eq!(
        (&first["count"], &first["types"]),
        (&json!(1), &json!(["entity.create_requested"]))
    );
    assert_eq!(first["after"], position);
    let metadata: Value = serde_json::from_str(recorded[0]["metadata"].as_str().unwrap()).unwrap();
    assert_eq!(metadata["actor_id"], "admin");
    assert_eq!(metadata["reason"], "the yearly audit");

    let ahead = "f".repeat(40);
    let refused = client.get(&format!("/v1/audit/export?after={ahead}")).await;
    assert_eq!(refused.status, StatusCode::GONE);
    let parts = setup.folder.path().join("part");
    let lines = exported(client, &format!("?after={position}")).await;
    std::fs::write(&parts, lines).unwrap();
    let other = setup.folder.path().join("other");
    let said = stateward(&["audit", "import", shown(&parts), "--data", shown(&other)]).await;
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("line 1") && said.err.contains("part of the log"), "{}", said.err);
    assert!(!other.exists());
}
