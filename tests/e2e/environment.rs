//! The server's environment: variables that others set, and a configuration from a pipe.

use reqwest::StatusCode;
use rustix::fs::{CWD, FileType, Mode};
use rustix::process::{Signal, kill_process};

use crate::harness::{Setup, refused, until};

const SANDBOX: &str = "[backends.sandbox]\ndriver = \"fake\"\n";

/// The variables that Kubernetes sets in a pod beside a Service called `stateward` with one port.
const OF_A_SERVICE: &[(&str, &str)] = &[
    ("STATEWARD_SERVICE_HOST", "10.0.0.7"),
    ("STATEWARD_SERVICE_PORT", "8420"),
    ("STATEWARD_SERVICE_PORT_HTTP", "8420"),
    ("STATEWARD_PORT", "tcp://10.0.0.7:8420"),
    ("STATEWARD_PORT_8420_TCP", "tcp://10.0.0.7:8420"),
    ("STATEWARD_PORT_8420_TCP_PROTO", "tcp"),
    ("STATEWARD_PORT_8420_TCP_PORT", "8420"),
    ("STATEWARD_PORT_8420_TCP_ADDR", "10.0.0.7"),
];

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_a_service_stop_nothing_and_a_misspelt_one_is_named() {
    let setup = Setup::new(SANDBOX);
    let mut command = setup.command();
    command.envs(OF_A_SERVICE.iter().copied()).env("STATEWARD_LISTEN", "127.0.0.1:1");
    let server = setup.run(command).await.expect("ready");
    drop(server);

    let mut command = setup.command();
    command.envs(OF_A_SERVICE.iter().copied()).env("STATEWARD_LISTEN", "127.0.0.1:1");
    let (code, lines) = refused({
        command.env("STATEWARD_SERVER__NONSENSE", "1");
        command
    })
    .await;
    assert_eq!(code, Some(1), "a section with an unknown key: {lines:#?}");
    let named: Vec<_> = lines.iter().filter(|line| line.contains("configures nothing")).collect();
    assert_eq!(named.len(), 1, "{lines:#?}");
    assert!(named[0].contains("STATEWARD_LISTEN"), "{named:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_out_of_a_pipe_outlives_a_reload() {
    let setup = Setup::new("");
    let file = setup.folder.path().join("stateward.toml");
    std::fs::remove_file(&file).unwrap();
    rustix::fs::mknodat(CWD, &file, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let writer =
        std::thread::spawn(move || std::fs::write(file, "[backends.piped]\ndriver = \"fake\"\n"));
    let server = setup.start().await;
    writer.join().unwrap().unwrap();
    kill_process(server.pid(), Signal::HUP).unwrap();
    until("the signal is heard", async || server.said().contains("read anew").then_some(())).await;
    let backends = server.client.get("/v1/backends").await.body["items"].clone();
    let names: Vec<_> = backends.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["piped"], "the defaults took its place");
    assert_eq!(server.client.get("/v1/backends/piped").await.status, StatusCode::OK);
}
