//! Verification of a log as it is stored.
//!
//! - `checker`: hashes, versions, positions and times, in one pass in commit order
//! - `digest`: the running digest that checkpoints carry
//! - `life`: one entity's fold, the claims that it holds, and the read model's row against it
//! - `verify`: reads a [`Source`] by both; `faults`: what is wrong
//!
//! Nothing here trusts what it reads: a row that cannot even be parsed is a fault, and what follows is looked at all
//! the same. It knows no database, so that every adapter can use it.

mod checker;
mod digest;
mod faults;
mod life;
mod verify;

use async_trait::async_trait;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{LogId, Position, Version};
use stateward_domain::ports::event_store::{Holder, ReadError};

use crate::hash::Hash;

pub use checker::{Chains, Checker};
pub use digest::Running;
pub(crate) use life::{Life, Taken};
pub use verify::{chains, verify};

/// A row of the log as it was found.
pub type Row = Result<Recorded, Box<Unreadable>>;

/// A row that nobody ever wrote so, with what can still be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its place.
    pub position: Position,
    /// Its stream, as stored.
    pub stream: Option<StreamId>,
    /// Its version, as stored.
    pub version: Option<Version>,
    /// Its hash, as stored.
    pub hash: Option<Hash>,
    /// What cannot be read.
    pub why: String,
    /// What it would be if only the stream's name is damaged, with the name as far as it can be read.
    pub nearly: Option<Recorded>,
}

/// A claim as it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What.
    pub key: ClaimKey,
    /// By whom, since which version.
    pub holder: Holder,
    /// Metadata of that version; `None` = the log has no such version.
    pub metadata: Option<String>,
}

/// A row of the read model `entities`, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Id of the entity.
    pub id: String,
    /// The version that it is folded up to.
    pub version: Version,
    /// Name of the state.
    pub state: String,
    /// The fold as JSON.
    pub data: String,
}

/// Which database, and which life of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The log.
    pub log_id: LogId,
    /// Epoch of its positions.
    pub epoch: u32,
}

/// Where a verification reads from, in pages, while others write. Errors mean that nothing could be read; what is
/// wrong with what was read is in the rows.
#[async_trait]
pub trait Source: Send + Sync {
    /// Which log.
    fn identity(&self) -> Identity;

    /// Position of the last event; [`Position::START`] when there is none.
    async fn head(&self) -> Result<Position, ReadError>;

    /// What is wrong with the storage itself.
    async fn damage(&self) -> Result<Vec<String>, ReadError>;

    /// Rows behind `after`, up to `until`, by position.
    async fn rows(&self, after: u64, until: u64, limit: usize) -> Result<Vec<Row>, ReadError>;

    /// Rows of entities' streams behind `after` (id and version), up to and including the stream `until` (`None` =
    /// all), by id and version.
    async fn lives(
        &self,
        after: (&str, Version),
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Row>, ReadError>;

    /// Claims whose keys follow `after`, by key.
    async fn claims(&self, after: &str, limit: usize) -> Result<Vec<Held>, ReadError>;

    /// Who holds `key` now.
    async fn holder(&self, key: &ClaimKey) -> Result<Option<Holder>, ReadError>;

    /// Where the read model stands; `None` = there is none of this life of the log.
    async fn model(&self) -> Result<Option<Position>, ReadError>;

    /// Rows of the read model whose ids follow `after`, by id.
    async fn snapshots(&self, after: &str, limit: usize) -> Result<Vec<Snapshot>, ReadError>;

    /// Streams that the read model set aside.
    async fn set_aside(&self) -> Result<Vec<String>, ReadError>;
}
