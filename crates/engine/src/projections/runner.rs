//! The projection runner: delivers the log in order, each event at least once. The projection's compare-and-swap on its
//! checkpoint makes that exactly once.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stateward_domain::id::Position;
use stateward_domain::ports::cluster::{Duty, Role};
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::projection::{ModelError, Projection, Quarantined};
use stateward_domain::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::membership::Membership;
use crate::projections::failure::unreadable;

/// Progress of a projection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectionProgress {
    /// Last event that was applied.
    pub position: Position,
    /// When that event was recorded; `None` = no event yet, or another process applied it.
    pub recorded_at: Option<Timestamp>,
    /// Why the projection is stopped; `None` = it is running.
    pub stopped: Option<Stopped>,
}

/// Why a projection is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// In words; may hold texts of the store.
    pub reason: String,
    /// Stream and type of the event that this version does not know; `None` = something else stopped it.
    pub unknown: Option<(String, String)>,
}

impl Stopped {
    fn by(error: &ModelError) -> Self {
        let unknown = match error {
            ModelError::Poisoned { stream, unknown: Some(event_type), .. } => {
                Some((stream.clone(), event_type.clone()))
            }
            _ => None,
        };
        Self { reason: error.to_string(), unknown }
    }
}

impl ProjectionProgress {
    /// This process's progress, or the stored checkpoint if another process has moved it further. `stored` was read
    /// after this progress; `None` = it could not be read.
    #[must_use]
    pub fn or_stored(self, stored: Option<Position>) -> Self {
        match stored {
            Some(position) if position > self.position => Self { position, ..Self::default() },
            _ => self,
        }
    }
}

/// Resolves once a projection has applied all events up to `position`, in this process (`progress`) or in another:
/// `stored` resolves when its stored checkpoint is there.
pub async fn reached(
    progress: &watch::Sender<ProjectionProgress>,
    position: Position,
    stored: impl Future<Output = ()>,
) {
    let mut local = progress.subscribe();
    tokio::select! {
        biased;
        // The sender lives as long as the engine.
        _ = local.wait_for(|progress| progress.position.includes(position)) => {}
        () = stored => {}
    }
}

/// Maximum events per delivery.
pub const BATCH: usize = 1_000;
/// Failures of one stream before it is quarantined.
const FAILURES_MAX: u32 = 3;
/// A delivery of at least this many events, with more in the log already, is followed by a pause as long as the
/// delivery, so that the next one is larger: the cost of a delivery hardly depends on its size. A single request never
/// waits for that.
const BATCHING_MIN: usize = 16;
/// Maximum length of that pause.
const BATCHING_PAUSE_MAX: Duration = Duration::from_millis(20);
/// The hint that the log has grown may be lost; new events are found after this time at the latest.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// First and longest pause after a delivery that failed.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a process stands by before it asks for the duty again.
const STANDBY: Duration = Duration::from_secs(1);
/// Pause between two reads of a stored checkpoint that is behind the log.
const STANDBY_POLL: Duration = Duration::from_millis(100);

/// One projection in this process.
pub struct Runner {
    /// What is delivered.
    pub log: Arc<dyn EventStore>,
    /// The projection.
    pub projection: Arc<dyn Projection>,
    /// Its progress: that of this process while it has the duty, else the stored one.
    pub progress: watch::Sender<ProjectionProgress>,
    /// Which process has the duty to deliver.
    pub membership: Arc<Membership>,
    /// Cancelled to stop.
    pub shutdown: CancellationToken,
}

impl Runner {
    /// Runs until the shutdown.
    pub async fn run(self) {
        if self.membership.role() == Role::Api {
            while !self.shutdown.is_cancelled() {
                self.stand_by().await;
            }
            return;
        }
        let duty = Duty::Project(self.projection.name().to_owned());
        let mut failures = HashMap::new();
        let mut wait = RETRY_MIN;
        while !self.shutdown.is_cancelled() {
            if !self.membership.holds(&duty).await {
                self.stand_by().await;
                continue;
            }
            let began = self.progress.borrow().position;
            let Err(error) = self.deliver(&duty).await else { continue };
            if self.progress.borrow().position != began {
                wait = RETRY_MIN;
            }
            let fatal = matches!(error, ModelError::Poisoned { unknown: Some(_), .. });
            if fatal || wait >= RETRY_MAX {
                // A member of a newer version may know the event, and a healthy one may reach the store.
                self.membership.give_up(&duty);
            } else if count_failure(&*self.projection, &*self.log, &mut failures, &error).await {
                continue;
            }
            tracing::error!(projection = self.projection.name(), %error, "projection stopped for now");
            let position = self.projection.checkpoint().await.ok();
            self.progress.send_modify(|progress| {
                progress.position = position.unwrap_or(progress.position);
                progress.stopped = Some(Stopped::by(&error));
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.shutdown.cancelled() => {}
            }
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Publishes the stored progress for a while, without reading or folding events: another process has the duty.
    async fn stand_by(&self) {
        let follow = async {
            // What cannot be read is asked for again.
            while let Ok(position) = self.projection.checkpoint().await {
                self.progress.send_if_modified(|known| {
                    // What stopped it here stops every process that knows no more, until one passes it.
                    let stopped = known.stopped.take().filter(|_| known.position == position);
                    let stored = ProjectionProgress { position, recorded_at: None, stopped };
                    let moved = *known != stored;
                    *known = stored;
                    moved
                });
                self.log.changed_after(position).await;
                tokio::time::sleep(STANDBY_POLL).await;
            }
            tokio::time::sleep(STANDBY).await;
        };
        tokio::select! {
            _ = tokio::time::timeout(STANDBY, follow) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Delivers until the shutdown, or until this process does not have the duty any more.
    async fn deliver(&self, duty: &Duty) -> Result<(), ModelError> {
        let Self { log, projection, progress, membership, shutdown } = self;
        let mut from = projection.checkpoint().await?;
        while !shutdown.is_cancelled() && membership.holds(duty).await {
            let page = log.read_log(from, BATCH).await.map_err(unreadable)?;
            if page.through == from {
                progress.send_modify(|progress| {
                    progress.position = from;
                    progress.stopped = None;
                });
                tokio::select! {
                    () = log.changed_after(from) => {}
                    // A reset projection has another checkpoint although no event came. If an event comes first,
                    // applying it fails with the actual checkpoint.
                    () = tokio::time::sleep(POLL_INTERVAL) => from = projection.checkpoint().await?,
                    () = shutdown.cancelled() => return Ok(()),
                }
                continue;
            }
            let began = tokio::time::Instant::now();
            match projection.apply(from, page.through, &page.events).await {
                Ok(()) => {
                    from = page.through;
                    let last = page.events.last().map(|last| last.recorded_at);
                    progress.send_modify(|progress| {
                        progress.position = from;
                        progress.recorded_at = last.or(progress.recorded_at);
                        progress.stopped = None;
                    });
                    if (BATCHING_MIN..BATCH).contains(&page.events.len())
                        && log.head().await.is_ok_and(|head| head > from)
                    {
                        tokio::time::sleep(began.elapsed().min(BATCHING_PAUSE_MAX)).await;
                    }
                }
                // Another runner delivered these events: continue from its checkpoint.
                Err(ModelError::CheckpointMoved { actual }) => from = actual,
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }
}

/// Counts a failure of a stream, and quarantines the stream at the limit; true when the delivery should be retried at
/// once.
async fn count_failure(
    projection: &dyn Projection,
    log: &dyn EventStore,
    failures: &mut HashMap<String, u32>,
    error: &ModelError,
) -> bool {
    let ModelError::Poisoned { stream, message, .. } = error else { return false };
    let count = failures.entry(stream.clone()).or_default();
    *count += 1;
    if *count < FAILURES_MAX {
        return true;
    }
    let position = first_undelivered(projection, log, stream).await;
    let entry = Quarantined { stream: stream.clone(), position, message: message.clone() };
    tracing::error!(projection = projection.name(), stream, message, "stream set aside");
    failures.remove(stream);
    projection.quarantine(entry).await.is_ok()
}

async fn first_undelivered(
    projection: &dyn Projection,
    log: &dyn EventStore,
    stream: &str,
) -> Position {
    let from = projection.checkpoint().await.unwrap_or_default();
    let page = log.read_log(from, BATCH).await.unwrap_or_default();
    let first = page.events.iter().find(|event| event.stream.to_string() == stream);
    first.map_or(from, |event| event.position)
}

#[cfg(test)]
pub(crate) mod tests;
