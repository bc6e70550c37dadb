//! The stock peer works as it says: create, change, show, and two who decide on one version.

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
