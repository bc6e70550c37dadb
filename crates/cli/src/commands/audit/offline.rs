//! Audits a data directory without its server, also while one runs on it.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use stateward_domain::audit::{Checkpoint, Report};
use stateward_domain::ports::audit::{Auditor as _, ProgressFn};
use stateward_engine::service::export::{Export, Selection};
use stateward_store::sqlite::Auditor;

use crate::clock::SystemClock;

async fn open(data: &Path) -> anyhow::Result<Auditor> {
    Ok(Auditor::offline(data, Arc::new(SystemClock)).await?)
}

/// Verifies the log in `data`; it has to be a continuation of the checkpoint `against`.
///
/// # Errors
/// When it cannot be read at all; faults of the log are in the report.
pub(crate) async fn verify(
    data: &Path,
    against: Option<&Checkpoint>,
    progress: ProgressFn<'_>,
) -> anyhow::Result<Report> {
    let auditor = open(data).await?;
    let report = auditor.verify(against, progress).await;
    auditor.close().await;
    Ok(report?)
}

/// The present checkpoint of the log in `data`.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn checkpoint(data: &Path) -> anyhow::Result<Checkpoint> {
    let auditor = open(data).await?;
    let checkpoint = auditor.checkpoint().await;
    auditor.close().await;
    Ok(checkpoint?)
}

/// Writes the selected events to the writer that `out` opens; returns their number, and the writer. The export is not
/// recorded in the log: a caller who can read the files can copy them as well.
///
/// # Errors
/// When an event cannot be read or written; the output is incomplete then.
pub(crate) async fn export<W: Write>(
    data: &Path,
    selection: Selection,
    out: impl FnOnce() -> anyhow::Result<W>,
) -> anyhow::Result<(u64, W)> {
    let auditor = Arc::new(open(data).await?);
    let head = auditor.head().await?;
    let mut export = Export::new(auditor.clone(), selection, head);
    let mut count = 0;
    // The first read precedes the file: a position that is gone leaves no empty file behind.
    let mut next = export.lines().await?;
    let mut out = out()?;
    while let Some(lines) = next {
        count += lines.lines().count() as u64;
        out.write_all(lines.as_bytes()).context("cannot write the export")?;
        next = export.lines().await?;
    }
    out.flush().context("cannot write the export")?;
    auditor.close().await;
    Ok((count, out))
}
