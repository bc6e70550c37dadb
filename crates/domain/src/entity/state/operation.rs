//! Operations that have not ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ActionName, OperationId};
use crate::time::Timestamp;

/// What an operation asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// That it exist.
    Create,
    /// That it be otherwise.
    Update,
    /// That it be gone.
    Delete,
    /// That a verb be done.
    Action(ActionName),
    /// That it be looked at.
    Refresh,
    /// That it be tried again.
    Retry,
    /// That an existing object be taken.
    Adopt,
    /// That a decision be carried out.
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

    /// Whether it asks for the desired state to be reached, so that a newer such wish takes its place.
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
    /// What it asks for.
    pub kind: OperationKind,
    /// When it was accepted.
    pub since: Timestamp,
    /// Input of an action, else `Null`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
}
