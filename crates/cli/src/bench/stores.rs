//! The same work on the embedded store, on one node with PostgreSQL and on three, in one run.
//!
//! Both stores get the same build, the same machine and the same minutes, so their ratios mean something. Each run needs a
//! new database: the world of a run gives out ids that objects of an earlier one have.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::create_throughput;
use super::load::{self, LoadEnd, LoadResult};
use super::process_usage::Process;
use super::report::BenchTarget;
use super::store_nodes::{self, TOKEN};
use super::{lifecycle, number, rate, report_progress};

/// Connections of the load.
const CONNECTIONS: usize = 64;
/// Nodes of the third measurement.
const NODES: usize = 3;

// The targets: ratios within one run, and what a request may take beyond its four commits.
const NODES_RATIO_MIN: f64 = 0.7;
const REBUILD_RATIO_MIN: f64 = 0.7;
const MEMORY_RATIO_MAX: f64 = 1.3;
const COMMITS: f64 = 4.0;
const ONE_NODE_MS: f64 = 10.0;
const NODES_MS: f64 = 30.0;
const READ_PER_SECOND_MIN: f64 = 50_000.0;
/// Busy processors of a node that only follows, at the rate of [`FOLLOWED_PER_SECOND`].
const FOLLOWER_CPUS_MAX: f64 = 0.05;
const FOLLOWED_PER_SECOND: f64 = 500.0;
/// Connections of the load that a follower follows.
const FOLLOWED_CONNECTIONS: usize = 4;

/// The parameters of a run.
#[derive(Clone, Debug)]
pub(crate) struct StoresPlan {
    /// Folder for the nodes' files, and for the embedded store.
    pub(crate) folder: PathBuf,
    /// URL of a database that no run has used.
    pub(crate) store: String,
    /// Duration of each measurement.
    pub(crate) time: Duration,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct StoresReport {
    version: &'static str,
    /// Whether the build is unoptimised: its figures mean nothing.
    debug_build: bool,
    processors: usize,
    stores: Vec<StoreFigures>,
    follower: Follower,
    targets: Vec<BenchTarget>,
}

/// The figures of the nodes of one store.
#[derive(Debug, Serialize)]
struct StoreFigures {
    store: &'static str,
    /// A create over one connection while the backend is paused: one commit, and the request around it.
    append_p50_ms: f64,
    ok_p50_ms: f64,
    ok_p99_ms: f64,
    /// Over 64 connections, the backend paused, and while what was accepted is worked on.
    accepted_per_second: f64,
    creates_per_second: f64,
    /// Of the node that needed most.
    memory_peak_mib: f64,
    /// Of the log's events; `None` = measured with fewer nodes.
    rebuild_per_second: Option<f64>,
    verify_per_second: Option<f64>,
}

/// A node that works on nothing, beside one that makes four entities at a time.
#[derive(Debug, Serialize)]
struct Follower {
    events_per_second: f64,
    cpus: f64,
}

/// Measures the embedded store, then one node and three on the database.
///
/// # Errors
/// In one line: a database that cannot be used, an answer of another status.
pub(crate) async fn run(plan: &StoresPlan) -> anyhow::Result<StoresReport> {
    std::fs::create_dir_all(&plan.folder)
        .with_context(|| format!("cannot make {}", plan.folder.display()))?;
    let folder = tempfile::tempdir_in(&plan.folder)
        .with_context(|| format!("cannot write to {}", plan.folder.display()))?;
    store_nodes::migrate(&plan.store).await?;
    // Nodes that share a store have to share the world, too: ids of another one's objects would be taken.
    let (embedded_world, world) = (Process::world().await?, Process::world().await?);
    let start = async |name: &str, store: Option<&str>, role: &str| {
        let world = if store.is_some() { &world } else { &embedded_world };
        store_nodes::start(&folder.path().join(name), store, role, Some(world)).await
    };
    let url = Some(&*plan.store);
    let sqlite = vec![start("sqlite", None, "all").await?];
    let embedded = figures("SQLite", sqlite, plan.time, true).await?;
    let one = figures("PostgreSQL", vec![start("one", url, "all").await?], plan.time, true).await?;
    let worker = start("worker", url, "all").await?;
    let follower = follow(worker, start("follower", url, "api").await?, plan.time).await?;
    let mut nodes = Vec::with_capacity(NODES);
    for number in 0..NODES {
        nodes.push(start(&format!("node{number}"), url, "all").await?);
    }
    let three = figures("PostgreSQL, 3 nodes", nodes, plan.time, false).await?;
    Ok(StoresReport {
        version: env!("CARGO_PKG_VERSION"),
        debug_build: cfg!(debug_assertions),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        targets: targets(&embedded, &one, &three, &follower),
        stores: vec![embedded, one, three],
        follower,
    })
}

async fn figures(
    store: &'static str,
    nodes: Vec<Process>,
    time: Duration,
    replays: bool,
) -> anyhow::Result<StoreFigures> {
    report_progress(store);
    let first = &nodes[0];
    let addresses: Vec<_> = nodes.iter().map(|node| node.address).collect();
    let mut wanted = lifecycle::ok_entities(first).await?;

    store_nodes::post(first, "/v1/backends/sandbox/actions/pause").await?;
    let appended = creates(&addresses, "append", 1, time, 202).await?;
    let accepted = creates(&addresses, "accept", CONNECTIONS, time, 202).await?;
    store_nodes::post(first, "/v1/backends/sandbox/actions/resume").await?;
    wanted += appended.requests + accepted.requests;
    store_nodes::settle(first, wanted).await?;
    let single = creates(&addresses, "single", 1, time, 200).await?;
    let created = creates(&addresses, "create", CONNECTIONS, time, 202).await?;
    wanted += single.requests + created.requests;
    store_nodes::settle(first, wanted).await?;

    let (mut rebuild, mut verify) = (None, None);
    if replays {
        let (report, took) = store_nodes::post(first, "/v1/audit/verify").await?;
        let events = report["events"].as_u64().context("the report counts events")?;
        verify = Some(rate(events, took));
        let (_, took) = store_nodes::post(first, "/v1/projections/entities/rebuild").await?;
        rebuild = Some(rate(events, took));
    }
    let mut peak = 0;
    for node in nodes {
        peak = peak.max(node.memory()?.1);
        node.stop().await?;
    }
    let ms = |result: &LoadResult, permille| result.times.quantile(permille).as_secs_f64() * 1e3;
    Ok(StoreFigures {
        store,
        append_p50_ms: ms(&appended, 500),
        ok_p50_ms: ms(&single, 500),
        ok_p99_ms: ms(&single, 990),
        accepted_per_second: rate(accepted.requests, accepted.took),
        creates_per_second: rate(created.requests, created.took),
        memory_peak_mib: number(peak) / 1_048_576.0,
        rebuild_per_second: rebuild,
        verify_per_second: verify,
    })
}

/// Creates over so many connections; with status 200, each waits until its entity is `ok`.
async fn creates(
    addresses: &[SocketAddr],
    name: &str,
    connections: usize,
    time: Duration,
    status: u16,
) -> anyhow::Result<LoadResult> {
    // Names are unique in a log, and a database may have served an earlier run.
    let name = format!("{name}-{}-{}", addresses[0].port(), std::process::id());
    let headers = if status == 200 { "prefer: wait=30\r\n" } else { "" };
    let template = create_throughput::create_as(TOKEN, &name, headers);
    load::run(addresses, connections, LoadEnd::After(time), &template, status).await
}

async fn follow(worker: Process, follower: Process, time: Duration) -> anyhow::Result<Follower> {
    report_progress("a node that only follows");
    let events = async || {
        let (report, _) = store_nodes::post(&worker, "/v1/audit/verify").await?;
        report["events"].as_u64().context("the report counts events")
    };
    let before = events().await?;
    let cpu = follower.cpu()?;
    let result = creates(&[worker.address], "followed", FOLLOWED_CONNECTIONS, time, 200).await?;
    let cpu = follower.cpu()?.saturating_sub(cpu);
    let events = events().await?.saturating_sub(before);
    follower.stop().await?;
    worker.stop().await?;
    Ok(Follower {
        events_per_second: rate(events, result.took),
        cpus: cpu.as_secs_f64() / result.took.as_secs_f64(),
    })
}

fn targets(
    embedded: &StoreFigures,
    one: &StoreFigures,
    three: &StoreFigures,
    follower: &Follower,
) -> Vec<BenchTarget> {
    let commits = COMMITS * one.append_p50_ms;
    let ratio = |ours: Option<f64>, theirs: Option<f64>| {
        ours.unwrap_or_default() / theirs.unwrap_or(f64::EPSILON)
    };
    let at_the_rate = follower.cpus * FOLLOWED_PER_SECOND / follower.events_per_second;
    let rebuild = ratio(one.rebuild_per_second, embedded.rebuild_per_second);
    vec![
        BenchTarget::at_least(
            "creates, three nodes : one",
            NODES_RATIO_MIN,
            three.creates_per_second / one.creates_per_second,
        ),
        BenchTarget::at_most("ms to ok, p50, one node", commits + ONE_NODE_MS, one.ok_p50_ms),
        BenchTarget::at_most("ms to ok, p50, three nodes", commits + NODES_MS, three.ok_p50_ms),
        BenchTarget::at_least(
            "events/s read and verified",
            READ_PER_SECOND_MIN,
            one.verify_per_second.unwrap_or_default(),
        ),
        BenchTarget::at_least("rebuild, PostgreSQL : SQLite", REBUILD_RATIO_MIN, rebuild),
        BenchTarget::at_most(
            "peak memory, PostgreSQL : SQLite",
            MEMORY_RATIO_MAX,
            one.memory_peak_mib / embedded.memory_peak_mib,
        ),
        BenchTarget::at_most("CPUs of a follower, 500 events/s", FOLLOWER_CPUS_MAX, at_the_rate),
    ]
}

impl StoresReport {
    /// Names of the missed targets.
    pub(crate) fn missed(&self) -> Vec<&'static str> {
        super::report::missed(&self.targets)
    }
}

impl Display for StoresReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let build = if self.debug_build { " DEBUG BUILD: the figures mean nothing" } else { "" };
        writeln!(f, "stateward {}, {} processors{build}\n", self.version, self.processors)?;
        let columns = ["append ms", "ok p50", "ok p99", "accept/s", "create/s", "MiB peak"];
        let columns = columns.map(|column| format!("{column:>10}")).concat();
        writeln!(f, "{:20}{columns}{:>12}{:>12}", "", "rebuild/s", "verify/s")?;
        for figures in &self.stores {
            let per_second = |rate: Option<f64>| {
                rate.map_or_else(|| "n/a".to_owned(), |rate| format!("{rate:.0}"))
            };
            writeln!(
                f,
                "{:20}{:>10.2}{:>10.2}{:>10.2}{:>10.0}{:>10.0}{:>10.0}{:>12}{:>12}",
                figures.store,
                figures.append_p50_ms,
                figures.ok_p50_ms,
                figures.ok_p99_ms,
                figures.accepted_per_second,
                figures.creates_per_second,
                figures.memory_peak_mib,
                per_second(figures.rebuild_per_second),
                per_second(figures.verify_per_second),
            )?;
        }
        let Follower { events_per_second, cpus } = self.follower;
        writeln!(
            f,
            "\na follower keeps {cpus:.3} processors busy at {events_per_second:.0} events/s\n"
        )?;
        self.targets.iter().try_for_each(|target| write!(f, "{target}"))
    }
}
