//! Proxies from the environment: requests to this machine never use one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;
use tokio::process::Command;

use crate::cli::Cli;
use crate::harness::{Setup, until};

/// Every variable that configures a proxy.
const VARIABLES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// Counts connections, and answers none.
struct Proxy {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { url, connections }
    }

    fn used_by(&self, mut command: Command) -> Command {
        command.env_remove("no_proxy").env_remove("NO_PROXY");
        command.envs(VARIABLES.map(|name| (name, &self.url)));
        command
    }
}

/// A server that applies one manifest to itself while a proxy is configured; then the command line queries it.
async fn applied_without_a_proxy(listen: &str, encrypt: bool) {
    let tls = "tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"\n";
    let server = if encrypt { tls } else { "insecure = true\n" };
    let setup = Setup::new(&format!("[server]\n{server}"));
    let folder = setup.folder.path();
    // The certificate names another host than the one connected to.
    let made = rcgen::generate_simple_self_signed(["stateward.example.org".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let manifest = "{\"kind\": \"fake.thing\", \"name\": \"applied\", \"backend\": \"sandbox\", \"desired\": {}}";
    std::fs::write(folder.join("applied.json"), manifest).unwrap();

    let proxy = Proxy::start().await;
    let mut command = proxy.used_by(setup.command_on(Some(listen)));
    command.arg("--apply").arg(folder.join("applied.json")).stdout(std::process::Stdio::piped());
    let _server = setup.run(command).await.unwrap();
    if encrypt {
        // The command line trusts no certificate of another name: the log proves that the manifest was applied.
        until("what was applied is there", async || {
            let log = std::fs::read(setup.data().join("events.db-wal")).ok()?;
            memchr::memmem::find(&log, b"entity.sync_completed").map(|_| ())
        })
        .await;
    } else {
        let mut cli = Cli::new(folder);
        for name in VARIABLES {
            cli = cli.with(name, &proxy.url);
        }
        until("what was applied is there", async || {
            cli.ok("get thing -o name").await.contains("applied").then_some(())
        })
        .await;
    }
    assert_eq!(proxy.connections.load(Ordering::Relaxed), 0, "{listen} was asked for at the proxy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_all_interfaces_applies_to_itself_without_a_proxy() {
    applied_without_a_proxy("0.0.0.0:0", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_all_interfaces_of_ipv6_applies_to_itself_without_a_proxy() {
    if std::net::TcpListener::bind("[::]:0").is_err() {
        crate::skip::skipped("no IPv6 here");
        return;
    }
    applied_without_a_proxy("[::]:0", false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypting_server_applies_to_itself_by_its_own_certificate_without_a_proxy() {
    applied_without_a_proxy("0.0.0.0:0", true).await;
}
