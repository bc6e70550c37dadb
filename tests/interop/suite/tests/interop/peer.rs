//! The stock peer works as it says: create, change, show, and two who decide on one version.

use std::path::Path;
use std::process::Stdio;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::example::binary;
use crate::harness::{Client, text};
use crate::postgres_server::{MISSING, Server};
use crate::skip;

#[tokio::test(flavor = "multi_thread")]
async fn the_stock_peer_creates_changes_and_shows_things() {
    let Some(postgres) = Server::shared() else { return skip::skipped(MISSING) };
    let name = format!("peer{:x}", rand::random::<u64>());
    postgres.execute("postgres", &format!("CREATE DATABASE {name}"));
    let url = postgres.url(&name);
    for pool in ["4", "16", "64"] {
        let mut child = Command::new(binary("stock-peer"))
            .args([&url, "127.0.0.1:0", pool])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let address = lines.next_line().await.expect("text").expect("an address");
        let client = Client::new(&address, "");
        let send = async |method, path: &str, body: Value| {
            client.send(method, path, Some(&body), &[]).await.expect("an answer")
        };
        let made =
            send(Method::POST, "/things", json!({ "name": "a", "desired": { "size": 1 } })).await;
        assert_eq!(made.status, StatusCode::ACCEPTED, "{:#}", made.body);
        let path = format!("/things/{}", text(&made.body["id"]));
        let changed = send(Method::PUT, &path, json!({ "desired": { "size": 2 } })).await;
        assert_eq!(changed.status, StatusCode::ACCEPTED, "{:#}", changed.body);
        let shown = client.get(&path).await.body;
        assert_eq!(shown, json!({ "name": "a", "desired": { "size": 2 }, "changes": 1 }));
        let missing = send(Method::PUT, "/things/none", json!({ "desired": {} })).await;
        assert_eq!(missing.status, StatusCode::CONFLICT);
        child.kill().await.expect("killed");
    }
    let database = PgPool::connect(&url).await.expect("connected");
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events")
        .fetch_one(&database)
        .await
        .expect("a count");
    assert_eq!(events, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_benchmark_has_every_figure_of_both_services() {
    let Some(postgres) = Server::shared() else { return skip::skipped(MISSING) };
    let names = ["ours", "theirs"].map(|name| format!("{name}{:x}", rand::random::<u64>()));
    for name in &names {
        postgres.execute("postgres", &format!("CREATE DATABASE {name}"));
    }
    let [ours, theirs] = names.map(|name| postgres.url(&name));
    let folder = tempfile::tempdir().expect("a folder");
    let bench = async |peer: &Path| {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_stateward"));
        bench.args(["bench", "--seconds", "0.2", "--json", "-", "--store", &ours]);
        bench.args(["--peer-store", &theirs, "--peer"]).arg(peer).arg("--dir").arg(folder.path());
        bench.output().await.expect("the binary starts")
    };
    // Twice: a database that served an earlier run serves another one.
    for _ in 0..2 {
        let output = bench(&binary("stock-peer")).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let runs = report["runs"].as_array().expect("runs");
        let services: Vec<_> = runs.iter().map(|run| text(&run["service"])).collect();
        let expected = ["role api", "role all", "peer, pool 4", "peer, pool 16", "peer, pool 64"];
        assert_eq!(services, expected);
        for run in runs {
            for figure in ["creates_per_second", "p50_ms", "p99_ms", "service_cpus", "other_cpus"] {
                assert!(
                    run[figure].as_f64().is_some_and(|figure| figure >= 0.0),
                    "{figure}: {run:#}"
                );
            }
            assert!(run["creates_per_second"].as_f64() > Some(1.0), "{run:#}");
        }
    }
    let missing = bench(Path::new("/none")).await;
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/none"), "{missing:?}");
}
