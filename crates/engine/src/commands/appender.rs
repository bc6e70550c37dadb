//! Appends events: only such as every process of the log reads, and until the outcome is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use stateward_domain::catalogue;
use stateward_domain::envelope::NewEvent;
use stateward_domain::ports::cluster::Cluster;
use stateward_domain::ports::event_store::{Append, AppendError, Appended, EventStore};

/// The one way into the log. Cheap to clone.
#[derive(Clone)]
pub struct Appender {
    log: Arc<dyn EventStore>,
    cluster: Arc<dyn Cluster>,
    /// The catalogue that every process of the log is known to read.
    admitted: Arc<AtomicU32>,
}

impl Appender {
    /// Appends to `log`, which the members of `cluster` share.
    #[must_use]
    pub fn new(log: Arc<dyn EventStore>, cluster: Arc<dyn Cluster>) -> Self {
        Self { log, cluster, admitted: Arc::new(AtomicU32::new(catalogue::FIRST)) }
    }

    /// Appends, and resolves an unknown outcome by sending the same events again, which the log recognises by their ids.
    ///
    /// # Errors
    /// As [`EventStore::append`]; [`AppendError::OutcomeUnknown`] only after several attempts.
    /// [`AppendError::Unreadable`] while a process runs that cannot read one of the events.
    pub(crate) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.admit(&append.events).await?;
        let mut wait = Duration::from_millis(10);
        for _ in 0..7 {
            match self.log.append(append.clone()).await {
                Err(AppendError::OutcomeUnknown) => tokio::time::sleep(wait).await,
                outcome => return outcome,
            }
            wait *= 2;
        }
        self.log.append(append).await
    }

    /// Makes sure that no process runs or joins which cannot read `events`.
    async fn admit(&self, events: &[NewEvent]) -> Result<(), AppendError> {
        let newest = events.iter().max_by_key(|event| catalogue_of(event));
        match newest {
            Some(newest) => self.admit_type(&newest.event_type, catalogue_of(newest)).await,
            None => Ok(()),
        }
    }

    async fn admit_type(&self, event_type: &str, needed: u32) -> Result<(), AppendError> {
        if needed <= self.admitted.load(Ordering::Acquire) {
            return Ok(());
        }
        if !self.cluster.raise_catalogue(needed).await? {
            return Err(AppendError::Unreadable { event_type: event_type.to_owned() });
        }
        self.admitted.fetch_max(needed, Ordering::AcqRel);
        Ok(())
    }
}

/// The catalogue that this process reads.
pub(crate) fn readable() -> u32 {
    catalogue::NEWEST + u32::from(next_type().is_some())
}

fn catalogue_of(event: &NewEvent) -> u32 {
    if next_type().is_some_and(|next| next == event.event_type) {
        return catalogue::NEWEST + 1;
    }
    catalogue::of(&event.event_type, event.schema_version)
}

/// A fail point: a test names a stored type that counts as one of the next catalogue, as if this were a newer version.
fn next_type() -> Option<String> {
    fail::fail_point!("engine::catalogue::next", |name| name);
    None
}
