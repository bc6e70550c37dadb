//! Audits of a log as it is stored, without trust in its rows.

use async_trait::async_trait;

use crate::audit::{Checkpoint, Report, VerificationProgress};
use crate::envelope::Recorded;
use crate::id::{LogId, Position};
use crate::ports::event_store::ReadError;

/// An event with the hash of its predecessor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainedEvent {
    /// Hash of the previous event of the stream; zeros for the first one.
    pub previous: [u8; 32],
    /// The event.
    pub event: Recorded,
}

/// Receives the progress of a verification; called from the verifying task.
pub type ProgressFn<'a> = &'a (dyn Fn(VerificationProgress) + Send + Sync);

/// Verifies and exports a log while others write it, without delaying them. Read-only: every method is idempotent,
/// and several callers and nodes may run it at once.
#[async_trait]
pub trait Auditor: Send + Sync {
    /// The id of the log; copies of a log have the same one.
    fn log_id(&self) -> LogId;

    /// Verifies every event, and everything that follows from them. Faults of the log are in the report, never an
    /// `Err`. `against` = a checkpoint that the log has to continue; `None` = none is compared.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    async fn verify(
        &self,
        against: Option<&Checkpoint>,
        progress: ProgressFn<'_>,
    ) -> Result<Report, ReadError>;

    /// The present checkpoint of the log.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    async fn checkpoint(&self) -> Result<Checkpoint, ReadError>;

    /// Events behind `after`, up to and including `until`, in commit order, at most `limit` and
    /// [`PAGE_BYTES_MAX`](super::event_store::PAGE_BYTES_MAX). Empty when there are none.
    ///
    /// # Errors
    /// [`ReadError::PositionGone`] when one of the positions is not of this log; [`ReadError::Store`], also
    /// when a row cannot be read.
    async fn chained_events(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<ChainedEvent>, ReadError>;
}

/// The hold of a restored store: while it is set, nothing is changed on any backend. A person lifts it.
#[async_trait]
pub trait RestoreHold: Send + Sync {
    /// Lifts the hold, durably. Idempotent. A process that is running with the hold does not notice: the caller
    /// ends it there too.
    ///
    /// # Errors
    /// [`ReadError::Store`]; then the hold may still be set.
    async fn clear(&self) -> Result<(), ReadError>;
}
