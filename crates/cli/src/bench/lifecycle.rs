//! The lifecycle of one server: sequential requests, a burst, stop, start without read models, rebuild, audit.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use stateward_domain::time::LogClock;
use stateward_store::Location;
use tokio::runtime::Handle;

use super::create_throughput::create;
use super::disk::DiskProbe;
use super::http::RawConnection;
use super::load::{self, LoadEnd};
use super::process_usage::{self, Process};
use super::report::{Convergence, EventRate, LifecycleFigures, Memory, SequentialLatency};
use super::{BenchPlan, number, rate, report_progress};
use crate::clock::SystemClock;

/// Connections of the burst.
const CONNECTIONS: usize = 64;
/// How long convergence may take; later entities do not count.
const CONVERGENCE_MAX: Duration = Duration::from_secs(40);
/// Between two queries of how many have converged.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs the lifecycle in `folder`.
pub(super) async fn measure(
    plan: &BenchPlan,
    folder: &Path,
    disk: &mut DiskProbe,
) -> anyhow::Result<LifecycleFigures> {
    let server = Process::serve(folder).await?;
    let (at_start, _) = server.memory()?;
    let latency = latency(&server, folder, plan.time).await?;
    disk.run(plan.time).await?;
    let convergence = converge(&server, folder, latency.requests, plan.entities).await?;
    let (after, peak) = server.memory()?;
    server.stop().await?;
    let events = events(folder).await?;
    let entities = number(latency.requests + plan.entities);
    let bytes_per_entity = number(bytes(folder)?) / entities;

    report_progress("replay, rebuild and audit");
    forget_views(folder)?;
    let server = Process::serve(folder).await?;
    let replay = EventRate::new(events, server.started_in);
    let rebuild = timed(&server, folder, "/v1/projections/entities/rebuild", events).await?;
    let verify = timed(&server, folder, "/v1/audit/verify", events).await?;
    server.stop().await?;
    Ok(LifecycleFigures {
        latency,
        convergence,
        memory: Memory::new(at_start, peak, after),
        bytes_per_entity,
        replay,
        rebuild: rebuild.context("there is no projection to rebuild")?,
        verify,
    })
}

/// Sequential creates, each until its entity is `ok`.
async fn latency(
    server: &Process,
    folder: &Path,
    time: Duration,
) -> anyhow::Result<SequentialLatency> {
    report_progress("how long one entity takes");
    let template = create(folder, "single", "prefer: wait=30\r\n")?;
    let result = load::run(&[server.address], 1, LoadEnd::After(time), &template, 200).await?;
    let ms = |permille| result.times.quantile(permille).as_secs_f64() * 1e3;
    Ok(SequentialLatency {
        requests: result.requests,
        p50_ms: ms(500),
        p95_ms: ms(950),
        p99_ms: ms(990),
    })
}

/// Creates a burst of `entities` and waits until all are `ok`; `before` older ones are `ok` already.
async fn converge(
    server: &Process,
    folder: &Path,
    before: u64,
    entities: u64,
) -> anyhow::Result<Convergence> {
    report_progress("convergence");
    let template = create(folder, "burst", "")?;
    let cpu = server.cpu()?;
    let began = Instant::now();
    let all = LoadEnd::Requests(entities);
    let created = load::run(&[server.address], CONNECTIONS, all, &template, 202).await?;
    let mut connection = RawConnection::open(server.address).await?;
    let mut converged = 0;
    while converged < entities && began.elapsed() < CONVERGENCE_MAX {
        tokio::time::sleep(POLL_INTERVAL).await;
        converged = ok(&mut connection).await?.saturating_sub(before);
    }
    let took = began.elapsed();
    let server_cpu = server.cpu()?.saturating_sub(cpu);
    Ok(Convergence {
        entities: converged,
        seconds: took.as_secs_f64(),
        creates_per_second: rate(created.requests, created.took),
        entities_per_second: rate(converged, took),
        server_cpu_ms_per_entity: server_cpu.as_secs_f64() * 1e3 / number(converged.max(1)),
    })
}

/// The number of entities of a server that are `ok`.
pub(super) async fn ok_entities(server: &Process) -> anyhow::Result<u64> {
    ok(&mut RawConnection::open(server.address).await?).await
}

/// The number of entities that are `ok`, from the metrics.
async fn ok(connection: &mut RawConnection) -> anyhow::Result<u64> {
    let request = b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n";
    let answer = connection.exchange(request).await?;
    let text = std::str::from_utf8(answer.expect(200)?)?;
    let counts = text.lines().filter_map(|line| {
        let (labels, count) = line.strip_prefix("stateward_entities{")?.split_once("} ")?;
        labels.contains("state=\"ok\"").then(|| count.parse::<u64>().ok())?
    });
    Ok(counts.sum())
}

/// The rate at which a POST to `path` makes the server process `events`; `None` = it has no such endpoint.
async fn timed(
    server: &Process,
    folder: &Path,
    path: &str,
    events: u64,
) -> anyhow::Result<Option<EventRate>> {
    let token = process_usage::token(folder)?;
    let mut connection = RawConnection::open(server.address).await?;
    let (answer, took) = connection.post(&token, path).await?;
    match answer.status {
        404 => Ok(None),
        200 | 204 => Ok(Some(EventRate::new(events, took))),
        _ => answer.expect(200).map(|_| None),
    }
}

/// Number of events in the log of a stopped server.
async fn events(folder: &Path) -> anyhow::Result<u64> {
    let location = Location::Directory(process_usage::data(folder));
    let clock = LogClock::from(Arc::new(SystemClock));
    let store = stateward_store::open(&location, clock, &Handle::current()).await?;
    let head = store.ports.log.head().await?;
    store.lifetime.close().await;
    Ok(head.minor)
}

const VIEWS: &[&str] = &["views.db", "views.db-wal", "views.db-shm"];

fn bytes(folder: &Path) -> anyhow::Result<u64> {
    let data = process_usage::data(folder);
    let size = |name: &str| std::fs::metadata(data.join(name)).map(|metadata| metadata.len());
    Ok(size("events.db")? + size("views.db")?)
}

fn forget_views(folder: &Path) -> anyhow::Result<()> {
    for name in VIEWS {
        match std::fs::remove_file(process_usage::data(folder).join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
