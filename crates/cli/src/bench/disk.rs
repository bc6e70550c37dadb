//! The disk's baseline: small appends, each made durable before the next.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::load::Times;
use super::report::Disk;
use super::report_progress;

/// Bytes of one append: about the size of an event.
const APPEND_BYTES: usize = 400;
/// Appends of one measurement at most: enough for a fast disk.
const APPENDS_MAX: usize = 200_000;

/// Measures appends to one file. The speed of a disk changes from minute to minute, so it is measured before and after
/// the figures that are compared with it.
pub(super) struct DiskProbe {
    file: PathBuf,
    times: Times,
}

impl DiskProbe {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, times: Times::default() }
    }

    /// Measures for `time`.
    pub(super) async fn run(&mut self, time: Duration) -> anyhow::Result<()> {
        report_progress("the disk");
        let file = self.file.clone();
        let times = tokio::task::spawn_blocking(move || appends(&file, time)).await;
        self.times.extend(times.context("the probe panicked")??);
        Ok(())
    }

    pub(super) fn figures(&self) -> Disk {
        let median = self.times.quantile(500);
        Disk {
            fdatasyncs_per_second: 1.0 / median.as_secs_f64().max(f64::EPSILON),
            fdatasync_ms: median.as_secs_f64() * 1e3,
        }
    }
}

fn appends(path: &Path, time: Duration) -> anyhow::Result<Times> {
    let failed = || format!("cannot write {}", path.display());
    let file = OpenOptions::new().create(true).append(true).open(path);
    let mut file = file.with_context(failed)?;
    let mut times = Times::default();
    let began = Instant::now();
    while began.elapsed() < time && times.len() < APPENDS_MAX {
        let before = Instant::now();
        file.write_all(&[b'.'; APPEND_BYTES]).with_context(failed)?;
        file.sync_data().with_context(failed)?;
        times.push(before.elapsed());
    }
    Ok(times)
}
