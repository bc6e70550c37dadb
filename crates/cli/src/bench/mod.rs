//! Benchmarks a server from outside, in one run, so that every ratio compares figures of the same minute.
//!
//! - `disk`: the disk's baseline; `create_throughput`: durable creates compared with an echo
//! - `lifecycle`: latency, convergence, memory, size, replay, rebuild and audit of one server; `fold`: folding alone
//! - `http`, `load`: the clients; `process_usage`: the servers, with their processor time and memory
//! - `report`: the figures with their targets, as a table and as JSON
//! - `peer`: durable creates on PostgreSQL, beside a service that does the least
//! - `stores`: the embedded store, one node on PostgreSQL and three; `store_nodes`: their nodes
//! - `scale`: the cost of lists at a size and at a hundredth of it
//!
//! The server is a separate process, so that its processor time is separate from the load's. The clients send
//! pre-rendered HTTP/1.1 requests: a general client would cost more than the echo that it measures.

mod create_throughput;
mod disk;
mod fold;
mod http;
mod lifecycle;
mod load;
pub(crate) mod peer;
mod process_usage;
mod report;
pub(crate) mod scale;
mod store_nodes;
pub(crate) mod stores;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

pub(crate) use report::BenchReport;

/// Time limit of a run.
const RUN_MAX: Duration = Duration::from_mins(5);

/// The parameters of a run.
#[derive(Clone, Debug)]
pub(crate) struct BenchPlan {
    /// Folder for the data while it runs; it determines which disk is measured.
    pub(crate) folder: PathBuf,
    /// Numbers of connections to measure with.
    pub(crate) connections: Vec<usize>,
    /// Duration of each time-based measurement.
    pub(crate) time: Duration,
    /// Entities of the convergence measurement.
    pub(crate) entities: u64,
    /// Events of the fold measurement.
    pub(crate) events: u64,
}

/// Measures everything, and removes its data afterwards.
///
/// # Errors
/// In one line: a folder that cannot be written, a server that does not answer.
pub(crate) async fn run(plan: &BenchPlan) -> anyhow::Result<BenchReport> {
    std::fs::create_dir_all(&plan.folder)
        .with_context(|| format!("cannot make {}", plan.folder.display()))?;
    let folder = tempfile::tempdir_in(&plan.folder)
        .with_context(|| format!("cannot write to {}", plan.folder.display()))?;
    let measured = tokio::time::timeout(RUN_MAX, measure(plan, folder.path()));
    measured.await.context("the run did not end in five minutes")?
}

async fn measure(plan: &BenchPlan, folder: &std::path::Path) -> anyhow::Result<BenchReport> {
    let mut disk = disk::DiskProbe::new(folder.join("probe"));
    disk.run(plan.time).await?;
    let mut intake = Vec::new();
    for connections in &plan.connections {
        intake.push(
            create_throughput::measure(&folder.join("intake"), *connections, plan.time).await?,
        );
    }
    let lifecycle = lifecycle::measure(plan, &folder.join("lifecycle"), &mut disk).await?;
    let fold = fold::measure(plan.events).await?;
    Ok(BenchReport::new(disk.figures(), intake, lifecycle, fold))
}

/// Prints the present measurement to standard error.
fn report_progress(what: &str) {
    crate::presentation::terminal::note(&format!("measuring {what}"));
}

/// A count as a floating-point number.
#[expect(clippy::cast_precision_loss, reason = "counts of one run stay far below 2^53")]
const fn number(count: u64) -> f64 {
    count as f64
}

/// `count` per second over `time`.
fn rate(count: u64, time: Duration) -> f64 {
    number(count) / time.as_secs_f64().max(f64::EPSILON)
}
