//! Attempts: the step of one, and the running one.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ExternalId, Generation, OperationId};
use crate::time::Timestamp;

/// The step of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStep {
    /// Only observe: nothing has to be changed.
    None,
    /// Create the object.
    Create,
    /// Change these fields (JSON pointers).
    Update {
        /// What differs.
        fields: Vec<String>,
    },
    /// First half of a replacement: delete the object so that a new one can be made.
    Replace {
        /// What differs and cannot be changed in place.
        fields: Vec<String>,
    },
    /// Delete the object for good.
    Delete,
    /// Run an action of the kind.
    Action {
        /// Its operation.
        operation_id: OperationId,
    },
    /// Delete an object that a stale worker left behind.
    CleanUp {
        /// The object.
        external_id: ExternalId,
    },
}

impl AttemptStep {
    /// Whether the step changes something in the backend.
    #[must_use]
    pub const fn mutates(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether the step leaves the managed fields alone, so that only an observation tells their values.
    #[must_use]
    pub const fn only_observes(&self) -> bool {
        matches!(self, Self::None | Self::Action { .. })
    }
}

/// The running attempt. The holder of the lease continues or abandons it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningAttempt {
    /// Its step.
    pub step: AttemptStep,
    /// The generation that it works towards.
    pub generation: Generation,
    /// When it began.
    pub since: Timestamp,
    /// Whether the object was present right before.
    pub was_present: bool,
    /// Operations that it serves.
    pub operations: Vec<OperationId>,
    /// Set while the backend works on the call: the handle for `resume`, and when to poll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<(Value, Timestamp)>,
    /// The operation that a user cancelled; `None` = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<OperationId>,
    /// [`Entity::write_only_dirty`](crate::entity::Entity::write_only_dirty) before the attempt; restored if the call
    /// had no effect.
    #[serde(rename = "unseen_in_doubt", default)]
    pub write_only_dirty: bool,
    /// Its desired state once a newer one was requested; `None` = it is still the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
}
