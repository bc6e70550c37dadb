//! The values of an entity: its state and what was observed. `manifest`: what users declare; `attempt`, `operation`: the
//! work on it; `blocked`: what that waits for; `drift`: how the object differs.

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

/// Where an entity stands on its way.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No event yet; users never see it.
    #[default]
    Nonexistent,
    /// Declared, not begun.
    CreationScheduled,
    /// An attempt makes it.
    Creating,
    /// As desired when last looked at.
    Ok,
    /// A change or correction is wanted.
    UpdateScheduled,
    /// An attempt changes it.
    Updating,
    /// Its end is wanted.
    DeletionScheduled,
    /// An attempt deletes it.
    Deleting,
    /// Its life is over (deleted or released).
    Deleted,
    /// Given up until a user does something.
    Erred,
}

impl State {
    /// Every state that users see.
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

/// Whether the object is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Proved not to be.
    #[default]
    Absent,
    /// We may have changed something and lost track.
    Unknown,
    /// It was, when last looked at.
    Present,
}

/// What is known of the object. Only observations change it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Whether it is there.
    pub presence: Presence,
    /// Its name in the backend; kept while `Unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
    /// How it was when last seen; `None` when it never was or is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Value>,
    /// The newest generation that it was found to match; 0 = none.
    #[serde(default)]
    pub generation: Generation,
    /// What the references of that generation stood for then, by pointer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, Value>,
    /// When; `None` = never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Timestamp>,
}
