//! The log: the only place where something is decided for good.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::entity::claims::{Claim, ClaimKey};
use crate::envelope::{NewEvent, Recorded, StreamId};
use crate::id::{Position, Version};

/// Bytes of payload and metadata at which a page of events ends, with the event that reaches them. So a page may be short
/// and not the last one: see [`may_have_more`].
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Number of events that a page has, given the bytes of those that are there: until they reach [`PAGE_BYTES_MAX`].
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

/// Whether there may be more behind `page`, for which `limit` events were asked.
#[must_use]
pub fn may_have_more(page: &[Recorded], limit: usize) -> bool {
    page.len() >= limit || page.iter().map(Recorded::size).sum::<usize>() >= PAGE_BYTES_MAX
}

/// One atomic addition to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The stream to add to.
    pub stream: StreamId,
    /// The stream's version that the decision was made on; 0 = it must not exist.
    pub expected: Version,
    /// At least one event.
    pub events: Vec<NewEvent>,
    /// Taken and freed together with the events, or none of it happens.
    pub claims: Vec<Claim>,
}

/// The append is in the log and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The stream's version after it.
    pub version: Version,
    /// Position of its last event.
    pub position: Position,
}

/// Who holds a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The stream whose event took it.
    pub stream: StreamId,
    /// That event's version.
    pub version: Version,
    /// What was stored with it (an idempotency claim's fingerprint), else empty.
    pub value: String,
}

/// Why an append is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The stream moved on: load again and decide again. Nothing was written.
    #[error("the stream is at version {actual}")]
    Conflict {
        /// Where the stream stands.
        actual: Version,
    },
    /// Somebody else holds a claim. Nothing was written.
    #[error("{key} is taken")]
    ClaimTaken {
        /// What is taken.
        key: ClaimKey,
        /// By whom.
        holder: Holder,
    },
    /// The connection broke in the commit: append the same events again to learn what happened.
    #[error("the outcome of the commit is unknown")]
    OutcomeUnknown,
    /// Nothing was written; try later.
    #[error("the log is not available: {0}")]
    Unavailable(String),
}

/// The log could not be read; nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The position is of another log, or ahead of this one.
    #[error("the position is gone; the log's head is {head}")]
    PositionGone {
        /// Where the log stands.
        head: Position,
    },
    /// Try later.
    #[error("the log is not available: {0}")]
    Unavailable(String),
}

/// The event log.
///
/// Durability: after `Ok` from [`append`](Self::append) the events survive the death of process and machine.
/// Order: a reader that saw position P never later learns of an event before P.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Adds all events and claims or nothing. Repeating an append with the same event ids answers as the
    /// first time, before any version check. May be cancelled by dropping; the outcome is then unknown.
    async fn append(&self, append: Append) -> Result<Appended, AppendError>;

    /// Events of one stream with a version above `after`, in order, at most `limit` and [`PAGE_BYTES_MAX`]. Empty when
    /// there are none.
    async fn read_stream(
        &self,
        stream: &StreamId,
        after: Version,
        limit: usize,
    ) -> Result<Vec<Recorded>, ReadError>;

    /// The stream's present version; 0 when it does not exist.
    async fn head_of(&self, stream: &StreamId) -> Result<Version, ReadError>;

    /// Events of all streams behind `after` (start: [`Position::START`]), in commit order, at most `limit` and
    /// [`PAGE_BYTES_MAX`].
    async fn read_log(&self, after: Position, limit: usize) -> Result<Vec<Recorded>, ReadError>;

    /// Position of the last event; [`Position::START`] when the log is empty.
    async fn head(&self) -> Result<Position, ReadError>;

    /// Checks that `position` is of this log and not ahead of its head, which is where every other call that takes a
    /// position would refuse it too.
    ///
    /// # Errors
    /// [`ReadError::PositionGone`] for a position of another epoch or ahead of [`head`](Self::head);
    /// [`ReadError::Unavailable`].
    async fn check(&self, position: Position) -> Result<(), ReadError> {
        self.read_log(position, 0).await.map(drop)
    }

    /// Resolves when the log may have moved past `position`: a hint that can come early, never the truth.
    async fn changed_after(&self, position: Position);

    /// Who holds `key`; `None` when it is free. Whoever is named has its event in the log by then, for every reader.
    async fn holder(&self, key: &ClaimKey) -> Result<Option<Holder>, ReadError>;

    /// Who holds claims whose keys begin with `prefix` and follow `after`, by key, at most `limit`.
    async fn held_under(
        &self,
        prefix: &str,
        after: &ClaimKey,
        limit: usize,
    ) -> Result<Vec<(ClaimKey, StreamId)>, ReadError>;

    /// Forgets idempotency claims taken longer than `age` ago (≥ 7 days); the number forgotten.
    async fn forget_claims_older_than(&self, age: Duration) -> Result<u64, ReadError>;
}
