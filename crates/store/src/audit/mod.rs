//! Verification of a log as it is stored.
//!
//! - `chain_checker`: hashes, versions, positions and times, in one pass in commit order
//! - `running_digest`: the digest that checkpoints carry
//! - `entity_replay`: one entity's fold with its operations and claims; `entity_replays`: of all entities;
//!   `entity_check`: the same, with the rows stored of it; `expected_rows`: those that tables should have
//! - `export_reader`: parses and verifies an export
//! - `verify`: reads an [`AuditSource`] by both; `view_check`: a page of entities; `table_row`: every cell of their
//!   rows; `queue_row`: the rows that a queue may have; `claim_check`: the claims; `checkpoints`: checkpoints and
//!   quarantine; `faults`: what was found
//!
//! The expected rows come from the code that writes the views ([`AuditSource::expected_rows`]): there is no second
//! list of columns here.
//!
//! Invariant: nothing that is read is trusted. A row that cannot be parsed is a fault, and the pass goes on. No
//! database is named here, so that every adapter can use the module.

mod blocking;
mod chain_checker;
mod checkpoints;
mod claim_check;
mod entity_check;
mod entity_replay;
mod entity_replays;
mod expected_rows;
mod export_reader;
mod faults;
mod models;
mod queue_row;
mod running_digest;
mod table_row;
mod verify;
mod view_check;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use stateward_domain::audit::Fault;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::QueueRow;
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{LogId, Position, Version};
use stateward_domain::ports::event_store::{Holder, ReadError};
use stateward_domain::ports::read_model::EntityRow;
use stateward_domain::time::Timestamp;

use crate::hash::Hash;

pub use chain_checker::{ChainChecker, Chains};
pub(crate) use entity_replay::{ClaimRecord, EntityReplay};
pub(crate) use entity_replays::{EntityEvents, EntityReplays, ReplayedStream};
pub(crate) use expected_rows::{rows_of, table_row};
pub use export_reader::LineError;
pub(crate) use export_reader::{CopyCheck, ExportReader};
pub(crate) use models::{ENTITIES, QUEUE};
pub use running_digest::RunningDigest;
pub(crate) use table_row::differences;
pub use table_row::{Cell, Table, TableRow};
pub use verify::{chains, verify};

/// A row of the log as it was read.
pub type RawRow = Result<Recorded, Box<Unreadable>>;

/// Id of the row's stream, and its version; `None` = one of them cannot be read.
pub(crate) fn place(row: &RawRow) -> Option<(String, Version)> {
    match row {
        Ok(event) => Some((event.stream.id.clone(), event.version)),
        Err(row) => Some((row.stream.as_ref()?.id.clone(), row.version?)),
    }
}

/// A row that the log never writes, with the columns that can still be read.
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
    /// What cannot be read, for people.
    pub why: String,
    /// The event if only the stream's name is damaged, with the readable part of that name.
    pub nearly: Option<Recorded>,
}

/// A claim as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldClaim {
    /// The claim's key.
    pub key: ClaimKey,
    /// The stream that holds it, with the version of the event that took it.
    pub holder: Holder,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The event that took it; `None` = the log has no such version.
    pub event: Option<ClaimEvent>,
}

/// The event that took a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimEvent {
    /// Its metadata.
    pub metadata: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its place.
    pub position: Position,
    /// Metadata of the next event in the stream; `None` = it is the last one.
    pub next: Option<String>,
}

/// A checkpoint of a projection, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Name of the projection.
    pub name: String,
    /// The position; `None` = it cannot be read.
    pub position: Option<Position>,
    /// Number of the model's tables; 0 = the projection has no numbered tables.
    pub tables: i64,
    /// Whether tables with that number exist.
    pub has_tables: bool,
}

/// A row of `quarantine`, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedStream {
    /// The model that set it aside.
    pub model: String,
    /// The stream, as `category/id`.
    pub stream: String,
    /// The first event that failed; `None` = it cannot be read.
    pub position: Option<Position>,
}

/// The stored rows of a page of entities, from one read transaction.
#[derive(Debug, Default)]
pub struct ViewPage {
    /// The read model's checkpoint, in the epoch of this log; `None` = unknown.
    pub entities: Option<Position>,
    /// The queue's checkpoint, as `entities`.
    pub queue: Option<Position>,
    /// By entity id.
    pub stored: BTreeMap<String, StoredRows>,
    /// Quarantined streams, by entity id, each with its first event that failed.
    pub set_aside: HashMap<String, Position>,
    /// The last entity of the page; `None` = it is the last page.
    pub until: Option<String>,
}

/// The stored rows of one entity.
#[derive(Debug, Default)]
pub struct StoredRows {
    /// Version of its row in the read model; `None` = it has no row.
    pub version: Option<Version>,
    /// Its row in the queue; `None` = it has none, or it cannot be read.
    pub queue_row: Option<QueueRow>,
    /// All of its rows, in all tables.
    pub rows: Vec<TableRow>,
}

/// What the views have to hold of one entity.
#[derive(Debug, Default)]
pub struct ExpectedViews {
    /// The entity with its operations; `None` = no rows.
    pub entity: Option<(EntityRow, Vec<OperationRow>)>,
    /// Its row in the queue; `None` = no row.
    pub queue_row: Option<QueueRow>,
}

/// Which log, in which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The log.
    pub log_id: LogId,
    /// Epoch of its positions.
    pub epoch: u32,
    /// Whether the log gives out every number: then a missing position is a missing event. Where a rollback draws
    /// numbers too, positions only rise, and a missing event shows in its stream and in a checkpoint alone.
    pub dense: bool,
}

/// What a verification reads from, in pages, while others write. `Err` = nothing could be read,
/// [`ReadError::Store`]; damage of what was read is in the rows.
#[async_trait]
pub trait AuditSource: Send + Sync {
    /// Identity of the log.
    fn identity(&self) -> Identity;

    /// Position of the last event; [`Position::START`] when there is none.
    async fn head(&self) -> Result<Position, ReadError>;

    /// What the storage's own integrity check reports; empty = it is sound.
    async fn damage(&self) -> Result<Vec<String>, ReadError>;

    /// Number of events, for the progress: an estimate is enough.
    async fn size(&self) -> Result<u64, ReadError>;

    /// Rows behind `after`, up to and including `until`, by position.
    async fn rows(
        &self,
        after: Position,
        until: Position,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError>;

    /// Events of entities behind `after` (id and version), up to and including the stream `until` (`None` = all), by
    /// id and version.
    async fn entity_events(
        &self,
        after: (&str, Version),
        until: Option<&str>,
        limit: usize,
    ) -> Result<Vec<RawRow>, ReadError>;

    /// Whether entities hold claims on their objects; `false` = an older version wrote the log, and it was not opened
    /// for writing since.
    async fn claims_objects(&self) -> Result<bool, ReadError>;

    /// Claims whose keys follow `after`, by key.
    async fn claims(&self, after: &str, limit: usize) -> Result<Vec<HeldClaim>, ReadError>;

    /// Those of `keys` that are held now.
    async fn claims_of(&self, keys: &[&ClaimKey]) -> Result<Vec<HeldClaim>, ReadError>;

    /// The checkpoints of all projections; `None` = there are no views.
    async fn checkpoints(&self) -> Result<Option<Vec<StoredCheckpoint>>, ReadError>;

    /// Quarantine rows behind this model and stream, in that order.
    async fn quarantine(
        &self,
        after: (&str, &str),
        limit: usize,
    ) -> Result<Vec<QuarantinedStream>, ReadError>;

    /// All rows of entities with ids behind `after`, by id, about `limit` of each table, from one read transaction.
    async fn view_page(&self, after: &str, limit: usize) -> Result<ViewPage, ReadError>;

    /// Faults of tables that are compared as a whole, because they have no index by entity; from one read
    /// transaction.
    async fn whole_table_faults(&self) -> Result<Vec<Fault>, ReadError>;

    /// The rows that the views would write for each of `folds`.
    async fn expected_rows(&self, folds: &[ExpectedViews])
    -> Result<Vec<Vec<TableRow>>, ReadError>;
}
