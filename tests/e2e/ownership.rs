//! An unprivileged service below its root: owners of files, permissions, exhausted descriptors.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use reqwest::{Method, StatusCode};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::harness::{Connection, Server, Setup, condition, reason, text, until};
use crate::skip::skipped;

const NOBODY: u32 = 65_534;

/// A server of the user `nobody`; `None`, with the reason recorded, when this process may not start one.
async fn unprivileged() -> Option<(Setup, Server)> {
    if !rustix::process::geteuid().is_root() {
        skipped("only root may run a server as another user");
        return None;
    }
    let setup = Setup::new(
        "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\ndrift_interval = \"100ms\"\n\
         retry = { first = \"20ms\", max = \"200ms\" }\n",
    );
    chown(setup.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = setup.command();
    command.uid(NOBODY).gid(NOBODY);
    let server = setup.run(command).await.expect("ready");
    Some((setup, server))
}

fn change_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn file(name: &str, desired: &Value) -> Value {
    json!({ "kind": "local.file", "name": name, "backend": "local", "desired": desired })
}

#[tokio::test(flavor = "multi_thread")]
async fn set_id_bits_never_move_to_the_service_s_user() {
    let Some((setup, server)) = unprivileged().await else { return };
    server.client.file("tool", "tool", "ours").await;
    let path = setup.managed().join("tool");
    std::fs::write(&path, "edited by hand").unwrap();
    chown(&path, Some(0), Some(0)).unwrap();
    change_mode(&path, 0o6755);
    until("the content is put back", async || {
        (std::fs::read_to_string(&path).unwrap() == "ours").then_some(())
    })
    .await;
    let now = std::fs::metadata(&path).unwrap();
    assert_eq!((now.uid(), now.gid()), (NOBODY, NOBODY), "it may not give files away");
    assert_eq!(format!("{:o}", now.mode() & 0o7777), "755");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_done_for_a_managed_field_is_said() {
    let Some((_setup, server)) = unprivileged().await else { return };
    for (name, field, code) in [
        ("owned", json!({ "owner": "root" }), "owner_not_permitted"),
        ("grouped", json!({ "group": "0" }), "group_not_permitted"),
        ("unknown", json!({ "owner": "no-such-account" }), "unknown_owner"),
        ("hidden", json!({ "mode": "0200" }), "mode_hides_content"),
    ] {
        let mut desired = json!({ "path": name, "content": "x" });
        desired.as_object_mut().unwrap().extend(field.as_object().unwrap().clone());
        let reply = server.client.waited(Method::POST, "/v1/entities", file(name, &desired)).await;
        let entity = &reply.body["entity"];
        assert_eq!(entity["state"], "erred", "{entity:#}");
        assert_eq!(entity["error"]["class"], "invalid", "{entity:#}");
        assert_eq!(entity["error"]["code"], code, "{entity:#}");
    }
    let own = json!({ "path": "own", "content": "x", "owner": "65534", "group": "65534", "mode": "4750" });
    server.client.done(Method::POST, "/v1/entities", file("own", &own)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_closed_to_us_closes_no_backend() {
    let Some((setup, server)) = unprivileged().await else { return };
    let client = &server.client;
    let closed = setup.managed().join("closed");
    std::fs::create_dir(&closed).unwrap();
    for (mode, path) in [(0o700, "closed/in"), (0o755, "closed/made")] {
        change_mode(&closed, mode);
        let body = file(&path.replace('/', "-"), &json!({ "path": path, "content": "x" }));
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        let id = text(&reply.body["entity"]["id"]);
        let entity = until("it is refused", async || {
            let entity = client.entity(&id).await;
            condition(&entity, "blocked").then_some(entity)
        })
        .await;
        assert_eq!(reason(&entity, "blocked"), "Refused", "{entity:#}");
        assert_eq!(entity["error"]["code"], "permission_denied", "{entity:#}");
        client.file(&format!("beside-{mode}"), &format!("beside-{mode}"), "y").await;
        assert_eq!(client.get("/v1/backends/local").await.body["open"], true);
        chown(&closed, Some(NOBODY), Some(NOBODY)).unwrap();
        client.reaches(&id, "ok").await;
        chown(&closed, Some(0), Some(0)).unwrap();
    }
}

/// The smallest descriptor that the process does not use.
fn first_free(pid: rustix::process::Pid) -> u64 {
    let folder = format!("/proc/{}/fd", pid.as_raw_nonzero());
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let used: Vec<u64> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    (0..1_048_576).find(|number| !used.contains(number)).expect("a limit")
}

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_descriptors_uses_up_no_budget() {
    let setup = Setup::new(
        "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\n\
         retry = { first = \"20ms\", max = \"200ms\", budget = 1 }\n",
    );
    let server = setup.start().await;
    let client = &server.client;
    let id = client.file("file", "file", "one").await;
    let path = format!("/v1/entities/{id}");
    // The server can accept no other connection while the limit holds.
    let connection = Connection::open(client);
    let maximum = getrlimit(Resource::Nofile).maximum;
    let few = Rlimit { current: Some(first_free(server.pid())), maximum };
    let before = prlimit(Some(server.pid()), Resource::Nofile, few).unwrap();
    let desired = json!({ "desired": { "path": "file", "content": "two" } }).to_string();
    let accepted = connection.send(&Method::PUT, &path, &desired);
    assert_eq!(accepted.status, StatusCode::ACCEPTED, "{:#}", accepted.body);
    let failed = until("it fails", async || {
        let entity = connection.send(&Method::GET, &path, "").body;
        (!entity["error"].is_null()).then_some(entity)
    })
    .await;
    prlimit(Some(server.pid()), Resource::Nofile, before).unwrap();
    assert_eq!(failed["error"]["class"], "exhausted", "{failed:#}");
    assert_eq!(failed["error"]["code"], "too_many_open_files", "{failed:#}");
    assert_ne!(failed["state"], "erred", "{failed:#}");
    client.reaches(&id, "ok").await;
}
