//! Verification of a log as it is stored.
//!
//! - `checker`: hashes, versions, positions and times, in one pass in commit order
//! - `digest`: the running digest that checkpoints carry
//! - `life`: one entity's fold with its operations and the claims that it holds; `current`: that, and what is stored of it
//! - `verify`: reads a [`AuditSource`] by both; `views`: a page of entities; `rows`: every cell of their rows; `queue`: what of a
//!   queue's row is open; `claims`: what is held; `stands`: checkpoints and what is set aside; `faults`: what is wrong
//!
//! What rows have to hold is made by whoever writes them ([`AuditSource::expected`]): there is no second list of columns here.
//!
//! Nothing here trusts what it reads: a row that cannot even be parsed is a fault, and what follows is looked at all
//! the same. It knows no database, so that every adapter can use it.

mod chain_checker;
mod checkpoints;
mod claim_check;
mod entity_check;
mod entity_replay;
mod faults;
mod queue_row;
mod running_digest;
mod table_row;
mod verify;
mod view_check;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use stateward_domain::audit::Fault;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::entity::work::QueueRow;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{LogId, Position, Version};
use stateward_domain::ports::event_store::{Holder, ReadError};
use stateward_domain::ports::read_model::EntityRow;
use stateward_domain::time::Timestamp;

use crate::hash::Hash;

pub use chain_checker::{ChainChecker, Chains};
pub(crate) use checkpoints::{ENTITIES, QUEUE};
pub(crate) use entity_replay::{ClaimRecord, EntityReplay};
pub use running_digest::RunningDigest;
pub(crate) use table_row::differences;
pub use table_row::{Cell, Table, TableRow};
pub use verify::{chains, verify};

/// A row of the log as it was found.
pub type RawRow = Result<Recorded, Box<Unreadable>>;

/// Where the row stands among those of its category: stream and version; `None` = that cannot be read of it.
pub(crate) fn place(row: &RawRow) -> Option<(String, Version)> {
    match row {
        Ok(event) => Some((event.stream.id.clone(), event.version)),
        Err(row) => Some((row.stream.as_ref()?.id.clone(), row.version?)),
    }
}

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
pub struct HeldClaim {
    /// What.
    pub key: ClaimKey,
    /// By whom, since which version.
    pub holder: Holder,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The event that the claim says it is of; `None` = the log has no such version.
    pub event: Option<ClaimEvent>,
}

/// The event that a claim is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimEvent {
    /// Its metadata.
    pub metadata: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its place.
    pub position: Position,
    /// Metadata of the event behind it in its stream.
    pub next: Option<String>,
}

/// A checkpoint of a projection, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Of which.
    pub name: String,
    /// Where it stands; `None` = that cannot be read.
    pub position: Option<Position>,
    /// The number of its tables; 0 = they have none.
    pub tables: i64,
    /// Whether there are such tables.
    pub has_tables: bool,
}

/// A stream that is set aside, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedStream {
    /// By which model.
    pub model: String,
    /// Which.
    pub stream: String,
    /// Since which event; `None` = that cannot be read.
    pub position: Option<Position>,
}

/// What the views hold of some entities, as they had it at one moment.
#[derive(Debug, Default)]
pub struct ViewPage {
    /// Where the read model stood then, whatever life of the log it says that is of; `None` = that is not known.
    pub entities: Option<Position>,
    /// As `entities`, of the queue.
    pub queue: Option<Position>,
    /// By id.
    pub stored: BTreeMap<String, StoredRows>,
    /// Streams that the read model set aside, by the ids of their entities, each with the first event that it has not.
    pub set_aside: HashMap<String, Position>,
    /// The last entity of the page; `None` = there are no more.
    pub until: Option<String>,
}

/// What the views hold of one entity.
#[derive(Debug, Default)]
pub struct StoredRows {
    /// The version that its row in the read model is of.
    pub version: Option<Version>,
    /// Its row in the queue, as far as it can be read.
    pub queue_row: Option<QueueRow>,
    /// All of its rows.
    pub rows: Vec<TableRow>,
}

/// What the views have to hold of one entity.
#[derive(Debug, Default)]
pub struct ExpectedViews {
    /// The entity with its operations.
    pub entity: Option<(EntityRow, Vec<OperationRow>)>,
    /// Its row in the queue.
    pub queue_row: Option<QueueRow>,
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
pub trait AuditSource: Send + Sync {
    /// Which log.
    fn identity(&self) -> Identity;

    /// Position of the last event; [`Position::START`] when there is none.
    async fn head(&self) -> Result<Position, ReadError>;

    /// What is wrong with the storage itself.
    async fn damage(&self) -> Result<Vec<String>, ReadError>;

    /// Rows behind `after`, up to `until`, by position.
    async fn rows(&self, after: u64, until: u64, limit: usize) -> Result<Vec<RawRow>, ReadError>;

    /// Rows of entities' streams behind `after` (id and version), up to and including the stream `until` (`None` =
    /// all), by id and version.
    async fn entity_events(
        &self,
        after: (&str, Version),
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError>;

    /// Whether entities hold claims on their objects; `false` = an older version wrote the log, and this one has not
    /// opened it yet.
    async fn claims_objects(&self) -> Result<bool, ReadError>;

    /// Claims whose keys follow `after`, by key.
    async fn claims(&self, after: &str, limit: usize) -> Result<Vec<HeldClaim>, ReadError>;

    /// Those of these claims that are held now.
    async fn claims_of(&self, keys: &[&ClaimKey]) -> Result<Vec<HeldClaim>, ReadError>;

    /// Where the projections stand; `None` = there are no views.
    async fn checkpoints(&self) -> Result<Option<Vec<StoredCheckpoint>>, ReadError>;

    /// What is set aside, behind this model and stream.
    async fn quarantine(
        &self,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<QuarantinedStream>, ReadError>;

    /// All rows of entities whose ids follow `after`, by id, at most about `limit` of each table, of one moment.
    async fn view_page(&self, after: &str, limit: usize) -> Result<ViewPage, ReadError>;

    /// What is wrong with tables in which the rows of an entity cannot be read by themselves, held against the read
    /// model's own rows at one moment.
    async fn whole_table_faults(&self) -> Result<Vec<Fault>, ReadError>;

    /// The rows that the views would write for these, each.
    async fn expected_rows(&self, folds: &[ExpectedViews])
    -> Result<Vec<Vec<TableRow>>, ReadError>;
}
