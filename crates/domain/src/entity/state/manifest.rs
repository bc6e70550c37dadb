//! What users declare: names, desired state and settings.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entity::reference_target::Target;
use crate::id::{BackendName, EntityName, ExternalId, KindName, Namespace};

/// What happens to the object when the entity is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeletionPolicy {
    /// It is deleted too.
    #[default]
    Delete,
    /// It stays, unmanaged.
    Orphan,
}

/// What happens when the object drifts from the desired state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftPolicy {
    /// Correct it.
    #[default]
    Correct,
    /// Only report it.
    Report,
    /// Nothing.
    Ignore,
}

impl DriftPolicy {
    /// Whether it is what kinds usually have.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        matches!(self, Self::Correct)
    }
}

/// Whether the object may be changed at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagementPolicy {
    /// Yes.
    #[default]
    Full,
    /// No: only observe.
    ObserveOnly,
}

/// What happens when a field that cannot change in place is to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplacePolicy {
    /// The change fails, unless it allows a replacement itself.
    #[default]
    Never,
    /// The object is replaced.
    Allowed,
}

impl ReplacePolicy {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde's skip_serializing_if hands out a reference"
    )]
    const fn is_default(&self) -> bool {
        matches!(self, Self::Never)
    }
}

/// What users set beside the desired state: labels, policies, protection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// For selectors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When the entity is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// On drift.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// On changes.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
    /// When a change cannot be made in place.
    #[serde(default, skip_serializing_if = "ReplacePolicy::is_default")]
    pub replace: ReplacePolicy,
    /// JSON pointers that drift detection and plans ignore.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_fields: Vec<String>,
    /// Refuses deletion, and so replacement.
    #[serde(default)]
    pub protected: bool,
    /// Entities of the same namespace that are created before, and deleted after this one, though no value of them is
    /// used.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub depends_on: BTreeSet<Target>,
}

/// New values for some settings; an absent member stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the members of Settings")]
pub struct SettingsPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub management_policy: Option<ManagementPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace: Option<ReplacePolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_fields: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depends_on: Option<BTreeSet<Target>>,
}

impl Settings {
    /// These settings with the members of `patch`.
    #[must_use]
    pub fn patched(&self, patch: &SettingsPatch) -> Self {
        Self {
            labels: patch.labels.clone().unwrap_or_else(|| self.labels.clone()),
            deletion_policy: patch.deletion_policy.unwrap_or(self.deletion_policy),
            drift_policy: patch.drift_policy.unwrap_or(self.drift_policy),
            management_policy: patch.management_policy.unwrap_or(self.management_policy),
            replace: patch.replace.unwrap_or(self.replace),
            ignore_fields: patch
                .ignore_fields
                .clone()
                .unwrap_or_else(|| self.ignore_fields.clone()),
            protected: patch.protected.unwrap_or(self.protected),
            depends_on: patch.depends_on.clone().unwrap_or_else(|| self.depends_on.clone()),
        }
    }
}

/// A user's declaration of an entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Scope; cannot change.
    pub namespace: Namespace,
    /// Kind; cannot change.
    pub kind: KindName,
    /// Name; cannot change.
    pub name: EntityName,
    /// Backend; cannot change.
    pub backend: BackendName,
    /// Normalised desired state.
    pub desired: Value,
    /// All settings.
    #[serde(flatten)]
    pub settings: Settings,
    /// The existing object to adopt; then no object is ever created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
}

impl Manifest {
    /// The name by which dependents in its namespace refer to it.
    #[must_use]
    pub fn target(&self) -> Target {
        Target { kind: self.kind.clone(), name: self.name.clone() }
    }
}
