//! Whose files are, and what a service without privileges may do about it.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Server, Setup, until};

const NOBODY: u32 = 65_534;

/// A server of `nobody`; `None` = this process may not run one, and says so.
async fn unprivileged() -> Option<(Setup, Server)> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may run a server as another user");
        return None;
    }
    let setup = Setup::new(
        "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\ndrift_interval = \"100ms\"\n\
         retry = { first = \"20ms\", max = \"200ms\" }\n",
    );
    chown(setup.folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = setup.command();
    command.uid(NOBODY).gid(NOBODY);
    let server = Server::from_command(command, &setup.data()).await.expect("ready");
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
