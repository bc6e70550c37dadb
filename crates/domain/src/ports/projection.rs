//! Consumers of the whole log, each with its own checkpoint.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::envelope::Recorded;
use crate::id::Position;
use crate::ports::store_error::StoreError;

/// Why a call to a projection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The checkpoint is elsewhere: another runner moved it. Read it again.
    #[error("the checkpoint is at {actual}")]
    CheckpointMoved {
        /// The checkpoint.
        actual: Position,
    },
    /// The events of this stream cannot be applied; nothing of the batch was.
    #[error("stream {stream} cannot be projected: {message}")]
    Poisoned {
        /// `category/id`.
        stream: String,
        /// Why.
        message: String,
        /// Type of an event that this version does not know, or not in this category: then the projection stops, it
        /// never skips. `None` = the event is known, and cannot be applied.
        unknown: Option<String>,
    },
    /// The rebuild is over: another one has begun since, or it was swapped in, or dropped. Begin a new one.
    #[error("another rebuild took the place of this one")]
    StaleRebuild,
    /// The page token was not issued for this filter.
    #[error("the page token is not valid")]
    BadPageToken,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ModelError {
    /// An event of a category that this version does not know.
    #[must_use]
    pub fn unknown_category(recorded: &Recorded) -> Self {
        Self::Poisoned {
            stream: recorded.stream.to_string(),
            message: format!("events of {} are unknown here", recorded.stream.category),
            unknown: Some(recorded.event_type.clone()),
        }
    }
}

/// A stream whose events a projection cannot apply, set aside so that the others go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// `category/id`.
    pub stream: String,
    /// Its first event that failed.
    pub position: Position,
    /// Why.
    pub message: String,
}

/// A consumer of the whole log with its own checkpoint. Several nodes may run it: the compare-and-swap of the checkpoint
/// lets one of them win.
#[async_trait]
pub trait Projection: Send + Sync {
    /// Stable name: `entities`, `sync_queue`.
    fn name(&self) -> &'static str;

    /// Position of the last applied event; [`Position::START`] before the first one.
    ///
    /// # Errors
    /// [`ModelError::Store`].
    async fn checkpoint(&self) -> Result<Position, ModelError>;

    /// Resolves once the checkpoint has reached `position`, whichever process moved it; never fails, and waits while the
    /// store does not answer, so the caller bounds it. Resolves without I/O when this process knows that already.
    /// Cancellable.
    async fn advanced_past(&self, position: Position);

    /// Applies `events` and moves the checkpoint from `from` to `to`, in one transaction or not at all. Events of
    /// quarantined streams, and those that were applied before, are skipped.
    ///
    /// # Errors
    /// [`ModelError::CheckpointMoved`] when the checkpoint is not `from`; [`ModelError::Poisoned`] for the first
    /// stream that cannot be applied; [`ModelError::Store`].
    async fn apply(
        &self,
        from: Position,
        to: Position,
        events: &[Recorded],
    ) -> Result<(), ModelError>;

    /// The streams in quarantine.
    ///
    /// # Errors
    /// [`ModelError::Store`].
    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError>;

    /// Puts a stream in quarantine, so that the others go on. Idempotent.
    ///
    /// # Errors
    /// [`ModelError::Store`].
    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError>;
}
