//! Replayable projections for queries.
//!
//! Rows and checkpoint commit together, the checkpoint as a compare-and-swap, so that applying an event again changes
//! nothing. A rebuild fills new tables beside the live ones; a pointer is swapped in one transaction once the rebuild
//! has caught up.

use async_trait::async_trait;

use crate::entity::operation::{self, OperationRow, OperationState, OperationStep};
use crate::entity::{Entity, EntityEvent, State};
use crate::envelope::Recorded;
use crate::id::{
    BackendName, EntityId, EntityName, KindName, Namespace, OperationId, Position, Version,
};
use crate::ports::projection::{ModelError, Projection};
use crate::selector::Selector;
use crate::time::Timestamp;

/// Names one rebuild of a read model, unlike every other one of its store; also the tables that a start made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RebuildId(pub i64);

/// A rebuild that has begun.
pub struct Rebuild {
    /// Which one.
    pub id: RebuildId,
    /// Its instance. Once it is over, each call that writes fails with [`ModelError::StaleRebuild`] and changes nothing.
    pub model: Box<dyn ReadModel>,
}

/// A projection into tables for queries, which can be rebuilt beside its live instance. Several nodes may write it: the
/// compare-and-swap of the checkpoint lets one of them win, the others get [`ModelError::CheckpointMoved`].
#[async_trait]
pub trait ReadModel: Projection {
    /// Deletes all rows of a stream, applies `events`, which are its whole history, and ends its quarantine, in one
    /// transaction. Idempotent.
    ///
    /// # Errors
    /// [`ModelError::Poisoned`] when they still cannot be applied: then nothing was changed.
    /// [`ModelError::Store`].
    async fn retry(&self, stream: &str, events: &[Recorded]) -> Result<(), ModelError>;

    /// Creates a second, empty instance, to be filled from the start; queries go on to read the live one. Ends an
    /// unfinished rebuild, in whichever process it runs: of several at once, the last one to begin goes on.
    ///
    /// # Errors
    /// [`ModelError::Store`].
    async fn begin_rebuild(&self) -> Result<Rebuild, ModelError>;

    /// The rebuild that made the live instance. Differs once another one was swapped in, by whichever process.
    ///
    /// # Errors
    /// [`ModelError::Store`].
    async fn live(&self) -> Result<RebuildId, ModelError>;

    /// Makes the instance of this rebuild the live one if its checkpoint has reached that of the live one; false when it
    /// has not. Any process may call it. The old tables are dropped later, because a query may be reading them.
    ///
    /// # Errors
    /// [`ModelError::StaleRebuild`]: nothing was changed. [`ModelError::Store`].
    async fn swap(&self, rebuild: RebuildId) -> Result<bool, ModelError>;
}

/// One page of a list. A condition that no index serves is tested on a bounded number of rows, so a page may be
/// short, or empty, and still have a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Token of the next page, opaque; `None` = the last page.
    pub next: Option<String>,
    /// Position of the last event that the model had applied before the items were read: each of them includes all events
    /// up to it. Events behind it are all that a caller has to read to follow the list.
    pub as_of: Position,
}

/// An entity as the read model has it: the folded aggregate with its times.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityRow {
    /// The folded aggregate.
    pub entity: Entity,
    /// Version of the last folded event.
    pub version: Version,
    /// Time of its first event.
    pub created_at: Timestamp,
    /// Time of its last event.
    pub updated_at: Timestamp,
}

impl EntityRow {
    /// The row before its first event, which is `recorded`.
    #[must_use]
    pub fn before(recorded: &Recorded) -> Self {
        Self {
            entity: Entity::default(),
            version: Version(0),
            created_at: recorded.recorded_at,
            updated_at: recorded.recorded_at,
        }
    }

    /// Folds `event`, decoded from `recorded`, which must be the next event of the stream. Returns the changes of the
    /// rows of operations, in order.
    pub fn evolve(&mut self, recorded: &Recorded, event: &EntityEvent) -> Vec<OperationStep> {
        let steps = operation::evolve(&mut self.entity, recorded, event);
        (self.version, self.updated_at) = (recorded.version, recorded.recorded_at);
        steps
    }
}

/// Filter of entities. Empty members do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityFilter {
    /// Namespaces that the caller may see; `None` = all.
    pub namespaces: Option<Vec<Namespace>>,
    /// By kind.
    pub kind: Option<KindName>,
    /// By name.
    pub name: Option<EntityName>,
    /// By backend.
    pub backend: Option<BackendName>,
    /// By state; `None` = all but deleted ones.
    pub state: Option<State>,
    /// By the drift condition.
    pub drifted: Option<bool>,
    /// By labels.
    pub selector: Selector,
}

/// Filter of operations. Empty members do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationFilter {
    /// Namespaces that the caller may see; `None` = all.
    pub namespaces: Option<Vec<Namespace>>,
    /// Of one entity.
    pub entity: Option<EntityId>,
    /// By state.
    pub state: Option<OperationState>,
}

/// Number of entities with the same backend, kind, state and block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityCount {
    /// Backend.
    pub backend: BackendName,
    /// Kind.
    pub kind: KindName,
    /// State.
    pub state: State,
    /// Reason of the condition `blocked`; `None` = not blocked.
    pub blocked: Option<String>,
    /// Whether a bug of a driver or of the engine stopped them.
    pub dead: bool,
    /// Their number.
    pub count: u64,
}

/// The reading side: what the lists of the API are read from. Read-only; any node may call it. Rows may lag behind
/// the log.
#[async_trait]
pub trait Views: Send + Sync {
    /// The row of an entity; `None` when there is none (yet).
    ///
    /// # Errors
    /// [`ModelError::Store`].
    async fn entity(&self, id: EntityId) -> Result<Option<EntityRow>, ModelError>;

    /// Entities by id, which is creation order, a page at a time, stable under inserts. `token` is that of the
    /// previous page.
    ///
    /// # Errors
    /// [`ModelError::BadPageToken`], [`ModelError::Store`].
    async fn entities(
        &self,
        filter: &EntityFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<EntityRow>, ModelError>;

    /// One operation; `None` when there is none (yet).
    ///
    /// # Errors
    /// [`ModelError::Store`].
    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, ModelError>;

    /// Operations by id, newest first, a page at a time. `token` is that of the previous page.
    ///
    /// # Errors
    /// [`ModelError::BadPageToken`], [`ModelError::Store`].
    async fn operations(
        &self,
        filter: &OperationFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<OperationRow>, ModelError>;

    /// Counts of all undeleted entities, by group.
    ///
    /// # Errors
    /// [`ModelError::Store`].
    async fn counts(&self) -> Result<Vec<EntityCount>, ModelError>;
}
