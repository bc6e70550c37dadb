//! CPU-bound work beside the tasks of the runtime.

use stateward_domain::ports::event_store::ReadError;
use stateward_domain::ports::store_error::StoreError;

/// Runs CPU-bound work in the blocking pool, so that it does not delay other tasks.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    let gone = |_| StoreError::unavailable("the verification broke off");
    Ok(tokio::task::spawn_blocking(work).await.map_err(gone)?)
}
