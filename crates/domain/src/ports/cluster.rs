//! The processes that work on one store, and which of them has which duty.
//!
//! A duty keeps processes from doing the same work several times. It is never what makes a result right: that is the
//! compare-and-swap of checkpoints, the expected version of appends, and leases.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{BackendName, Position};
use crate::ports::member_report::MemberReport;
use crate::ports::store_error::StoreError;

/// One life of one process: a restarted process has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub Uuid);

/// The tasks that a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    #[default]
    All,
    /// The interface only.
    Api,
    /// Projections and rounds only.
    Worker,
}

/// A process as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its life.
    pub id: NodeId,
    /// Its name, for people; several members may have one name.
    pub name: String,
    /// What it runs.
    pub role: Role,
    /// Version of its binary.
    pub version: String,
    /// The [catalogue](crate::catalogue) that it reads.
    pub knows: u32,
    /// The last event that it has seen.
    pub seen: Position,
    /// Digests of the configurations of its backends.
    pub backends: BTreeMap<BackendName, String>,
    /// Whether it changes nothing on any backend.
    pub observe_only: bool,
    /// Rises with each description of one life.
    pub revision: u64,
    /// What it met.
    pub report: MemberReport,
}

/// Work that one process at a time should do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// Deliver the log to the projection of this name.
    Project(String),
    /// Rebuild the read model of this name.
    Rebuild(String),
    /// Look for objects of the backend that belong to no entity.
    Sweep(BackendName),
    /// Seed the drift timers of the backend.
    SeedTimers(BackendName),
    /// Delete old idempotency claims.
    ForgetClaims,
    /// Block entities whose backend no member has configured.
    Unconfigured,
}

/// The members of a cluster and their duties, by the store's clock. Any process may call it, at any time.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Whether other processes may work on the same store. If not, this process has every duty and every share.
    fn is_shared(&self) -> bool;

    /// Registers or renews `me`; returns all members that live, `me` among them, in the order in which they joined.
    /// Idempotent. A member that does not call it again is dropped after a time that the adapter sets.
    ///
    /// Calls of all processes are one after another: the answer has every description of which another call was answered
    /// before this one began. A description of a lower revision than the stored one renews the member and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when the catalogue was [raised](Self::raise_catalogue) above what `me` reads, else
    /// [`StoreError`].
    async fn beat(&self, me: &Member) -> Result<Vec<Member>, StoreError>;

    /// Takes the duty, or keeps it, for `duration` from now; false when another process has it. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`]: the duty may have been taken.
    async fn hold(&self, me: NodeId, duty: &Duty, duration: Duration) -> Result<bool, StoreError>;

    /// Ends the duty if the process has it; another one may take it at once. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`]: it ends when it would have.
    async fn give_back(&self, me: NodeId, duty: &Duty) -> Result<(), StoreError>;

    /// Makes `catalogue` the least that a member has to read; false, and nothing changed, while a member that lives reads
    /// less. After true no process can join that reads less. Idempotent; the catalogue never sinks.
    ///
    /// # Errors
    /// [`StoreError`]: it may have been raised.
    async fn raise_catalogue(&self, catalogue: u32) -> Result<bool, StoreError>;

    /// Gives all duties of the process back and removes it from the members. Idempotent.
    ///
    /// # Errors
    /// [`StoreError`]: they end when they would have.
    async fn leave(&self, me: NodeId) -> Result<(), StoreError>;
}
