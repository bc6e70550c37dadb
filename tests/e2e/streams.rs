//! Standard output and standard error without a reader, or on a full disk: neither ends a server, and no command panics.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};

use reqwest::StatusCode;
use rustix::process::Signal;
use tokio::process::{Child, Command};

use crate::cli::Cli;
use crate::harness::{Client, Setup, WAIT_MAX, until};

/// Creates a stream for one process.
type MakeStream = fn() -> Stdio;

/// Streams whose output is not consumed.
fn unread() -> [(&'static str, MakeStream); 2] {
    [
        ("closed pipe", || {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            OwnedFd::from(writer).into()
        }),
        ("full disk", || File::options().write(true).open("/dev/full").expect("a device").into()),
    ]
}

/// Starts a server that writes its log to `stderr`; returns it once it answers.
async fn served(setup: &Setup, stderr: Stdio) -> (Child, Client) {
    let mut command = setup.command();
    command.stderr(stderr).env("RUST_LOG", "trace");
    let child = command.spawn().expect("the binary starts");
    let url =
        until("an address", async || std::fs::read_to_string(setup.data().join("server.url")).ok())
            .await;
    let token = std::fs::read_to_string(setup.data().join("admin.token")).expect("a token");
    (child, Client::new(url.trim(), token.trim()))
}

/// Makes the server write log lines, and waits until it must have tried to.
async fn provoke(child: &Child, client: &Client) {
    let id = child.id().expect("running").cast_signed();
    let pid = rustix::process::Pid::from_raw(id).expect("not zero");
    rustix::process::kill_process(pid, Signal::HUP).expect("sent");
    for _ in 0..200 {
        assert_eq!(client.get("/readyz").await.status, StatusCode::OK, "the service goes on");
    }
}

async fn terminated(mut child: Child) -> ExitStatus {
    let id = child.id().expect("running").cast_signed();
    let pid = rustix::process::Pid::from_raw(id).expect("not zero");
    rustix::process::kill_process(pid, Signal::TERM).expect("sent");
    let ended = tokio::time::timeout(WAIT_MAX, child.wait()).await;
    ended.expect("it ends").expect("a child")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_without_a_reader_of_its_log() {
    for (name, stderr) in unread() {
        let setup = Setup::new("");
        let (child, client) = served(&setup, stderr()).await;
        provoke(&child, &client).await;
        assert!(terminated(child).await.success(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_goes_on_when_the_reader_of_its_log_leaves_or_stands_still() {
    let setup = Setup::new("");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let (child, client) = served(&setup, OwnedFd::from(writer).into()).await;
    // More than a pipe's buffer: a blocking writer would hang now.
    provoke(&child, &client).await;
    let mut first = [0];
    reader.read_exact(&mut first).expect("a line was written");
    drop(reader);
    provoke(&child, &client).await;
    assert!(terminated(child).await.success());
}

/// Exit codes of commands whose output goes to `out` and whose messages go to `err`.
async fn ended(cli: &Cli, line: &str, out: Option<Stdio>, err: Option<Stdio>) -> (i32, String) {
    let mut command: Command = cli.command(&line.split(' ').collect::<Vec<_>>());
    command.stdin(Stdio::null());
    if let Some(out) = out {
        command.stdout(out);
    }
    if let Some(err) = err {
        command.stderr(err);
    }
    // `Command::output` would replace them by pipes.
    let child = command.spawn().expect("the binary starts");
    let output = tokio::time::timeout(WAIT_MAX, child.wait_with_output()).await;
    let output = output.expect("it ends").expect("a child");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().expect("not killed"), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_end_quietly_on_a_closed_pipe_and_with_one_line_on_a_full_disk() {
    let setup = Setup::new("");
    let _server = setup.start().await;
    let cli = Cli::new(setup.folder.path());
    cli.file("x.yaml", "kind: fake.thing\nname: x\nbackend: sandbox\ndesired: {}\n");
    cli.ok("apply -f x.yaml --wait").await;
    let [(_, closed), (_, full)] = unread();
    for line in [
        "get",
        "get -o json",
        "describe thing/x",
        "history thing/x",
        "events",
        "operations",
        "explain thing",
        "backends",
        "namespaces",
        "projections",
        "audit verify",
        "audit verify --offline",
        "audit checkpoint",
        "audit export",
        "audit export --offline",
        "completion bash",
        "backup --to copy-1",
        "restore --from copy-1 --data restored",
    ] {
        let (code, said) = ended(&cli, line, Some(closed()), None).await;
        assert_eq!((code, &*said), (0, ""), "{line} | true");
        let line = line.replace("copy-1", "copy-2").replace("--data restored", "--data again");
        let (code, said) = ended(&cli, &line, Some(full()), None).await;
        assert_eq!((code, said.lines().count()), (1, 1), "{line} > /dev/full: {said}");
        assert!(said.starts_with("stateward: cannot write to standard output"), "{said}");
    }
    assert!(setup.folder.path().join("copy-2/events.db").is_file(), "the copy itself was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_a_reader_change_no_end() {
    let setup = Setup::new("");
    let _server = setup.start().await;
    let cli = Cli::new(setup.folder.path());
    cli.file("bad.yaml", "kind: fake.thing\nname: x\nunknown: 1\n");
    for (name, stream) in unread() {
        for line in ["get thing/nothing", "apply -f bad.yaml", "apply -f absent.yaml", "get -v"] {
            let expected = ended(&cli, line, None, None).await.0;
            let (code, _) = ended(&cli, line, None, Some(stream())).await;
            assert_eq!(code, expected, "{line} 2> {name}");
            assert_ne!(code, 101, "{line} 2> {name}");
        }
    }
}
