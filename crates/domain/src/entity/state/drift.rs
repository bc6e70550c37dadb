//! How the object differs from the desired state: drift, loss, and a second entity that names it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DriftPolicy;
use crate::id::ExternalId;
use crate::kind::OnLost;
use crate::skip_serializing::is_false;
use crate::time::Timestamp;

/// One differing field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// JSON pointer to it.
    pub field: String,
    /// Its desired value.
    pub desired: Value,
    /// Its observed value.
    pub observed: Value,
    /// Whether it differs only by what others added to the object, which is reported and left as it is, whatever the
    /// policy.
    #[serde(default, skip_serializing_if = "is_false")]
    pub addition: bool,
}

/// Known drift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Differing fields; empty when the object is absent.
    pub diff: Vec<Difference>,
    /// Since when.
    pub since: Timestamp,
    /// What the engine does about it.
    pub policy: DriftPolicy,
}

impl Drift {
    /// Whether something of it may be corrected: not all of it was added by others.
    #[must_use]
    pub fn is_correctable(&self) -> bool {
        self.diff.is_empty() || self.diff.iter().any(|difference| !difference.addition)
    }
}

/// An object that was present is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// What the engine does about it.
    pub policy: OnLost,
    /// Since when.
    pub since: Timestamp,
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
