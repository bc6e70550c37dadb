//! Measures a server from outside, in one run, so that every ratio compares figures of the same minute.
//!
//! - `disk`: what the disk alone can do; `intake`: requests against an echo on the same connections
//! - `life`: one server's life: latency, convergence, memory, size, replay, rebuild, audit; `fold`: folding alone
//! - `http`, `load`: the clients; `process`: the servers, and what the system says of them
//! - `report`: the figures with their targets, as a table and as JSON
//! - `scale`: what lists cost at a size and at a hundredth of it
//!
//! The server is a process of its own, so that what it uses can be told from what the load uses. The clients speak
//! HTTP/1.1 themselves, with requests that were rendered before: a general client would cost more than the echo
//! that it should load.

mod disk;
mod fold;
mod http;
mod intake;
mod life;
mod load;
mod process;
mod report;
pub(crate) mod scale;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

pub(crate) use report::Report;

/// A run that takes longer is stuck.
const RUN_MAX: Duration = Duration::from_mins(5);

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where the data lie while it runs; it decides which disk is measured.
    pub(crate) folder: PathBuf,
    /// Numbers of connections that requests come over.
    pub(crate) connections: Vec<usize>,
    /// Time of each measurement that goes by time.
    pub(crate) time: Duration,
    /// Entities that are to converge.
    pub(crate) entities: u64,
    /// Events that are folded.
    pub(crate) events: u64,
}

/// Measures everything; what it left on the disk is gone afterwards.
///
/// # Errors
/// One line for whatever is in the way: a folder that cannot be written, a server that does not answer.
pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Report> {
    std::fs::create_dir_all(&plan.folder)
        .with_context(|| format!("cannot make {}", plan.folder.display()))?;
    let folder = tempfile::tempdir_in(&plan.folder)
        .with_context(|| format!("cannot write to {}", plan.folder.display()))?;
    let measured = tokio::time::timeout(RUN_MAX, measure(plan, folder.path()));
    measured.await.context("the run did not end in five minutes")?
}

async fn measure(plan: &Plan, folder: &std::path::Path) -> anyhow::Result<Report> {
    let mut disk = disk::Probe::new(folder.join("probe"));
    disk.run(plan.time).await?;
    let mut intake = Vec::new();
    for connections in &plan.connections {
        intake.push(intake::measure(&folder.join("intake"), *connections, plan.time).await?);
    }
    let life = life::measure(plan, &folder.join("life"), &mut disk).await?;
    let fold = fold::measure(plan.events).await?;
    Ok(Report::new(disk.figures(), intake, life, fold))
}

/// Says on standard error what is going on.
fn tell(what: &str) {
    crate::terminal::note(&format!("measuring {what}"));
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts of one run stay far below 2^53")]
const fn number(count: u64) -> f64 {
    count as f64
}

/// `count` in a second, when it took `time`.
fn rate(count: u64, time: Duration) -> f64 {
    number(count) / time.as_secs_f64().max(f64::EPSILON)
}
