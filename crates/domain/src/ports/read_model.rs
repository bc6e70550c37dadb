//! Replayable projections for queries.
//!
//! A row and its checkpoint commit together, the checkpoint as a compare-and-swap, so that delivering an
//! event again changes nothing. A rebuild fills new tables beside the live ones; a pointer is swapped in the
//! transaction that reaches the head.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::entity::operation::{self, OperationRow, OperationState, OperationStep};
use crate::entity::{Entity, EntityEvent, State};
use crate::envelope::Recorded;
use crate::id::{
    BackendName, EntityId, EntityName, KindName, Namespace, OperationId, Position, Version,
};
use crate::selector::Selector;
use crate::time::Timestamp;

/// Why a read model did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The checkpoint is elsewhere: another runner was here. Read it again.
    #[error("the checkpoint is at {actual}")]
    CheckpointMoved {
        /// Where it stands.
        actual: Position,
    },
    /// These events cannot be applied; the others of their batch were not touched either.
    #[error("stream {stream} cannot be projected: {message}")]
    Poisoned {
        /// `category/id`.
        stream: String,
        /// Why.
        message: String,
        /// Whether this version does not know the event's type: then the projection stops, it never skips.
        unknown: bool,
    },
    /// The page token is not one of ours.
    #[error("the page token is not valid")]
    BadPageToken,
    /// Try later.
    #[error("the read model is not available: {0}")]
    Unavailable(String),
}

/// A stream that a projection could not take, set aside so that the others go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// `category/id`.
    pub stream: String,
    /// Its first event that failed.
    pub position: Position,
    /// Why.
    pub message: String,
}

/// The writing side of a projection.
#[async_trait]
pub trait ReadModel: Send + Sync {
    /// Stable name: `entities`, `sync_queue`.
    fn name(&self) -> &'static str;

    /// Where it stands; [`Position::START`] before the first event.
    async fn checkpoint(&self) -> Result<Position, ModelError>;

    /// Applies `events` and moves the checkpoint from `from` to `to` in one transaction, or does nothing.
    /// Events of quarantined streams are passed over.
    async fn apply(
        &self,
        from: Position,
        to: Position,
        events: &[Recorded],
    ) -> Result<(), ModelError>;

    /// Streams that are set aside.
    async fn quarantined(&self) -> Result<Vec<Quarantined>, ModelError>;

    /// Sets a stream aside.
    async fn quarantine(&self, entry: Quarantined) -> Result<(), ModelError>;

    /// Replaces everything that the model holds of a stream by what `events`, its whole history, say, and
    /// takes it out of quarantine. Answers with `Poisoned` when they still cannot be applied.
    async fn retry(&self, stream: &str, events: &[Recorded]) -> Result<(), ModelError>;

    /// A second, empty instance beside the live one, to be filled from the start; one that was begun earlier
    /// is dropped first. Queries go on to see the live one.
    async fn begin_rebuild(&self) -> Result<Box<dyn ReadModel>, ModelError>;

    /// Makes the instance from [`begin_rebuild`](Self::begin_rebuild) the live one if it stands where the
    /// live one stands or further, and drops the old tables. False when it has not caught up yet.
    async fn swap(&self) -> Result<bool, ModelError>;
}

/// One page of a list. What no index serves is looked for in a bounded number of rows, so a page may be short, or empty,
/// and still have a token.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins, opaque; `None` = the last page.
    pub next: Option<String>,
}

/// An entity as the read model holds it: the folded aggregate with its times.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityRow {
    /// The fold.
    pub entity: Entity,
    /// The stream version that it is folded up to.
    pub version: Version,
    /// Time of its first event.
    pub created_at: Timestamp,
    /// Time of its last event.
    pub updated_at: Timestamp,
}

impl EntityRow {
    /// Of an entity whose first event is `recorded`, before that.
    #[must_use]
    pub fn before(recorded: &Recorded) -> Self {
        Self {
            entity: Entity::default(),
            version: Version(0),
            created_at: recorded.recorded_at,
            updated_at: recorded.recorded_at,
        }
    }

    /// Folds `event`, which `recorded` holds and which follows the row's version: what it means for the rows of
    /// operations, in order.
    pub fn evolve(&mut self, recorded: &Recorded, event: &EntityEvent) -> Vec<OperationStep> {
        let steps = operation::evolve(&mut self.entity, recorded, event);
        (self.version, self.updated_at) = (recorded.version, recorded.recorded_at);
        steps
    }
}

/// Which entities. Empty members do not restrict.
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
    /// By state; deleted ones are only listed when asked for.
    pub state: Option<State>,
    /// By the drift condition.
    pub drifted: Option<bool>,
    /// By labels.
    pub selector: Selector,
}

/// Which operations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperationFilter {
    /// Namespaces that the caller may see; `None` = all.
    pub namespaces: Option<Vec<Namespace>>,
    /// Of one entity.
    pub entity: Option<EntityId>,
    /// By state.
    pub state: Option<OperationState>,
}

/// Number of entities that are alike in what matters to whoever watches over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityCount {
    /// Backend.
    pub backend: BackendName,
    /// Kind.
    pub kind: KindName,
    /// State.
    pub state: State,
    /// Reason of the condition `blocked`; `None` = it is not.
    pub blocked: Option<String>,
    /// Whether a fault of a driver or of ours stopped them.
    pub dead: bool,
    /// How many.
    pub count: u64,
}

/// The reading side: what REST lists come from.
#[async_trait]
pub trait Views: Send + Sync {
    /// The row of an entity, perhaps a little behind the log; `None` when there is none (yet).
    async fn entity(&self, id: EntityId) -> Result<Option<EntityRow>, ModelError>;

    /// Entities by creation order, a page at a time, stable under inserts.
    async fn entities(
        &self,
        filter: &EntityFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<EntityRow>, ModelError>;

    /// One operation; `None` when there is none (yet).
    async fn operation(&self, id: OperationId) -> Result<Option<OperationRow>, ModelError>;

    /// Operations by age, newest first, a page at a time.
    async fn operations(
        &self,
        filter: &OperationFilter,
        size: usize,
        token: Option<&str>,
    ) -> Result<Page<OperationRow>, ModelError>;

    /// Counts of all undeleted entities.
    async fn counts(&self) -> Result<Vec<EntityCount>, ModelError>;
}
