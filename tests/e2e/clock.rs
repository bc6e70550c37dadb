//! Adjustments of the wall clock: no work waits for them, whether the server runs or not.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, text, until};

const DAY: i64 = 24 * 3_600;
const YEAR: i64 = 365 * DAY;
/// Successive offsets of the clock in seconds: an ordinary correction, a wrong time zone, a wrong day, and right again.
const WRONG: [i64; 4] = [-60, -3 * 3_600, DAY, 0];

/// A folder whose servers have an adjustable wall clock.
struct Watched {
    setup: Setup,
    changes: u32,
}

impl Watched {
    fn new() -> Self {
        // A node on a database does not start with such a clock.
        let setup = Setup::embedded(
            "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\ndrift_interval = \"300ms\"\n\
             [backends.sandbox]\ndriver = \"fake\"\nretry = { first = \"50ms\", max = \"200ms\" }\n",
        );
        let watched = Self { setup, changes: 0 };
        watched.set(0);
        watched
    }

    fn clock(&self) -> PathBuf {
        self.setup.folder.path().join("clock")
    }

    /// Sets the wall clock, also of a running server.
    fn set(&self, wrong_by: i64) {
        let new = self.clock().with_extension("new");
        std::fs::write(&new, wrong_by.to_string()).unwrap();
        std::fs::rename(new, self.clock()).unwrap();
    }

    async fn start(&self) -> Server {
        let clock = format!("cli::clock::wall=return({})", self.clock().display());
        self.setup.start_with(&clock).await.expect("ready")
    }

    async fn file(&self, client: &Client) -> String {
        client.file("f", "f", "first").await
    }

    /// A change is made at once, a failed one is retried, and drift is corrected.
    async fn works(&mut self, client: &Client, id: &str) {
        self.changes += 1;
        let content = format!("change {}", self.changes);
        let desired = json!({ "desired": { "path": "f", "content": content } });
        let reply = client.done(Method::PUT, &format!("/v1/entities/{id}"), desired).await;
        let newest = client.get("/v1/operations?page_size=1").await.body;
        assert_eq!(
            newest["items"][0]["id"], reply.body["operation"]["id"],
            "the newest comes first"
        );
        client
            .thing(
                &format!("t{}", self.changes),
                json!({ "_fake": { "fail": { "create": "transient" }, "times": 2 } }),
            )
            .await;
        let file = self.setup.managed().join("f");
        std::fs::write(&file, "drift").unwrap();
        until("drift is repaired", async || {
            (std::fs::read_to_string(&file).unwrap() == content).then_some(())
        })
        .await;
    }
}

/// The check `clock` of `/readyz`, of a server that is ready.
async fn clock_check(client: &Client) -> Value {
    let reply = client.get("/readyz").await;
    assert_eq!((reply.status, &reply.body["ready"]), (StatusCode::OK, &json!(true)));
    let checks = reply.body["checks"].as_array().unwrap().iter();
    checks.clone().find(|check| check["name"] == "clock").unwrap().clone()
}

async fn skew(client: &Client) -> f64 {
    let metrics = client.metrics().await;
    let line = metrics.lines().find_map(|line| line.strip_prefix("stateward_clock_skew_seconds "));
    line.expect("the metric").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_clock_that_is_set_while_the_server_runs() {
    let mut watched = Watched::new();
    let server = watched.start().await;
    let client = &server.client;
    let id = watched.file(client).await;
    assert_eq!(clock_check(client).await["ok"], true);
    for wrong_by in WRONG {
        watched.set(wrong_by);
        watched.works(client, &id).await;
    }
    // The clock was a day ahead once: log time never runs back.
    let check = clock_check(client).await;
    assert_eq!(check["ok"], false, "{check}");
    assert!(text(&check["detail"]).contains("behind"), "{check}");
    let skew = skew(client).await;
    assert!((86_399.0..86_401.0).contains(&skew), "{skew}");
    watched.set(DAY);
    assert_eq!(clock_check(client).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_clock_that_is_set_between_two_runs() {
    let mut watched = Watched::new();
    let mut server = watched.start().await;
    let id = watched.file(&server.client).await;
    for wrong_by in WRONG {
        assert!(server.terminate().await.success());
        watched.set(wrong_by);
        server = watched.start().await;
        watched.works(&server.client, &id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_written_ahead_of_the_clock_works_on() {
    for ahead in [DAY, YEAR] {
        let mut watched = Watched::new();
        watched.set(ahead);
        let mut server = watched.start().await;
        let id = watched.file(&server.client).await;
        watched.works(&server.client, &id).await;
        assert!(server.terminate().await.success());
        watched.set(0);
        for _ in 0..2 {
            server = watched.start().await;
            watched.works(&server.client, &id).await;
            let check = clock_check(&server.client).await;
            assert_eq!(check["ok"], false, "{check}");
            assert!(server.terminate().await.success());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "the server's clock is this machine's")]
async fn a_token_that_a_wrong_clock_ended_comes_back_with_the_right_one() {
    let watched = Watched::new();
    let server = watched.start().await;
    let admin = &server.client;
    let issue = async |hours: i64| {
        let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
        let grants = json!([{ "role": "viewer" }]);
        let body = json!({ "actor": "ci", "grants": grants, "expires_at": end.to_string() });
        let issued = admin.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
        assert_eq!(issued.status, StatusCode::CREATED, "{:#}", issued.body);
        admin.with_token(&text(&issued.body["value"]))
    };
    let caller = issue(1).await;
    watched.set(DAY);
    assert_eq!(caller.get("/v1/kinds").await.status, StatusCode::UNAUTHORIZED, "it is tomorrow");
    // Expired tokens make room for new ones.
    issue(48).await;
    watched.set(0);
    assert_eq!(caller.get("/v1/kinds").await.status, StatusCode::OK, "it is today");
}
