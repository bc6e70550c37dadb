//! import: what is there becomes manifests, and entities that only look.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Cli, land};
use crate::harness::Setup;

/// A backend whose root holds two files that nobody declared, and an entity with a third.
const CONFIG: &str = "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\n\
    [backends.sandbox]\ndriver = \"fake\"\n";

async fn with_files() -> (Setup, crate::harness::Server, Cli) {
    let (setup, server, cli) = land(CONFIG).await;
    std::fs::create_dir_all(setup.managed().join("etc")).unwrap();
    std::fs::write(setup.managed().join("etc/motd"), "hello").unwrap();
    std::fs::write(setup.managed().join("issue"), "welcome").unwrap();
    server.client.file("ours", "ours.txt", "ours").await;
    (setup, server, cli)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_manages_is_written_down_and_taken_over_only_to_look() {
    let (setup, server, cli) = with_files().await;
    let written = cli.ok("import --backend local --kind local.file").await;
    assert!(written.contains("external_id: etc/motd"), "{written}");
    assert!(written.contains("content: welcome"), "{written}");
    assert!(!written.contains("ours"), "it is managed: {written}");
    assert_eq!(server.client.entities().await.len(), 1, "writing it down changed something");

    let said = cli.run("import --backend local --kind local.file --apply --wait").await;
    assert_eq!(
        (said.code, said.lines()),
        (0, vec!["local.file/etc-motd created", "local.file/issue created"])
    );
    let taken = server.client.entities().await;
    let taken = taken.iter().find(|entity| entity["name"] == "issue").unwrap();
    for (member, value) in
        [("management_policy", "observe_only"), ("deletion_policy", "orphan"), ("state", "ok")]
    {
        assert_eq!(taken[member], value, "{taken:#}");
    }
    let again = cli.run("import --backend local --kind local.file --apply").await;
    assert_eq!((again.code, again.out.as_str()), (0, ""), "{again:#?}");

    cli.ok("delete file/issue --yes --wait").await;
    let left = std::fs::read_to_string(setup.managed().join("issue")).unwrap();
    assert_eq!(left, "welcome", "what was only looked at was deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_down_can_be_applied() {
    let (_setup, server, cli) = with_files().await;
    let written = cli.ok("import --backend local --all").await;
    let said = cli.fed(&["apply", "-f", "-", "--wait"], &written).await;
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(server.client.entities().await.len() >= 3, "{written}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_makes_no_sense_is_refused() {
    let (_setup, _server, cli) = with_files().await;
    cli.fails("import --backend none --all", 3).await;
    cli.fails("import --backend local --kind fake.thing", 1).await;
    assert_eq!(cli.run("import --backend local").await.code, 2);
    cli.file("state.json", "{\"version\": 3}");
    let said = cli.fails("import --backend local --from-tfstate state.json", 2).await;
    assert!(said.contains("version 4"), "{said}");
    cli.file("state.json", "{\"version\": 4, \"resources\": []}");
    let nothing = cli.run("import --backend local --from-tfstate state.json").await;
    assert_eq!((nothing.code, nothing.out.as_str()), (0, ""), "{nothing:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_listed_for_operators_page_by_page_without_secrets() {
    let (_setup, server, _cli) = with_files().await;
    let client = &server.client;
    let page = client.get("/v1/backends/local/objects?kind=local.file").await;
    assert_eq!(page.status, StatusCode::OK, "{:#}", page.body);
    let managed = |id: &str| {
        let items = page.body["items"].as_array().unwrap();
        items.iter().find(|item| item["external_id"] == id).map(|item| item["managed"].clone())
    };
    assert_eq!(managed("ours.txt"), Some(json!(true)));
    assert_eq!(managed("issue"), Some(json!(false)));
    for (query, status) in [
        ("none/objects?kind=local.file", StatusCode::NOT_FOUND),
        ("local/objects", StatusCode::BAD_REQUEST),
        ("local/objects?kind=fake.thing", StatusCode::BAD_REQUEST),
        ("local/objects?kind=local.file&colour=red", StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(client.get(&format!("/v1/backends/{query}")).await.status, status, "{query}");
    }
    let long =
        format!("/v1/backends/local/objects?kind=local.file&page_token={}", "x".repeat(1_025));
    assert_eq!(client.get(&long).await.status, StatusCode::BAD_REQUEST);
    let body = json!({ "actor": "somebody", "grants": [{ "role": "viewer" }] });
    let issued = client.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
    let viewer = client.with_token(issued.body["value"].as_str().unwrap());
    let refused = viewer.get("/v1/backends/local/objects?kind=local.file").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.body["items"], Value::Null);
}
