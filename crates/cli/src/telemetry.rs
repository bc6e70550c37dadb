//! Logs and metrics of this process.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;
use stateward_api::Histograms;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Upper bounds in seconds: from a lone commit to a request that waits as long as it may.
const BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// What was recorded is taken in so often, also when nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// Log lines that wait to be written at most; further ones are dropped until the reader catches up.
const LINES_MAX: usize = 8_192;

/// Writes log lines until it is dropped, which waits up to a second for those that are queued.
pub(crate) struct Logs {
    _writer: WorkerGuard,
}

/// Sends logs to standard error: `RUST_LOG` says which, `json` in which form.
///
/// A lost line is lost: a reader that is gone or reads nothing, and a full disk, never hold up or end the service. So a
/// thread of its own writes, the queue to it is bounded, and a failed write is not reported on the stream that failed.
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
    // A second one in the same process changes nothing.
    let _ = if json { logs.json().try_init() } else { logs.try_init() };
    Logs { _writer: guard }
}

/// Begins to keep histograms; what renders them.
///
/// # Errors
/// When something else keeps them already.
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
