//! What an entity waits for besides time.

use serde::{Deserialize, Serialize};

use crate::entity::target::Target;
use crate::id::{EntityId, ExternalId};
use crate::time::Timestamp;

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
