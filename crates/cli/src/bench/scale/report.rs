//! The figures of a run at two sizes and their targets, as a table and as JSON.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use super::super::load::Times;
use super::super::{number, rate};
use super::populated_server::FillFigures;
use super::queries::{METRICS, Query, Served};

/// Bound on the ratio of medians of a query that an index serves.
const RATIO_MAX: f64 = 1.5;
const METRICS_MS_MAX: f64 = 20.0;

/// All figures of a run, of the large server unless the name says otherwise. A time has the unit that ends its name.
#[derive(Debug, Serialize)]
pub(crate) struct ScaleReport {
    version: &'static str,
    /// Whether the build is unoptimised: its figures mean nothing.
    debug_build: bool,
    processors: usize,
    /// Entities of the small server and of the large one.
    small: u64,
    large: u64,
    creates_per_second: f64,
    create: Percentiles,
    converged_per_second: f64,
    /// Time from a request to `ok`, sequentially.
    ok: Percentiles,
    ok_small: Percentiles,
    memory_mib: f64,
    memory_peak_mib: f64,
    stop_ms: f64,
    start_ms: f64,
    events_bytes: u64,
    views_bytes: u64,
    asked: Vec<QueryFigures>,
    missed: Vec<String>,
}

/// Median and 99th percentile.
#[derive(Clone, Copy, Debug, Serialize)]
struct Percentiles {
    p50_ms: f64,
    p99_ms: f64,
}

impl Percentiles {
    fn of(times: &Times) -> Self {
        let ms = |permille| times.quantile(permille).as_secs_f64() * 1e3;
        Self { p50_ms: ms(500), p99_ms: ms(990) }
    }
}

/// The figures of one query, measured on both servers in turns.
#[derive(Debug, Serialize)]
pub(super) struct QueryFigures {
    name: &'static str,
    /// Whether an index alone serves it.
    by_index: bool,
    /// Items of the page.
    items_small: usize,
    items: usize,
    small: Percentiles,
    large: Percentiles,
    /// Ratio of the medians.
    ratio: f64,
}

impl QueryFigures {
    pub(super) fn new(query: &Query, times: &(Times, Times), items: (usize, usize)) -> Self {
        let (small, large) = (Percentiles::of(&times.0), Percentiles::of(&times.1));
        Self {
            name: query.name,
            by_index: query.served == Served::ByIndex,
            items_small: items.0,
            items: items.1,
            small,
            large,
            ratio: large.p50_ms / small.p50_ms.max(f64::EPSILON),
        }
    }

    /// The missed target; `None` = it was met.
    fn missed(&self) -> Option<String> {
        if self.name == METRICS {
            let ms = self.large.p50_ms;
            return (ms > METRICS_MS_MAX).then(|| format!("{METRICS} took {ms:.1} ms"));
        }
        let slow = self.by_index && self.ratio > RATIO_MAX;
        slow.then(|| format!("{} took {:.2} times as long", self.name, self.ratio))
    }
}

/// Figures that are measured once.
pub(super) struct SingleFigures {
    /// Resident bytes: present and peak.
    pub(super) memory: (u64, u64),
    pub(super) stop: Duration,
    pub(super) start: Duration,
    /// Bytes of the log and of the views.
    pub(super) disk: (u64, u64),
}

impl ScaleReport {
    pub(super) fn new(
        (small, large): (u64, u64),
        intake: &FillFigures,
        latency: &(Times, Times),
        asked: Vec<QueryFigures>,
        rest: SingleFigures,
    ) -> Self {
        let mib = |bytes| number(bytes) / 1_048_576.0;
        Self {
            version: env!("CARGO_PKG_VERSION"),
            debug_build: cfg!(debug_assertions),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            small,
            large,
            creates_per_second: rate(intake.creates, intake.creating),
            create: Percentiles::of(&intake.times),
            converged_per_second: rate(intake.creates, intake.took),
            ok: Percentiles::of(&latency.1),
            ok_small: Percentiles::of(&latency.0),
            memory_mib: mib(rest.memory.0),
            memory_peak_mib: mib(rest.memory.1),
            stop_ms: rest.stop.as_secs_f64() * 1e3,
            start_ms: rest.start.as_secs_f64() * 1e3,
            events_bytes: rest.disk.0,
            views_bytes: rest.disk.1,
            missed: asked.iter().filter_map(QueryFigures::missed).collect(),
            asked,
        }
    }

    /// The missed targets.
    pub(crate) fn missed(&self) -> &[String] {
        &self.missed
    }
}

impl Display for ScaleReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let build = if self.debug_build { " DEBUG BUILD: the figures mean nothing" } else { "" };
        writeln!(f, "stateward {}, {} processors{build}", self.version, self.processors)?;
        writeln!(f, "{} entities against {}\n", self.large, self.small)?;
        let mib = |bytes: u64| number(bytes) / 1_048_576.0;
        for (name, value, unit) in [
            ("creates", self.creates_per_second, "/s"),
            ("create, p50", self.create.p50_ms, "ms"),
            ("p99", self.create.p99_ms, "ms"),
            ("converged", self.converged_per_second, "/s"),
            ("request to ok, p50", self.ok.p50_ms, "ms"),
            ("p99", self.ok.p99_ms, "ms"),
            ("p50 of the small one", self.ok_small.p50_ms, "ms"),
            ("memory", self.memory_mib, "MiB"),
            ("peak", self.memory_peak_mib, "MiB"),
            ("stop", self.stop_ms, "ms"),
            ("start", self.start_ms, "ms"),
            ("log", mib(self.events_bytes), "MiB"),
            ("views", mib(self.views_bytes), "MiB"),
        ] {
            writeln!(f, "{name:<34}{value:>12.2} {unit}")?;
        }
        let columns = ["items", "p50 ms", "p99 ms", "small p50", "small p99", "ratio"];
        let columns = columns.map(|column| format!("{column:>10}")).concat();
        writeln!(f, "\n{:<34}{columns}", "list")?;
        self.asked.iter().try_for_each(|asked| write!(f, "{asked}"))?;
        self.missed.iter().try_for_each(|missed| writeln!(f, "MISSED  {missed}"))
    }
}

impl Display for QueryFigures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, items, small, large, ratio, .. } = self;
        let how = if self.by_index { "" } else { "  row by row" };
        writeln!(
            f,
            "{name:<34}{items:>10}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{ratio:>10.2}{how}",
            large.p50_ms, large.p99_ms, small.p50_ms, small.p99_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &'static str, by_index: bool, small: f64, large: f64) -> QueryFigures {
        let latency = |p50_ms| Percentiles { p50_ms, p99_ms: p50_ms };
        let (small, large, ratio) = (latency(small), latency(large), large / small);
        QueryFigures { name, by_index, items_small: 50, items: 50, small, large, ratio }
    }

    #[test]
    fn what_an_index_serves_has_to_cost_the_same_and_metrics_to_be_quick() {
        assert_eq!(asked("kind", true, 2.0, 3.0).missed(), None);
        assert!(asked("kind", true, 2.0, 3.1).missed().is_some());
        assert_eq!(asked("a!=b", false, 2.0, 9.0).missed(), None);
        assert_eq!(asked(METRICS, true, 1.0, 19.0).missed(), None);
        assert!(asked(METRICS, true, 20.0, 21.0).missed().is_some());
    }
}
