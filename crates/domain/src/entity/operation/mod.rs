//! Operations: `change`, what an event means for them; `rows`, how their rows follow.

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
    /// Accepted, not begun.
    Pending,
    /// An attempt serves it.
    Running,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Another one took its place.
    Superseded,
    /// Taken back.
    Cancelled,
}

impl OperationState {
    /// Whether it will not change any more.
    #[must_use]
    pub const fn is_done(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}

/// An operation as the read model holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationRow {
    /// Its id.
    pub id: OperationId,
    /// Whose.
    pub entity_id: EntityId,
    /// Scope of the entity.
    pub namespace: Namespace,
    /// `create`, `update`, `delete`, `action:reboot`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it stands.
    pub state: OperationState,
    /// Why it failed, or what the last try met.
    pub error: Option<Failure>,
    /// Tries so far.
    pub attempts: u64,
    /// The generation that it asks for.
    pub generation: Generation,
    /// Who asked.
    pub actor: Actor,
    /// Why.
    pub reason: Option<String>,
    /// Set when superseded.
    pub superseded_by: Option<OperationId>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}
