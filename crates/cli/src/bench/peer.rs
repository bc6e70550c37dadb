//! Durable creates on PostgreSQL, beside a service that does the least: the stock peer (`tests/interop/stock-peer`), with
//! pools of several sizes. One run measures all of them, on one server of PostgreSQL and one machine.
//!
//! Ours is measured twice: by a node that also runs projections and rounds (`all`), and by one that does neither (`api`),
//! while nothing else works on what it accepts.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::create_throughput::{self, DESIRED};
use super::load::{self, LoadEnd, LoadResult, Template};
use super::process_usage::{self, Process};
use super::store_nodes::{self, TOKEN};
use super::{rate, report_progress};

/// Connections of the load.
const CONNECTIONS: usize = 64;
/// Sizes of the peer's pool.
const POOLS: [u32; 3] = [4, 16, 64];

/// The parameters of a run.
#[derive(Clone, Debug)]
pub(crate) struct PeerPlan {
    /// Folder for the nodes' files.
    pub(crate) folder: PathBuf,
    /// URL of a database of ours; a run adds to it.
    pub(crate) store: String,
    /// URL of a database of the peer's.
    pub(crate) peer_store: String,
    /// The peer's program.
    pub(crate) peer: PathBuf,
    /// Duration of each measurement.
    pub(crate) time: Duration,
}

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct PeerReport {
    version: &'static str,
    /// Whether the build is unoptimised: its figures mean nothing.
    debug_build: bool,
    processors: usize,
    connections: usize,
    runs: Vec<Measured>,
}

/// Durable creates of one service.
#[derive(Debug, Serialize)]
struct Measured {
    service: String,
    creates_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Busy processors: of the service, of the load, and of all else, which is PostgreSQL on a quiet machine.
    service_cpus: f64,
    load_cpus: f64,
    other_cpus: f64,
}

/// Measures ours, then the peer.
///
/// # Errors
/// In one line: a database that cannot be used, a program that does not start, an answer of another status.
pub(crate) async fn run(plan: &PeerPlan) -> anyhow::Result<PeerReport> {
    std::fs::create_dir_all(&plan.folder)
        .with_context(|| format!("cannot make {}", plan.folder.display()))?;
    let folder = tempfile::tempdir_in(&plan.folder)
        .with_context(|| format!("cannot write to {}", plan.folder.display()))?;
    let mut runs = ours(plan, folder.path()).await?;
    for pool in POOLS {
        report_progress(&format!("the stock peer with a pool of {pool}"));
        let pool_size = pool.to_string();
        let arguments = [&*plan.peer_store, "127.0.0.1:0", &*pool_size];
        let peer = Process::other(&plan.peer, &arguments).await.context("the stock peer")?;
        let body = format!("{{\"name\": \"peer-{{number}}\", \"desired\": {DESIRED}}}");
        let template = Template::post("/things", "", &body);
        runs.push(measure(format!("peer, pool {pool}"), &peer, plan.time, &template).await?);
        peer.kill().await?;
    }
    Ok(PeerReport {
        version: env!("CARGO_PKG_VERSION"),
        debug_build: cfg!(debug_assertions),
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        connections: CONNECTIONS,
        runs,
    })
}

async fn ours(plan: &PeerPlan, folder: &Path) -> anyhow::Result<Vec<Measured>> {
    store_nodes::migrate(&plan.store).await?;
    let node = async |role: &str| {
        store_nodes::start(&folder.join(role), Some(&plan.store), role, None).await
    };
    // Names are unique in a log, and a database may have served an earlier run.
    let template = |role: &str| {
        let name = format!("{role}-{}", std::process::id());
        create_throughput::create_as(TOKEN, &name, "")
    };
    report_progress("creates on a node of the role all");
    let all = node("all").await?;
    let with_rounds = measure("role all".to_owned(), &all, plan.time, &template("all")).await?;
    report_progress("creates on a node of the role api");
    store_nodes::until_still(&all).await?;
    let api = node("api").await?;
    all.stop().await?;
    let alone = measure("role api".to_owned(), &api, plan.time, &template("api")).await?;
    api.kill().await?;
    Ok(vec![alone, with_rounds])
}

async fn measure(
    service: String,
    process: &Process,
    time: Duration,
    template: &Template,
) -> anyhow::Result<Measured> {
    let (machine, own) = (process_usage::machine()?, process.cpu()?);
    let LoadResult { requests, took, client_cpus, times } =
        load::run(&[process.address], CONNECTIONS, LoadEnd::After(time), template, 202).await?;
    let own = process.cpu()?.saturating_sub(own).as_secs_f64() / took.as_secs_f64();
    let machine = process_usage::machine()?.saturating_sub(machine);
    Ok(Measured {
        service,
        creates_per_second: rate(requests, took),
        p50_ms: times.quantile(500).as_secs_f64() * 1e3,
        p99_ms: times.quantile(990).as_secs_f64() * 1e3,
        service_cpus: own,
        load_cpus: client_cpus,
        other_cpus: (machine.as_secs_f64() / took.as_secs_f64() - own - client_cpus).max(0.0),
    })
}

impl Display for PeerReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { version, processors, connections, .. } = self;
        writeln!(
            f,
            "stateward {version}, {processors} processors, {connections} connections, PostgreSQL"
        )?;
        if self.debug_build {
            writeln!(f, "an unoptimised build: the figures mean nothing")?;
        }
        writeln!(f, "{:16} creates/s   p50 ms   p99 ms   CPUs: service   load  other", "")?;
        for run in &self.runs {
            writeln!(
                f,
                "{:16} {:9.0} {:8.2} {:8.2} {:15.2} {:6.2} {:6.2}",
                run.service,
                run.creates_per_second,
                run.p50_ms,
                run.p99_ms,
                run.service_cpus,
                run.load_cpus,
                run.other_cpus
            )?;
        }
        Ok(())
    }
}
