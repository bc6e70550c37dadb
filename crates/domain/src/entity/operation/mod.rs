//! Operations. `change`: what an event changes of them; `rows`: their rows.

mod change;
mod rows;

use serde::{Deserialize, Serialize};

pub use change::{OperationChange, changes};
pub use rows::{OperationStep, evolve, just_opened};

use crate::envelope::Actor;
use crate::failure::Failure;
use crate::id::{EntityId, Generation, Namespace, OperationId};
use crate::time::Timestamp;

/// State of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// Accepted, not started.
    Pending,
    /// An attempt serves it.
    Running,
    /// Done.
    Succeeded,
    /// Failed for good.
    Failed,
    /// Superseded by another one.
    Superseded,
    /// Cancelled.
    Cancelled,
}

impl OperationState {
    /// Whether the state is final.
    #[must_use]
    pub const fn is_done(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// An operation as the read model has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationRow {
    /// Its id.
    pub id: OperationId,
    /// Its entity.
    pub entity_id: EntityId,
    /// Scope of the entity.
    pub namespace: Namespace,
    /// `create`, `update`, `delete`, `action:reboot`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its state.
    pub state: OperationState,
    /// The final failure, or that of the last attempt.
    pub error: Option<Failure>,
    /// Number of attempts so far.
    pub attempts: u64,
    /// The generation that it requests.
    pub generation: Generation,
    /// The requester.
    pub actor: Actor,
    /// Reason given by the requester.
    pub reason: Option<String>,
    /// The superseding operation; `None` = not superseded.
    pub superseded_by: Option<OperationId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended; `None` = it is open.
    pub finished_at: Option<Timestamp>,
}
