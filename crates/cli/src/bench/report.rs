//! The figures of a run and their targets, as a table and as JSON.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use super::{number, rate};

/// Connections at which the target for creates applies.
const TARGET_CONNECTIONS: usize = 64;
const RATIO_MIN: f64 = 0.3;
/// A created entity becomes `ok` within four appends, each durable before the next, plus a constant.
const LATENCY_APPENDS: f64 = 4.0;
const LATENCY_MS: f64 = 3.0;
const CONVERGED_PER_SECOND_MIN: f64 = 2_000.0;

/// All figures of a run. A time has the unit that ends its name.
#[derive(Debug, Serialize)]
pub(crate) struct BenchReport {
    version: &'static str,
    /// Whether the build is unoptimised: its figures mean nothing.
    debug_build: bool,
    processors: usize,
    disk: Disk,
    intake: Vec<CreateThroughput>,
    latency: SequentialLatency,
    convergence: Convergence,
    memory_mib: Memory,
    bytes_per_entity: f64,
    replay: EventRate,
    rebuild: EventRate,
    fold: EventRate,
    /// `None` = the server has no such endpoint.
    verify: Option<EventRate>,
    targets: Vec<BenchTarget>,
}

/// The disk's baseline: small durable appends.
#[derive(Debug, Serialize)]
pub(super) struct Disk {
    pub(super) fdatasyncs_per_second: f64,
    pub(super) fdatasync_ms: f64,
}

/// Durable creates compared with echoes.
#[derive(Debug, Serialize)]
pub(super) struct CreateThroughput {
    pub(super) connections: usize,
    pub(super) echoes_per_second: f64,
    pub(super) creates_per_second: f64,
    pub(super) ratio: f64,
    pub(super) create_p50_ms: f64,
    pub(super) create_p99_ms: f64,
    /// Busy processors: the load's must stay well below one, or the load itself is measured.
    pub(super) echo_client_cpus: f64,
    pub(super) create_client_cpus: f64,
    pub(super) create_server_cpus: f64,
}

/// Time from the request to `ok`, sequentially.
#[derive(Debug, Serialize)]
pub(super) struct SequentialLatency {
    pub(super) requests: u64,
    pub(super) p50_ms: f64,
    pub(super) p95_ms: f64,
    pub(super) p99_ms: f64,
}

/// A burst: from the first request to the last `ok`.
#[derive(Debug, Serialize)]
pub(super) struct Convergence {
    pub(super) entities: u64,
    pub(super) seconds: f64,
    pub(super) creates_per_second: f64,
    pub(super) entities_per_second: f64,
    pub(super) server_cpu_ms_per_entity: f64,
}

/// Resident memory of the server of the burst.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    start: f64,
    peak: f64,
    after: f64,
}

impl Memory {
    pub(super) fn new(start: u64, peak: u64, after: u64) -> Self {
        let mib = |bytes| number(bytes) / 1_048_576.0;
        Self { start: mib(start), peak: mib(peak), after: mib(after) }
    }
}

/// A rate of processed events.
#[derive(Debug, Serialize)]
pub(super) struct EventRate {
    events: u64,
    seconds: f64,
    events_per_second: f64,
}

impl EventRate {
    pub(super) fn new(events: u64, took: Duration) -> Self {
        let events_per_second = rate(events, took);
        Self { events, seconds: took.as_secs_f64(), events_per_second }
    }
}

/// The figures of one server's lifecycle.
#[derive(Debug)]
pub(super) struct LifecycleFigures {
    pub(super) latency: SequentialLatency,
    pub(super) convergence: Convergence,
    pub(super) memory: Memory,
    pub(super) bytes_per_entity: f64,
    pub(super) replay: EventRate,
    pub(super) rebuild: EventRate,
    pub(super) verify: Option<EventRate>,
}

/// The target of a figure.
#[derive(Debug, Serialize)]
pub(super) struct BenchTarget {
    name: &'static str,
    /// The bound, and the figure.
    bound: f64,
    measured: f64,
    /// Whether the bound is an upper one.
    at_most: bool,
    met: bool,
}

impl BenchTarget {
    pub(super) fn at_least(name: &'static str, bound: f64, measured: f64) -> Self {
        Self { name, bound, measured, at_most: false, met: measured >= bound }
    }

    pub(super) fn at_most(name: &'static str, bound: f64, measured: f64) -> Self {
        Self { name, bound, measured, at_most: true, met: measured <= bound }
    }
}

impl BenchReport {
    pub(super) fn new(
        disk: Disk,
        intake: Vec<CreateThroughput>,
        lifecycle: LifecycleFigures,
        fold: EventRate,
    ) -> Self {
        let at_target = intake.iter().find(|intake| intake.connections == TARGET_CONNECTIONS);
        let ratio = at_target.map(|intake| {
            BenchTarget::at_least("creates per echo, 64 connections", RATIO_MIN, intake.ratio)
        });
        let latency_ms = LATENCY_APPENDS * disk.fdatasync_ms + LATENCY_MS;
        let converged = lifecycle.convergence.entities_per_second;
        let targets = ratio.into_iter().chain([
            BenchTarget::at_most(
                "ms from request to ok, p50",
                latency_ms,
                lifecycle.latency.p50_ms,
            ),
            BenchTarget::at_least("converged entities/s", CONVERGED_PER_SECOND_MIN, converged),
        ]);
        Self {
            version: env!("CARGO_PKG_VERSION"),
            debug_build: cfg!(debug_assertions),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            targets: targets.collect(),
            disk,
            intake,
            latency: lifecycle.latency,
            convergence: lifecycle.convergence,
            memory_mib: lifecycle.memory,
            bytes_per_entity: lifecycle.bytes_per_entity,
            replay: lifecycle.replay,
            rebuild: lifecycle.rebuild,
            fold,
            verify: lifecycle.verify,
        }
    }

    /// Names of the missed targets.
    pub(crate) fn missed(&self) -> Vec<&'static str> {
        missed(&self.targets)
    }
}

/// Names of the missed targets.
pub(super) fn missed(targets: &[BenchTarget]) -> Vec<&'static str> {
    targets.iter().filter(|target| !target.met).map(|target| target.name).collect()
}

impl Display for BenchReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { disk, latency, convergence, memory_mib: memory, .. } = self;
        let build = if self.debug_build { " DEBUG BUILD: the figures mean nothing" } else { "" };
        writeln!(f, "stateward {}, {} processors{build}\n", self.version, self.processors)?;
        line(f, "fdatasync of 400 bytes", disk.fdatasyncs_per_second, "/s")?;
        line(f, "", disk.fdatasync_ms, "ms")?;
        writeln!(f)?;
        let columns = ["connections", "echo/s", "create/s", "ratio", "p50 ms", "p99 ms"];
        let cpus = ["echo load", "load", "server"];
        writeln!(
            f,
            "{}   busy processors: {}",
            columns.map(|column| format!("{column:>11}")).concat(),
            cpus.join(", ")
        )?;
        self.intake.iter().try_for_each(|intake| write!(f, "{intake}"))?;
        writeln!(f)?;
        line(f, "request to ok, p50", latency.p50_ms, "ms")?;
        line(f, "p95", latency.p95_ms, "ms")?;
        line(f, "p99", latency.p99_ms, "ms")?;
        line(f, "converged entities", convergence.entities_per_second, "/s")?;
        line(f, "server's CPU per entity", convergence.server_cpu_ms_per_entity, "ms")?;
        line(f, "server's memory, start", memory.start, "MiB")?;
        line(f, "peak", memory.peak, "MiB")?;
        line(f, "after", memory.after, "MiB")?;
        line(f, "on disk per entity", self.bytes_per_entity, "bytes")?;
        writeln!(f)?;
        let paces =
            [("start-up replay", &self.replay), ("rebuild", &self.rebuild), ("fold", &self.fold)];
        for (name, pace) in paces {
            line(f, name, pace.events_per_second, "events/s")?;
        }
        match &self.verify {
            Some(pace) => line(f, "verify", pace.events_per_second, "events/s")?,
            None => writeln!(f, "{:<34}{:>12}", "verify", "n/a")?,
        }
        writeln!(f)?;
        self.targets.iter().try_for_each(|target| write!(f, "{target}"))
    }
}

impl Display for CreateThroughput {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>11}{:>11.0}{:>11.0}{:>11.3}{:>11.2}{:>11.2}   {:.2}, {:.2}, {:.2}",
            self.connections,
            self.echoes_per_second,
            self.creates_per_second,
            self.ratio,
            self.create_p50_ms,
            self.create_p99_ms,
            self.echo_client_cpus,
            self.create_client_cpus,
            self.create_server_cpus,
        )
    }
}

impl Display for BenchTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let bound = if self.at_most { "at most" } else { "at least" };
        let verdict = if self.met { "met" } else { "MISSED" };
        let Self { name, measured, bound: value, .. } = self;
        writeln!(f, "target  {name:<36} {measured:>9.2}, {bound} {value:.2}: {verdict}")
    }
}

fn line(f: &mut Formatter<'_>, name: &str, value: f64, unit: &str) -> fmt::Result {
    let decimals = if value < 1_000.0 { 2 } else { 0 };
    writeln!(f, "{name:<34}{value:>12.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_its_bound_and_not_beyond() {
        assert!(
            BenchTarget::at_least("a", 2.0, 2.0).met && !BenchTarget::at_least("a", 2.0, 1.9).met
        );
        assert!(
            BenchTarget::at_most("a", 2.0, 2.0).met && !BenchTarget::at_most("a", 2.0, 2.1).met
        );
    }
}
