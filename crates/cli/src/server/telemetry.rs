//! Logs and metrics.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;
use stateward_api::Histograms;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Upper bounds of histogram buckets in seconds: from a single commit to the longest wait of a request.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// How often recorded values are drained, independent of scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Queued log lines at most; further ones are dropped until the writer catches up.
const LINES_MAX: usize = 8_192;

/// Writes log lines until it is dropped; the drop waits up to a second for queued ones.
pub(crate) struct Logs {
    _writer: WorkerGuard,
}

/// Sends logs to standard error: `RUST_LOG` says which, `json` in which form.
///
/// Logging never blocks or ends the service: with a reader that is gone or stuck, or a full disk, lines are lost. So a
/// separate thread writes, its queue is bounded, and a failed write is not reported on the stream that failed.
#[expect(clippy::disallowed_methods, reason = "the writer of logs")]
pub(crate) fn logs(json: bool) -> Logs {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn"));
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LINES_MAX)
        .lossy(true)
        .thread_name("logs")
        .finish(std::io::stderr());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // Fails when the process has a subscriber already, which stays.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
    Logs { _writer: guard }
}

/// Installs the metrics recorder; returns its renderer.
///
/// # Errors
/// When a recorder is installed already.
pub(crate) fn histograms() -> anyhow::Result<Histograms> {
    let builder = PrometheusBuilder::new().set_buckets(BUCKETS).context("no buckets")?;
    let handle = builder.install_recorder().context("metrics are kept already")?;
    let upkeep = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkeep.run_upkeep();
        }
    });
    Ok(Arc::new(move || handle.render()))
}
