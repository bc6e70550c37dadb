//! The event log: the source of truth.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::entity::claims::{Claim, ClaimKey};
use crate::envelope::{NewEvent, Recorded, StreamId};
use crate::id::{Position, Version};
use crate::ports::store_error::StoreError;

/// Bytes of payload and metadata at which a page of events ends, with the event that reaches them. So a page may be
/// short without being the last one: see [`may_have_more`].
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Number of events in a page, given the bytes of the candidates: up to the one that reaches [`PAGE_BYTES_MAX`].
#[must_use]
pub fn page_length(bytes: impl IntoIterator<Item = usize>) -> usize {
    let (mut length, mut sum) = (0, 0_usize);
    for bytes in bytes {
        length += 1;
        sum = sum.saturating_add(bytes);
        if sum >= PAGE_BYTES_MAX {
            break;
        }
    }
    length
}

/// Whether more events may follow `page`, which was read with `limit`.
#[must_use]
pub fn may_have_more(page: &[Recorded], limit: usize) -> bool {
    page.len() >= limit || page.iter().map(Recorded::size).sum::<usize>() >= PAGE_BYTES_MAX
}

/// A page of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Events in commit order.
    pub events: Vec<Recorded>,
    /// How far the log was read: the position of the last event behind `after` that was read, also of one that is not in
    /// `events` because it is not of this system; `after` when there was none. Never above an event that was read: a
    /// number that a rollback drew is drawn again.
    pub through: Position,
}

impl LogPage {
    /// A page of a log that holds nothing but events of this system.
    #[must_use]
    pub fn of(after: Position, events: Vec<Recorded>) -> Self {
        let through = events.last().map_or(after, |last| last.position);
        Self { events, through }
    }
}

/// An atomic append to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The stream to add to.
    pub stream: StreamId,
    /// The stream's version that the decision was based on; 0 = the stream must not exist.
    pub expected: Version,
    /// At least one event.
    pub events: Vec<NewEvent>,
    /// Claims to take, share and free, atomically with the events.
    pub claims: Vec<Claim>,
}

/// A durable append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The stream's version after it.
    pub version: Version,
    /// Position of its last event.
    pub position: Position,
}

/// The holder of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The stream whose event took it.
    pub stream: StreamId,
    /// Version of that event.
    pub version: Version,
    /// Stored with the claim (the fingerprint of an idempotency claim), else empty.
    pub value: String,
}

/// Why an append failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The stream has another version: load and decide again. Nothing was written.
    #[error("the stream is at version {actual}")]
    Conflict {
        /// The stream's version.
        actual: Version,
    },
    /// Another stream holds a claim. Nothing was written.
    #[error("{key} is taken")]
    ClaimTaken {
        /// The claim.
        key: ClaimKey,
        /// Its holder.
        holder: Holder,
    },
    /// The connection broke in the commit: repeat the append with the same event ids to learn the outcome.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown,
    /// A process that shares the log cannot read an event of the append. Nothing was written; the same append may succeed
    /// once that process has ended. No store answers so: the engine does, before it appends.
    #[error("a node of an older version runs, which cannot read {event_type}")]
    Unreadable {
        /// The type that it does not know.
        event_type: String,
    },
    /// The store did not answer. Nothing was written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the log could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The position is of another epoch or log, or ahead of the head.
    #[error("the position is gone; the log's head is {head}")]
    PositionGone {
        /// The log's head.
        head: Position,
    },
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The event log. All methods may be called from several tasks and nodes at once.
///
/// Durability: after `Ok` from [`append`](Self::append) the events survive a crash of process and machine. Order: a
/// reader that saw position P never later sees a new event before P.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Appends all events and changes all claims, or nothing. Idempotent by the ids of the events: a repeated append
    /// returns the result of the first one, before any version check. May be cancelled by dropping; the outcome is
    /// then unknown.
    ///
    /// # Errors
    /// [`AppendError::Conflict`], [`AppendError::ClaimTaken`] and [`AppendError::Store`]: nothing was written.
    /// [`AppendError::OutcomeUnknown`]: repeat the append.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// Events of one stream with a version above `after`, in order, at most `limit` and [`PAGE_BYTES_MAX`]. Empty
    /// when there are none.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError>;

    /// The stream's present version; 0 when it does not exist.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    async fn head_of(&self, stream: &StreamId) -> Result<Version, ReadError>;

    /// Events of all streams behind `after` ([`Position::START`] = all), in commit order, at most `limit` and
    /// [`PAGE_BYTES_MAX`].
    ///
    /// # Errors
    /// [`ReadError::PositionGone`] for a position that is not of this log; [`ReadError::Store`].
    async fn read_log(&self, after: Position, limit: usize) -> Result<LogPage, ReadError>;

    /// Position of the last event; [`Position::START`] when the log is empty. A barrier: every append that any node
    /// acknowledged before this call is at or before it.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    async fn head(&self) -> Result<Position, ReadError>;

    /// Checks that `position` is of this log and not ahead of its head, as every method that takes a position does.
    ///
    /// # Errors
    /// [`ReadError::PositionGone`] for a position of another epoch or ahead of [`head`](Self::head);
    /// [`ReadError::Store`].
    async fn check(&self, position: Position) -> Result<(), ReadError> {
        self.read_log(position, 0).await.map(drop)
    }

    /// Resolves when the log may have grown behind `position`. Only a hint: it may come early, and a caller that must
    /// not miss an event also polls.
    async fn changed_after(&self, position: Position);

    /// The holder of `key`; `None` when it is free. A holder may be pending: its event is acknowledged soon, or the claim
    /// is given up, and until then the event is not found.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    async fn holder(&self, key: &ClaimKey) -> Result<Option<Holder>, ReadError>;

    /// Claims with keys that begin with `prefix` and follow `after`, with the streams that hold them, by key, at most
    /// `limit`.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    async fn held_under(
        &self,
        prefix: &str,
        after: &ClaimKey,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, StreamId)>, ReadError>;

    /// Deletes idempotency claims taken longer than `age` ago (at least 7 days); returns their number. Idempotent.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    async fn forget_claims_older_than(&self, age: Duration) -> Result<u64, ReadError>;
}
