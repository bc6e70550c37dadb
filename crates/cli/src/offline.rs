//! Audits of a data directory without its server, also while one runs.

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

/// Verifies the log in `data`; `against` is what it has to continue.
///
/// # Errors
/// When it cannot be read at all; what is wrong with it is in the report.
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

/// What the log in `data` is now.
///
/// # Errors
/// When it cannot be read.
pub(crate) async fn checkpoint(data: &Path) -> anyhow::Result<Checkpoint> {
    let auditor = open(data).await?;
    let checkpoint = auditor.checkpoint().await;
    auditor.close().await;
    Ok(checkpoint?)
}

/// Writes the events that `selection` asks for to what `out` opens: their number. Nobody is told of it in the log: who can read
/// the files can copy them as well.
///
/// # Errors
/// When an event cannot be read, or `out` not be written; then what was written is not whole.
pub(crate) async fn export(
    data: &Path,
    selection: Selection,
    out: impl FnOnce() -> anyhow::Result<Box<dyn Write + Send>>,
) -> anyhow::Result<u64> {
    let auditor = Arc::new(open(data).await?);
    let head = auditor.head().await?;
    let mut export = Export::new(auditor.clone(), selection, head);
    let mut count = 0;
    // Read before anything is written: a position that is gone leaves no file behind.
    let mut next = export.lines().await?;
    let mut out = out()?;
    while let Some(lines) = next {
        count += lines.lines().count() as u64;
        out.write_all(lines.as_bytes()).context("cannot write the export")?;
        next = export.lines().await?;
    }
    out.flush().context("cannot write the export")?;
    auditor.close().await;
    Ok(count)
}
