//! Attempts: what one is to do, and the one that runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ExternalId, Generation, OperationId};
use crate::time::Timestamp;

/// What an attempt means to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptStep {
    /// Only look: nothing has to be changed.
    None,
    /// Make the object.
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
    /// Do a verb of the kind.
    Action {
        /// For which operation.
        operation_id: OperationId,
    },
    /// Delete an object that a late worker left behind.
    CleanUp {
        /// Which.
        external_id: ExternalId,
    },
}

impl AttemptStep {
    /// Whether the step changes something in the backend.
    #[must_use]
    pub const fn mutates(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether the step leaves the managed fields alone, so that only what was seen says how they are.
    #[must_use]
    pub const fn only_observes(&self) -> bool {
        matches!(self, Self::None | Self::Action { .. })
    }
}

/// An attempt that has begun and not ended. Whoever holds the lease carries it on, or abandons it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningAttempt {
    /// What it means to do.
    pub step: AttemptStep,
    /// For which desired state.
    pub generation: Generation,
    /// When it began.
    pub since: Timestamp,
    /// Whether the object was there right before.
    pub was_present: bool,
    /// What it serves.
    pub operations: Vec<OperationId>,
    /// Set while the backend works on it: what `resume` needs and when to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<(Value, Timestamp)>,
    /// A user asked to take this operation back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel: Option<OperationId>,
    /// Whether write-only values were in doubt before it, which is true again if the call did nothing.
    #[serde(rename = "unseen_in_doubt", default)]
    pub write_only_dirty: bool,
    /// The desired state that it works towards, once a newer one came; `None` = still the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
}
