//! What a blocked entity waits for.

use serde::{Deserialize, Serialize};

use crate::entity::reference_target::Target;
use crate::id::{EntityId, ExternalId};
use crate::time::Timestamp;

/// What a blocked entity waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockedOn {
    /// A person's decision; the question is the failure's message.
    Decision,
    /// Quota in the backend.
    Quota,
    /// Another entity.
    Entity(EntityId),
    /// The backend: parked, misconfigured, removed.
    Backend,
    /// The backend accepts the change without effect.
    NotConverging,
    /// The kind's schema does not accept the desired state any more.
    Schema,
    /// A secret that is not configured (any more).
    Secret,
    /// An entity that the desired state refers to, which may not be declared yet.
    Reference(Target),
    /// Another entity that refers to this one, which is to be deleted.
    InUse(EntityId),
    /// Something outside of this log that uses the object; the failure's message names it.
    InUseOutside,
    /// Something outside of this log that has to be there first.
    MissingOutside,
    /// The backend's permission to do this to this object.
    Refused,
    /// Another entity of this log that has the object which this one names.
    ObjectTaken,
}

impl BlockedOn {
    /// Reason of the condition, in the `CamelCase` of Kubernetes.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Decision => "DecisionNeeded",
            Self::Quota => "QuotaExceeded",
            Self::Entity(_) | Self::Reference(_) | Self::MissingOutside => "DependencyNotReady",
            Self::InUse(_) | Self::InUseOutside => "InUse",
            Self::Refused => "Refused",
            Self::Backend => "BackendUnavailable",
            Self::NotConverging => "NotConverging",
            Self::Schema => "SchemaChanged",
            Self::Secret => "SecretMissing",
            Self::ObjectTaken => "ObjectTaken",
        }
    }
}

/// A block, with its message and times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// What it waits for.
    pub on: BlockedOn,
    /// Message for people.
    pub message: String,
    /// Since when.
    pub since: Timestamp,
    /// Time of the next check in any case.
    pub check_at: Timestamp,
}

/// A person's decision where the engine must not guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Adopt this object.
    Adopt(ExternalId),
    /// Create a new object.
    Create,
    /// Stop trying; the entity is erred.
    GiveUp,
}

impl Decision {
    /// Code of the failure that [`GiveUp`](Self::GiveUp) records.
    pub(crate) const GIVEN_UP: &str = "given_up";
}
