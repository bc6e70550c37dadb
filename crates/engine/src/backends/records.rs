//! A backend's own stream: what the log knows of it, and how that changes.

use std::sync::Arc;
use std::time::Duration;

use stateward_domain::backend::{Backend as Record, BackendEvent};
use stateward_domain::envelope::{Envelope, NewEvent, StreamId};
use stateward_domain::id::BackendName;
use stateward_domain::ports::event_store::{Append, AppendError, EventStore};

use crate::error::Error;
use crate::sources::Sources;

/// Events of a backend read at a time.
const PAGE: usize = 500;
/// Appends tried before the caller is told to come back.
const TRIES: u32 = 20;

/// The backends' streams. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    log: Arc<dyn EventStore>,
    sources: Sources,
}

impl Records {
    /// Reads and writes `log`.
    #[must_use]
    pub fn new(log: Arc<dyn EventStore>, sources: Sources) -> Self {
        Self { log, sources }
    }

    /// What the log knows of a backend; default = nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn load(&self, name: &BackendName) -> Result<Record, Error> {
        let stream = StreamId::backend(name);
        let mut record = Record::default();
        loop {
            let page = self.log.read_stream(&stream, record.version, PAGE).await?;
            for recorded in &page {
                record.evolve(&recorded.decode(BackendEvent::known)?);
            }
            if page.len() < PAGE {
                return Ok(record);
            }
        }
    }

    /// Appends what `decide` makes of the present record and answers with the record after it. Nothing is
    /// appended when `decide` answers with nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unreadable`], [`Error::Contended`].
    pub async fn change(
        &self,
        name: &BackendName,
        envelope: &Envelope,
        decide: impl Fn(&Record) -> Vec<BackendEvent> + Send,
    ) -> Result<Record, Error> {
        for _ in 0..TRIES {
            let mut record = self.load(name).await?;
            let events = decide(&record);
            if events.is_empty() {
                return Ok(record);
            }
            let append = Append {
                stream: StreamId::backend(name),
                expected: record.version,
                events: events
                    .iter()
                    .map(|event| NewEvent::encode(self.sources.event_id(), event, envelope))
                    .collect(),
                claims: Vec::new(),
            };
            match append_surely(&*self.log, append).await {
                Ok(_) => {
                    for event in &events {
                        record.evolve(event);
                    }
                    return Ok(record);
                }
                Err(AppendError::Conflict { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(Error::Contended)
    }
}

/// Appends; an unknown outcome is resolved by sending the same events again, which the log recognises.
///
/// # Errors
/// Everything but [`AppendError::OutcomeUnknown`], which is answered only after several tries.
pub(crate) async fn append_surely(
    log: &dyn EventStore,
    append: Append,
) -> Result<stateward_domain::ports::event_store::Appended, AppendError> {
    let mut wait = Duration::from_millis(10);
    for _ in 0..7 {
        match log.append(append.clone()).await {
            Err(AppendError::OutcomeUnknown) => tokio::time::sleep(wait).await,
            outcome => return outcome,
        }
        wait *= 2;
    }
    log.append(append).await
}
