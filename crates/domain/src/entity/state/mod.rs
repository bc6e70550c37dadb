//! The parts of an entity: its state and its observation. `manifest`: what users declare; `attempt`, `operation`: its
//! work; `blocked`: what the work waits for; `drift`: how the object differs.

mod attempt;
mod blocked;
mod drift;
mod manifest;
mod operation;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use attempt::{AttemptStep, RunningAttempt};
pub use blocked::{Blocked, BlockedOn, Decision};
pub use drift::{Contested, Difference, Drift, Lost};
pub use manifest::{
    DeletionPolicy, DriftPolicy, ManagementPolicy, Manifest, ReplacePolicy, Settings, SettingsPatch,
};
pub use operation::{OpenOperation, OperationKind};

use crate::id::{ExternalId, Generation};
use crate::time::Timestamp;

/// State of an entity.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No event yet; users never see it.
    #[default]
    Nonexistent,
    /// Declared, not started.
    CreationScheduled,
    /// An attempt is creating the object.
    Creating,
    /// As desired at the last observation.
    Ok,
    /// A change or correction is pending.
    UpdateScheduled,
    /// An attempt is changing the object.
    Updating,
    /// A deletion is pending.
    DeletionScheduled,
    /// An attempt is deleting the object.
    Deleting,
    /// Deleted or released; final.
    Deleted,
    /// No further attempts until a user acts.
    Erred,
}

impl State {
    /// All states that users see.
    pub const ALL: [Self; 9] = [
        Self::CreationScheduled,
        Self::Creating,
        Self::Ok,
        Self::UpdateScheduled,
        Self::Updating,
        Self::DeletionScheduled,
        Self::Deleting,
        Self::Deleted,
        Self::Erred,
    ];

    /// Stable name, as in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nonexistent => "nonexistent",
            Self::CreationScheduled => "creation_scheduled",
            Self::Creating => "creating",
            Self::Ok => "ok",
            Self::UpdateScheduled => "update_scheduled",
            Self::Updating => "updating",
            Self::DeletionScheduled => "deletion_scheduled",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
            Self::Erred => "erred",
        }
    }
}

/// Whether the object exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Its absence is proved.
    #[default]
    Absent,
    /// An attempt may have changed it, with unknown result.
    Unknown,
    /// It was present at the last observation.
    Present,
}

/// The last observation of the object. Only observations change it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Whether it is there.
    pub presence: Presence,
    /// Its external id; kept while `Unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
    /// Its attributes when last observed; `None` when it never was, or is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Value>,
    /// The newest generation that it matched; 0 = none.
    #[serde(default)]
    pub generation: Generation,
    /// Reference values of that generation, by pointer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, Value>,
    /// Why the object cannot be used though it is there; `None` = it can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready: Option<String>,
    /// When it was observed; `None` = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
}
