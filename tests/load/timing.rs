//! Timing: an entity of another namespace takes as long to refuse as one that does not exist.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Setup, text};

/// Requests of each sort, alternating.
const ROUNDS: usize = 400;
/// The medians may differ by this factor: noise. One read more would double the time.
const FACTOR: f64 = 1.5;

async fn refused(client: &Client, path: &str) -> Duration {
    let began = Instant::now();
    let status = client.get(path).await.status;
    assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    began.elapsed()
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_s_id_is_refused_as_late_as_an_unknown_one() {
    let setup =
        Setup::new("[server]\nrate_per_token = 100000\n[namespaces.there]\n[namespaces.here]\n");
    let server = setup.start().await;
    let admin = &server.client;
    let manifest = json!({
        "kind": "fake.thing", "name": "it", "namespace": "there", "backend": "sandbox",
        "desired": { "size": 1 },
    });
    let reply = admin.done(Method::POST, "/v1/entities", manifest).await;
    let grant = json!({ "actor": "x", "grants": [{ "role": "admin", "namespace": "here" }] });
    let issued = admin.send(Method::POST, "/v1/tokens", Some(&grant), &[]).await.unwrap();
    let caller = admin.with_token(&text(&issued.body["value"]));
    let unknown = |id: &Value| text(id).replace(char::is_numeric, "7");
    for (noun, id) in
        [("entities", &reply.body["entity"]["id"]), ("operations", &reply.body["operation"]["id"])]
    {
        let theirs = format!("/v1/{noun}/{}", text(id));
        let nobodys = format!("/v1/{noun}/{}", unknown(id));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            first.push(refused(&caller, &theirs).await);
            second.push(refused(&caller, &nobodys).await);
        }
        let (theirs, nobodys) = (median(first), median(second));
        println!("{noun}: another's {theirs:.0} µs, nobody's {nobodys:.0} µs");
        let ratio = (theirs / nobodys).max(nobodys / theirs);
        assert!(ratio < FACTOR, "{noun}: {theirs:.0} µs against {nobodys:.0} µs");
    }
}
