//! A server populated with many similar entities, and more than a page of each rare sort that lists filter by.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::super::http::RawConnection;
use super::super::load::{self, LoadEnd, Template, Times};
use super::super::process_usage::{self, Process};
use super::super::report_progress;
use super::api::Api;

/// Connections for creating the many.
const CONNECTIONS: usize = 64;
/// Entities created before waiting for convergence, so that the queue stays as long as a busy server's.
const BATCH: u64 = 20_000;
/// How long a batch may take to converge.
const CONVERGENCE_MAX: Duration = Duration::from_mins(5);
/// Between two queries of the progress.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The manifest of the many; `{number}` makes each unique.
const MANY: &str = r#"{"kind": "fake.thing", "name": "{batch}-{number}", "backend": "sandbox",
 "labels": {"all": "yes", "team": "storage", "stage": "production"},
 "desired": {"size_gib": 20, "zone": "zone-1", "encrypted": true, "description": "a volume as people declare them",
 "tags": ["backup", "daily"]}}"#;

pub(super) struct PopulatedServer {
    pub(super) server: Process,
    pub(super) api: Api,
    /// Number of entities created.
    pub(super) entities: u64,
    pub(super) intake: FillFigures,
    /// Number of entities created one by one.
    lone: u64,
}

/// Figures of creating the many.
#[derive(Clone, Default)]
pub(super) struct FillFigures {
    pub(super) times: Times,
    pub(super) creates: u64,
    pub(super) creating: Duration,
    /// From the first request to the last `ok`.
    pub(super) took: Duration,
}

/// The configuration: a backend for the many and one for the few, in the same world.
pub(super) fn config(world: &Process) -> String {
    let backend = |name: &str| {
        format!(
            "[backends.{name}]\ndriver = \"fake\"\nurl = \"http://{}\"\nconcurrency = 64\ndrift_interval = \"24h\"\n",
            world.address
        )
    };
    format!("[namespaces.few]\n{}{}", backend("sandbox"), backend("rare"))
}

impl PopulatedServer {
    /// Starts a server in `folder`, and creates so many entities; all of them have converged.
    pub(super) async fn make(
        folder: &Path,
        world: &Process,
        many: u64,
        few: usize,
    ) -> anyhow::Result<Self> {
        report_progress(&format!("how {many} entities are made"));
        let server = Process::serve_with(folder, &config(world)).await?;
        let api = Api::open(&server, folder).await?;
        let mut server_state =
            Self { server, api, entities: 0, intake: FillFigures::default(), lone: 0 };
        server_state.few(world.address, few).await?;
        let (mut left, mut batch) = (many, 0);
        while left > 0 {
            let size = left.min(BATCH);
            server_state.many(folder, batch, size).await?;
            (left, batch) = (left - size, batch + 1);
        }
        Ok(server_state)
    }

    async fn many(&mut self, folder: &Path, batch: u64, size: u64) -> anyhow::Result<()> {
        let headers = format!("authorization: Bearer {}\r\n", process_usage::token(folder)?);
        let body = MANY.replace("{batch}", &format!("many-{batch}"));
        let template = Template::post("/v1/entities", &headers, &body);
        let before = self.api.counted("ok").await?;
        let began = Instant::now();
        let enough = LoadEnd::Requests(size);
        let made = load::run(&[self.server.address], CONNECTIONS, enough, &template, 202).await?;
        while self.api.counted("ok").await? < before + size {
            ensure!(began.elapsed() < CONVERGENCE_MAX, "{size} entities do not become ok in time");
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.intake.creates += made.requests;
        self.intake.creating += made.took;
        self.intake.took += began.elapsed();
        self.intake.times.extend(made.times);
        self.entities += size;
        Ok(())
    }

    /// Creates one entity and waits until it is `ok`.
    pub(super) async fn lone(&mut self) -> anyhow::Result<Duration> {
        self.lone += 1;
        let manifest = thing(&format!("lone-{}", self.lone), "default", "sandbox");
        let before = Instant::now();
        self.declared(&manifest).await?;
        Ok(before.elapsed())
    }

    async fn declared(&mut self, manifest: &Value) -> anyhow::Result<Value> {
        let wait = "prefer: wait=30\r\n";
        let body = self.api.send("POST", "/v1/entities", wait, &manifest.to_string()).await?;
        self.entities += 1;
        Ok(serde_json::from_slice(&body)?)
    }

    /// Creates the few: in a separate namespace, on a separate backend and with a separate label; drifted, erred and
    /// deleted ones.
    async fn few(&mut self, world: SocketAddr, count: usize) -> anyhow::Result<()> {
        let mut world = RawConnection::open(world).await?;
        for number in 0..count {
            let mut rare = thing(&format!("rare-{number}"), "few", "rare");
            rare["labels"] = json!({ "all": "yes", "team": "storage", "rare": "yes" });
            rare["drift_policy"] = json!("report");
            let made = self.declared(&rare).await?;
            tamper(&mut world, text(&made, "/entity/observed/external_id")?).await?;
            let id = text(&made, "/entity/id")?;
            let refresh = format!("/v1/entities/{id}/actions/refresh");
            self.api.send("POST", &refresh, "prefer: wait=30\r\n", "{}").await?;

            let mut erred = thing(&format!("erred-{number}"), "few", "rare");
            erred["desired"]["_fake"] = json!({ "fail": { "create": "invalid" }, "times": 1_000 });
            self.declared(&erred).await?;

            let gone = self.declared(&thing(&format!("gone-{number}"), "few", "rare")).await?;
            let path = format!("/v1/entities/{}", text(&gone, "/entity/id")?);
            self.api.send("DELETE", &path, "prefer: wait=30\r\n", "").await?;
        }
        Ok(())
    }

    /// The token of the page in the middle of the list.
    pub(super) async fn deep(&mut self) -> anyhow::Result<String> {
        const PAGE: u64 = 1_000;
        let (mut token, mut seen) = (String::new(), 0);
        loop {
            let size = PAGE.min(self.entities / 2);
            let page = self.api.get(&format!("/v1/entities?page_size={size}{token}")).await?;
            seen += size;
            let next = text(&page, "/next_page_token")?;
            if seen + size > self.entities / 2 {
                return Ok(next.to_owned());
            }
            token = format!("&page_token={next}");
        }
    }

    /// Stops the server; returns how long that took.
    pub(super) async fn stop(self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.server.stop().await?;
        Ok(began.elapsed())
    }
}

fn thing(name: &str, namespace: &str, backend: &str) -> Value {
    json!({
        "kind": "fake.thing", "name": name, "namespace": namespace, "backend": backend,
        "labels": { "all": "yes" }, "desired": { "size_gib": 20, "zone": "zone-1" },
    })
}

fn text<'v>(value: &'v Value, pointer: &str) -> anyhow::Result<&'v str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("there is no {pointer} in {value}"))
}

/// Changes a thing in the world directly.
async fn tamper(world: &mut RawConnection, id: &str) -> anyhow::Result<()> {
    let body = json!({ "size_gib": 7, "zone": "zone-1" }).to_string();
    let length = body.len();
    let request = format!(
        "PUT /things/{id} HTTP/1.1\r\nhost: bench\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    world.exchange(request.as_bytes()).await?.expect(204).map(drop)
}

/// Bytes of the log and of the views of a stopped server.
pub(super) fn disk(folder: &Path) -> anyhow::Result<(u64, u64)> {
    let data = process_usage::data(folder);
    let size = |name: &str| std::fs::metadata(data.join(name)).map(|metadata| metadata.len());
    Ok((size("events.db")?, size("views.db")?))
}
