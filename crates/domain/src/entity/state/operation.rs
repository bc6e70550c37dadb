//! Open operations.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ActionName, OperationId};
use crate::time::Timestamp;

/// Kind of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Create the object.
    Create,
    /// Change the object.
    Update,
    /// Delete the object.
    Delete,
    /// Run an action.
    Action(ActionName),
    /// Observe the object.
    Refresh,
    /// Try again.
    Retry,
    /// Adopt an existing object.
    Adopt,
    /// Carry out a decision.
    Decide,
}

impl OperationKind {
    /// Name as users see it: `create`, `action:reboot`.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Create => "create".to_owned(),
            Self::Update => "update".to_owned(),
            Self::Delete => "delete".to_owned(),
            Self::Action(name) => format!("action:{name}"),
            Self::Refresh => "refresh".to_owned(),
            Self::Retry => "retry".to_owned(),
            Self::Adopt => "adopt".to_owned(),
            Self::Decide => "decide".to_owned(),
        }
    }

    /// Whether it requests the desired state, so that a newer request supersedes it.
    #[must_use]
    pub const fn is_change(&self) -> bool {
        matches!(self, Self::Create | Self::Update | Self::Adopt | Self::Decide)
    }
}

/// An operation that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOperation {
    /// Its id.
    pub id: OperationId,
    /// Its kind.
    pub kind: OperationKind,
    /// When it was accepted.
    pub since: Timestamp,
    /// Input of an action, else `Null`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
}
