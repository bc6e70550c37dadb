//! Obstacles to a start or to running: one clear line, a non-zero exit code, nothing lost.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::{Client, Setup, World, refused, text, thing};

/// Runs a server that must not start; returns its one line.
async fn line_of(command: Command) -> String {
    let (code, said) = refused(command).await;
    assert_eq!(code, Some(1), "{said:#?}");
    let lines: Vec<_> = said.iter().filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(lines.len(), 1, "not one line: {said:#?}");
    assert!(lines[0].starts_with("stateward: "), "{said:#?}");
    lines[0].clone()
}

fn assert_names(line: &str, what: &[&str]) {
    assert!(what.iter().any(|word| line.contains(word)), "says nothing of {what:?}: {line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_directory_is_refused() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let line = line_of(setup.command()).await;
    assert_names(&line, &["another"]);
    assert_eq!(server.client.get("/readyz").await.status, StatusCode::OK, "the first goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_keeps_little_memory() {
    let setup = Setup::new("");
    let server = setup.start().await;
    server.client.thing("warm", json!({ "size": 1 })).await;
    let status = format!("/proc/{}/status", server.pid().as_raw_nonzero());
    let status = std::fs::read_to_string(status).unwrap();
    let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kilobytes: u64 = anonymous.trim().trim_end_matches(" kB").parse().unwrap();
    // 14 MB, mostly drivers' validators and SQLite's pages; 56 MB with huge pages.
    assert!(kilobytes < 28_000, "{kilobytes} kB besides the binary");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new("");
    let address = taken.local_addr().unwrap().to_string();
    let line = line_of(setup.command_on(Some(&address))).await;
    assert_names(&line, &[&address]);
    assert!(!setup.data().exists(), "nothing was begun");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_directory_is_refused() {
    let setup = Setup::new("");
    let data = if rustix::process::geteuid().is_root() {
        // Permissions do not stop root, but no folder can be created in here.
        PathBuf::from("/sys/stateward-test")
    } else {
        std::fs::create_dir(setup.data()).unwrap();
        std::fs::set_permissions(setup.data(), std::fs::Permissions::from_mode(0o555)).unwrap();
        setup.data()
    };
    let line = line_of(setup.command_in(&data)).await;
    assert_names(&line, &[&data.display().to_string()]);

    let below_a_file = setup.folder.path().join("stateward.toml/data");
    let line = line_of(setup.command_in(&below_a_file)).await;
    assert_names(&line, &[&below_a_file.display().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_and_damaged_logs_are_refused_and_left_as_they_are() {
    let setup = Setup::new("");
    let mut server = setup.start().await;
    for number in 0..50 {
        server.client.thing(&format!("t{number}"), json!({ "size": 1 })).await;
    }
    assert!(server.terminate().await.success());
    let log = setup.data().join("events.db");
    let good = std::fs::read(&log).unwrap();

    for (name, bytes) in [
        ("text", b"this is no database, whatever its name says".to_vec()),
        ("another program's", another_programs(&good)),
        ("damaged", good.iter().enumerate().map(scribbled).collect()),
        ("cut", good[..good.len() / 2].to_vec()),
    ] {
        std::fs::write(&log, &bytes).unwrap();
        let line = line_of(setup.command()).await;
        assert_names(&line, &["events.db"]);
        assert_eq!(std::fs::read(&log).unwrap(), bytes, "{name}: it was touched");
    }
    std::fs::write(&log, &good).unwrap();
    let server = setup.start().await;
    assert_eq!(server.client.entities().await.len(), 50);
}

/// Overwrites a part of every page but the first.
fn scribbled((offset, byte): (usize, &u8)) -> u8 {
    if offset > 4_096 && offset % 4_096 < 64 { 0xa5 } else { *byte }
}

/// Offset of the application id in an `SQLite` file (sqlite.org/fileformat.html, 1.3.16).
fn another_programs(good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    bytes[68..72].copy_from_slice(b"ELSE");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_configurations_are_refused_with_their_place() {
    for (config, names) in [
        ("[server\n", "stateward.toml"),
        ("[server]\nlistens_on = \"127.0.0.1:1\"\n", "listens_on"),
        ("[backends.x]\ndriver = \"tape\"\n", "tape"),
        ("[backends.x]\ndriver = \"local\"\nroot = \"./m\"\ncolour = 1\n", "colour"),
        ("[backends.x]\ndriver = \"fake\"\nerror_rate = 7\n", "error_rate"),
        ("[workers]\nlease = \"soon\"\n", "lease"),
        ("[server]\nlisten = \"0.0.0.0:0\"\n", "insecure"),
        ("[server]\ntls_cert = \"./c\"\n", "tls_key"),
        ("[server]\ntls_cert = \"./c\"\ntls_key = \"./k\"\n", "cannot encrypt"),
        ("[store]\nurl = \"mysql://x\"\n", "mysql"),
    ] {
        let setup = Setup::new(config);
        // Another process may use the default port.
        let listen = (!config.contains("listen =")).then_some("127.0.0.1:0");
        let line = line_of(setup.command_on(listen)).await;
        assert_names(&line, &[names]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_opens_no_other_interface_than_the_configuration_may() {
    let line = line_of(Setup::new("").command_on(Some("0.0.0.0:0"))).await;
    assert_names(&line, &["server.listen 0.0.0.0:0", "insecure"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_server_drains_and_goes_on_later() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    world.latency(100).await;
    for number in 0..20 {
        let body = thing(&format!("t{number}"), json!({ "size": 1 }));
        server.client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    }
    assert_eq!(server.terminate().await.code(), Some(0), "{}", server.said());
    let server = setup.start().await;
    let entities = server.client.settled().await;
    assert_eq!(entities.len(), 20);
    assert!(entities.iter().all(|entity| entity["state"] == "ok"));
    world.counts().await.assert_none_twice();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_server_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount().await else {
        crate::skip::skipped("only root can mount a small file system");
        return;
    };
    let setup = Setup::new("[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\n");
    let mut server = setup.start_in(&disk.path()).await;
    let mut acknowledged = Vec::new();
    let last = fill(&server.client, &mut acknowledged).await;
    assert!(!acknowledged.is_empty());
    assert!(last.is_none_or(|status| status == StatusCode::SERVICE_UNAVAILABLE), "{last:?}");
    assert_eq!(server.ended().await.code(), Some(1));
    let said = server.said();
    let line = said.lines().find(|line| line.starts_with("stateward: ")).unwrap_or_default();
    assert_names(line, &["full", "disk"]);

    disk.grow().await;
    let server = setup.start_in(&disk.path()).await;
    for id in &acknowledged {
        let operation = server.client.get(&format!("/v1/operations/{id}")).await;
        assert_eq!(operation.status, StatusCode::OK, "an acknowledged command was lost");
    }
    let known = server.client.settled().await.len();
    assert!(known >= acknowledged.len(), "{known} < {}", acknowledged.len());
}

/// Declares until the server refuses; returns the last reply, if there was one.
async fn fill(client: &Client, acknowledged: &mut Vec<String>) -> Option<StatusCode> {
    for number in 0.. {
        let body = json!({
            "kind": "local.file", "name": format!("f{number}"), "backend": "local",
            "desired": { "path": format!("f{number}"), "content": "x".repeat(20_000) },
        });
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.ok()?;
        if reply.status != StatusCode::ACCEPTED {
            return Some(reply.status);
        }
        acknowledged.push(text(&reply.body["operation"]["id"]));
    }
    None
}

/// A small file system.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    async fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().ok()?;
        let disk = Self { folder };
        disk.run(&["-t", "tmpfs", "-o", "size=6m", "stateward-test"]).await.then_some(disk)
    }

    async fn grow(&self) {
        assert!(self.run(&["-o", "remount,size=64m"]).await);
    }

    async fn run(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new("mount");
        command.args(arguments).arg(self.folder.path());
        command.output().await.is_ok_and(|output| output.status.success())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A process that is still in there must not keep it mounted for ever.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probes_answer_without_a_token_and_nothing_else_does() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let stranger = Client::new(&server.client.url, "");
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(stranger.get(path).await.status, StatusCode::OK, "{path}");
    }
    for path in ["/v1/entities", "/v1/events", "/v1/backends", "/v1/kinds"] {
        let reply = stranger.get(path).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(reply.body["type"].is_string() && reply.body["detail"] != Value::Null);
    }
}
