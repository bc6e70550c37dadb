//! What is being done, what that waits for, and what was found on the way.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DriftPolicy;
use crate::entity::references::Target;
use crate::id::{ActionName, EntityId, ExternalId, Generation, OperationId};
use crate::kind::OnLost;
use crate::time::Timestamp;

/// What an attempt means to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
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

impl Step {
    /// Whether the step changes something in the backend.
    #[must_use]
    pub const fn mutates(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether the step leaves the managed fields alone, so that only what was seen says how they are.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(self, Self::None | Self::Action { .. })
    }
}

/// What a blocked entity waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockedOn {
    /// A person's decision; the question is the failure's message.
    Decision,
    /// Room in the backend.
    Quota,
    /// Another entity.
    Entity(EntityId),
    /// The backend: parked, misconfigured, removed.
    Backend,
    /// The backend accepts the change and does not do it.
    NotConverging,
    /// The kind's schema does not accept the desired state any more.
    Schema,
    /// A secret that is not configured (any more).
    Secret,
    /// An entity that the desired state refers to, which may not be declared yet.
    Reference(Target),
    /// Another entity that refers to this one, which is to be deleted.
    InUse(EntityId),
    /// The backend, to let this be done to this object.
    Refused,
    /// Another entity of this log that has the object which this one names.
    ObjectTaken,
}

impl BlockedOn {
    /// Reason of the condition, in `CamelCase` as in the field.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Decision => "DecisionNeeded",
            Self::Quota => "QuotaExceeded",
            Self::Entity(_) | Self::Reference(_) => "DependencyNotReady",
            Self::InUse(_) => "InUse",
            Self::Refused => "Refused",
            Self::Backend => "BackendUnavailable",
            Self::NotConverging => "NotConverging",
            Self::Schema => "SchemaChanged",
            Self::Secret => "SecretMissing",
            Self::ObjectTaken => "ObjectTaken",
        }
    }
}

/// A person's answer where the engine must not guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// This object is the entity's.
    Adopt(ExternalId),
    /// Make a new one.
    Create,
    /// Stop trying; the entity is erred.
    GiveUp,
}

/// One differing field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// JSON pointer.
    pub field: String,
    /// What it should be.
    pub desired: Value,
    /// What it is.
    pub observed: Value,
}

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

/// An attempt that has begun and not ended. Whoever holds the lease carries it on, or abandons it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunningAttempt {
    /// What it means to do.
    pub step: Step,
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
    #[serde(default)]
    pub unseen_in_doubt: bool,
    /// The desired state that it works towards, once a newer one came; `None` = still the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
}

/// What the entity waits for besides time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// For what.
    pub on: BlockedOn,
    /// In words.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// Looked at again at this time in any case.
    pub check_at: Timestamp,
}

/// Two entities of this log name one object; only one of them manages it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contested {
    /// The object.
    pub external_id: ExternalId,
    /// Whether this entity is the one that manages it.
    pub holds: bool,
    /// Since when.
    pub since: Timestamp,
}

/// Known drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// What differs; empty when the object is gone.
    pub diff: Vec<Difference>,
    /// Since when.
    pub since: Timestamp,
    /// What is done about it.
    pub policy: DriftPolicy,
}

/// An object that was there is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// What is done about it.
    pub policy: OnLost,
    /// Since when.
    pub since: Timestamp,
}
