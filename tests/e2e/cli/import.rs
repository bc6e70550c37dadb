//! import: unmanaged objects become manifests, and observe-only entities.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Cli, start};
use crate::harness::Setup;

/// A backend whose root has two unmanaged files, and an entity with a third.
const CONFIG: &str = "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\n\
    [backends.sandbox]\ndriver = \"fake\"\n";

async fn with_files() -> (Setup, crate::harness::Server, Cli) {
    let (setup, server, cli) = start(CONFIG).await;
    std::fs::create_dir_all(setup.managed().join("etc")).unwrap();
    std::fs::write(setup.managed().join("etc/motd"), "hello").unwrap();
    std::fs::write(setup.managed().join("issue"), "welcome").unwrap();
    server.client.file("ours", "ours.txt", "ours").await;
    (setup, server, cli)
}

#[tokio::test(flavor = "multi_thread")]
async fn unmanaged_objects_are_listed_and_imported_observe_only() {
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

/// Files and folders of all sorts: name, mode, content.
fn sorts() -> Vec<(&'static str, u32, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("plain", 0o644, text("hello\n")),
        ("set-uid", 0o4755, text("yes")),
        ("sticky", 0o1777, text("0644\n\n")),
        ("hidden", 0o200, text("  lead\n\ttab \n")),
        ("none", 0o000, text("null")),
        ("empty", 0o600, Vec::new()),
        ("odd", 0o644, text("a\r\nb\u{85}c\u{2028}\u{feff}: # - '\" {x}\u{1}\0")),
        ("ünï cödé.txt", 0o644, text("1e5")),
        ("<<", 0o644, text(".inf")),
        ("binary", 0o644, vec![0xff, 0xfe, 0]),
        ("large", 0o644, vec![b'x'; 1024 * 1024 + 1]),
        ("full", 0o644, vec![b'"'; 1024 * 1024]),
        ("line\nkind: local.file\nname: break", 0o644, text("x")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_written_down_is_what_is_there_and_all_else_is_listed() {
    let (setup, server, cli) = start(CONFIG).await;
    let root = setup.managed();
    std::fs::create_dir_all(&root).unwrap();
    for (name, mode, content) in sorts() {
        std::fs::write(root.join(name), content).unwrap();
        std::fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    }
    for (name, mode) in [("group", 0o2775), ("tmp", 0o1777), ("closed", 0o300)] {
        std::fs::create_dir(root.join(name)).unwrap();
        std::fs::set_permissions(root.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let before = stats(&root);
    let imported = cli.run("import --backend local --all").await;
    assert_eq!(imported.code, 0, "{imported:#?}");
    let written = cli.file("m.yaml", &imported.out);
    let applied = cli.run(&format!("apply -f {written} --wait")).await;
    assert_eq!(applied.code, 0, "{:#?}", applied.err);
    let entities = server.client.settled().await;
    for entity in &entities {
        assert_eq!(entity["state"], "ok", "{entity:#}");
        assert!(!crate::harness::condition(entity, "drifted"), "{entity:#}");
    }
    assert!(cli.run(&format!("apply -f {written}")).await.err.contains("unchanged"));
    assert_eq!(cli.run(&format!("diff -f {written} --observed")).await.code, 0);
    assert_eq!(stats(&root), before, "something was changed");

    let listed: Vec<_> =
        imported.err.lines().filter_map(|line| line.strip_prefix("left out: ")).collect();
    for line in &listed {
        assert!(imported.out.contains(&format!("#   {line}\n")), "only on standard error: {line}");
    }
    let ids: Vec<_> =
        entities.iter().map(|entity| entity["external_id"].as_str().unwrap()).collect();
    for (name, _, _) in sorts() {
        let shown = name.replace('\n', "\\n");
        let is_listed =
            listed.iter().any(|line| line.starts_with(&format!("local.file {shown}: ")));
        assert!(
            ids.contains(&name) || is_listed,
            "{name:?} is neither there nor listed: {listed:#?}"
        );
    }
    for (name, part) in [
        ("binary", "/desired/content"),
        ("large", "/desired/content"),
        ("line\\nkind", "/external_id"),
    ] {
        let found = listed.iter().any(|line| line.contains(name) && line.contains(part));
        assert!(found, "nothing of {name}: {listed:#?}");
    }
    for name in ["plain", "odd", "ünï cödé.txt", "<<", "empty", "hidden", "set-uid", "group", "tmp"]
    {
        assert!(ids.contains(&name), "{name} could be declared: {listed:#?}");
    }
    for mode in ["1777", "2775", "4755", "0200", "0000"] {
        assert!(imported.out.contains(&format!("mode: '{mode}'")), "{mode}: {}", imported.out);
    }
    let again = cli.run("import --backend local --kind local.directory").await;
    assert!(
        again.out.contains("local.directory: ") && again.out.contains("managed already"),
        "{again:#?}"
    );
}

/// Device, inode, mode, owner, and time of change of everything in a folder.
fn stats(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let mut stats: Vec<_> = entries
        .map(|entry| {
            let found = std::fs::symlink_metadata(entry.path()).unwrap();
            format!(
                "{} {} {:o} {} {}",
                entry.file_name().display(),
                found.ino(),
                found.mode(),
                found.uid(),
                found.ctime_nsec()
            )
        })
        .collect();
    stats.sort();
    stats
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_file_s_other_objects_are_listed() {
    let (_setup, _server, cli) = with_files().await;
    let state = json!({ "version": 4, "resources": [
        { "mode": "managed", "type": "openstack_compute_instance_v2", "name": "web", "instances": [
            { "deposed": "0a1b2c3d", "attributes": { "id": "old" } },
            { "index_key": "a", "attributes": {} },
            { "index_key": "b", "attributes": { "id": "s1" } },
        ] },
        { "mode": "managed", "type": "random_pet", "name": "dog", "instances": [{ "attributes": { "id": "rex" } }] },
        { "mode": "data", "type": "openstack_networking_network_v2", "name": "net", "instances": [{ "attributes": { "id": "n1" } }] },
    ] });
    cli.file("state.json", &state.to_string());
    let said = cli.run("import --backend local --from-tfstate state.json").await;
    assert_eq!(said.code, 0, "{said:#?}");
    for part in [
        "openstack_compute_instance_v2.web: it is deposed (0a1b2c3d)",
        "openstack_compute_instance_v2.web[\"a\"]: it has no id",
        "openstack_compute_instance_v2.web[\"b\"]: backend local has no kind openstack.server",
        "random_pet.dog: there is no kind here for random_pet",
        "data.openstack_networking_network_v2.net: it is a data source",
    ] {
        assert!(said.out.contains(&format!("#   {part}")), "nothing of {part}: {said:#?}");
        assert!(said.err.contains(&format!("left out: {part}")), "nothing of {part}: {said:#?}");
    }
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
