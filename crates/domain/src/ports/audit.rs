//! Audits of a log as it is stored, without trust in its rows.

use async_trait::async_trait;

use crate::audit::{Checkpoint, Report, VerificationProgress};
use crate::envelope::Recorded;
use crate::id::{LogId, Position};
use crate::ports::event_store::ReadError;
use crate::time::Timestamp;

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

/// What an adapter knows of the present life of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogLife {
    /// Whether the mark of the restore hold is set.
    pub held: bool,
    /// The epoch with whose begin the mark was set; `None` = it may have been set at any time.
    pub held_epoch: Option<u32>,
    /// When the log began an epoch because events were gone, by the adapter's clock; `None` = none were missed.
    pub lost_at: Option<Timestamp>,
}

/// The mark by which an adapter says that the store was restored, imported, copied or cut: then nothing may be changed on
/// any backend before a person allows it. The log takes the mark over as `system.frozen`.
#[async_trait]
pub trait RestoreHold: Send + Sync {
    /// Removes the mark, durably, once a person lifted the hold. Idempotent.
    ///
    /// # Errors
    /// [`ReadError::Store`]; then the mark may still be set, and the next start meets it.
    async fn clear(&self) -> Result<(), ReadError>;
}
