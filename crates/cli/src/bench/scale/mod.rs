//! The cost of lists, metrics, start and stop at a size and at a hundredth of it.
//!
//! Two servers with the same configuration, one with N entities and one with N/100, share a `fake-world` process. Each
//! figure is measured on both in turns, request by request, so that a ratio compares the same moment.
//!
//! - `populated_server`: the servers and their entities; `queries`: the queries; `report`: the figures with their targets

mod api;
mod populated_server;
mod queries;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use self::populated_server::PopulatedServer;
use self::queries::Query;
pub(crate) use self::report::ScaleReport;
use super::load::Times;
use super::process_usage::Process;
use super::report_progress;

/// Ratio of the sizes.
const FACTOR: u64 = 100;
/// Entities of the small server at least: with less than a page its responses would be smaller.
const SMALL_MIN: u64 = 100;
/// Time limit of a run: a constant, and a time for each entity.
const RUN_MAX: Duration = Duration::from_mins(5);
const RUN_MAX_PER_ENTITY: Duration = Duration::from_millis(10);
/// With fewer entities the run only tests that everything is measured.
const SMOKE_BELOW: u64 = 10_000;

/// The parameters of a run.
#[derive(Clone, Copy)]
struct Sizes {
    /// Measured requests of each query on each server.
    requests: usize,
    /// Requests before them that are not measured.
    warm_up: usize,
    /// Items of a page.
    page: usize,
    /// Entities of each rare sort: more than a page.
    few: usize,
}

const MEASURED: Sizes = Sizes { requests: 100, warm_up: 10, page: 50, few: 60 };
const SMOKE: Sizes = Sizes { requests: 3, warm_up: 1, page: 5, few: 6 };

/// Compares a server of `entities` with one of a hundredth, and removes their data below `folder` afterwards.
///
/// # Errors
/// In one line: a folder that cannot be written, a server that does not answer, the time limit.
pub(crate) async fn run(folder: &Path, entities: u64) -> anyhow::Result<ScaleReport> {
    let made = || format!("cannot write to {}", folder.display());
    std::fs::create_dir_all(folder).with_context(made)?;
    let folder = tempfile::tempdir_in(folder).with_context(made)?;
    let count = u32::try_from(entities).unwrap_or(u32::MAX);
    let within = RUN_MAX + RUN_MAX_PER_ENTITY.saturating_mul(count);
    let measured = tokio::time::timeout(within, measure(folder.path(), entities));
    measured.await.with_context(|| format!("the run did not end in {within:?}"))?
}

async fn measure(folder: &Path, entities: u64) -> anyhow::Result<ScaleReport> {
    let world = Process::world().await?;
    let small = (entities / FACTOR).max(SMALL_MIN);
    let (small_folder, large_folder) = (folder.join("small"), folder.join("large"));
    let sizes = if entities < SMOKE_BELOW { SMOKE } else { MEASURED };
    let mut small = PopulatedServer::make(&small_folder, &world, small, sizes.few).await?;
    let mut large = PopulatedServer::make(&large_folder, &world, entities, sizes.few).await?;

    report_progress("request to ok");
    small.api.reconnect().await?;
    large.api.reconnect().await?;
    let mut latency = (Times::default(), Times::default());
    for _ in 0..sizes.requests {
        latency.0.push(small.lone().await?);
        latency.1.push(large.lone().await?);
    }
    let mut asked = Vec::new();
    for query in queries::all() {
        asked.push(both(&mut small, &mut large, query, sizes).await?);
    }
    let memory = large.server.memory()?;
    let intake = large.intake.clone();
    report_progress("stop and start");
    let entities = (small.entities, large.entities);
    small.stop().await?;
    let stop = large.stop().await?;
    let disk = populated_server::disk(&large_folder)?;
    let server = Process::serve_with(&large_folder, &populated_server::config(&world)).await?;
    let start = server.started_in;
    server.stop().await?;
    world.kill().await?;
    let rest = report::SingleFigures { memory, stop, start, disk };
    Ok(ScaleReport::new(entities, &intake, &latency, asked, rest))
}

/// Sends one query to both servers in turns.
async fn both(
    small: &mut PopulatedServer,
    large: &mut PopulatedServer,
    query: Query,
    sizes: Sizes,
) -> anyhow::Result<report::QueryFigures> {
    report_progress(query.name);
    let paths = (query.path(small, sizes.page).await?, query.path(large, sizes.page).await?);
    // Finding the deep page took a while: idle connections may have been closed.
    small.api.reconnect().await?;
    large.api.reconnect().await?;
    let mut times = (Times::default(), Times::default());
    let mut items = (0, 0);
    for number in 0..sizes.warm_up + sizes.requests {
        for (server_state, path, times, items) in [
            (&mut *small, &paths.0, &mut times.0, &mut items.0),
            (&mut *large, &paths.1, &mut times.1, &mut items.1),
        ] {
            let before = Instant::now();
            *items = server_state
                .api
                .count(path)
                .await
                .with_context(|| format!("{}: {path}", query.name))?;
            if number >= sizes.warm_up {
                times.push(before.elapsed());
            }
        }
    }
    Ok(report::QueryFigures::new(&query, &times, items))
}
