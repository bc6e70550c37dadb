//! Looking at the log as it is stored, without trust in it.

use async_trait::async_trait;

use crate::audit::{Checkpoint, Report, VerificationProgress};
use crate::envelope::Recorded;
use crate::id::{LogId, Position};
use crate::ports::event_store::ReadError;

/// An event with the hash that its own follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainedEvent {
    /// Hash of the event before it in the stream.
    pub previous: [u8; 32],
    /// The event.
    pub event: Recorded,
}

/// What is told of a verification's progress.
pub type ProgressFn<'a> = &'a (dyn Fn(VerificationProgress) + Send + Sync);

/// Verifies and copies a log while others write it; never holds them up.
#[async_trait]
pub trait Auditor: Send + Sync {
    /// Which log this is: its copies have the same id.
    fn log_id(&self) -> LogId;

    /// Reads everything and says what is wrong. Whatever is met in the log is a fault in the report, not an error.
    async fn verify(
        &self,
        against: Option<&Checkpoint>,
        progress: ProgressFn<'_>,
    ) -> Result<Report, ReadError>;

    /// What the log is now.
    async fn checkpoint(&self) -> Result<Checkpoint, ReadError>;

    /// Events behind `after`, up to and including `until`, in commit order, at most `limit` and
    /// [`PAGE_BYTES_MAX`](super::event_store::PAGE_BYTES_MAX). Empty when there are none.
    async fn chained_events(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<ChainedEvent>, ReadError>;
}

/// The durable mark of a store that was put back: nothing is changed on any backend before a person looked.
#[async_trait]
pub trait RestoreHold: Send + Sync {
    /// Takes the mark away, durably; nothing happens when there is none.
    async fn clear(&self) -> Result<(), ReadError>;
}
