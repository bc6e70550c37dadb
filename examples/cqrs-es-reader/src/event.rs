//! The events of an entity, as far as this reader needs them. The serde form is the stored payload: one member, the
//! event's name. Members that are not named here are passed over.

use std::collections::BTreeMap;

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Ids are texts here: a reader compares them and makes none.
pub type Id = String;

/// One event. Types without a variant of their own change nothing that [`Entity`](crate::entity::Entity) shows, but count
/// as its versions do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "docs/data-model.md of Stateward explains every event")]
pub enum Event {
    CreateRequested {
        operation_id: Id,
        namespace: String,
        kind: String,
        name: String,
        backend: String,
        desired: Value,
        #[serde(flatten)]
        settings: Settings,
        #[serde(default)]
        external_id: Option<Id>,
    },
    UpdateRequested {
        operation_id: Id,
        desired: Value,
    },
    DeleteRequested {
        operation_id: Id,
        policy: Value,
    },
    ActionRequested {
        operation_id: Id,
        action: String,
    },
    RefreshRequested {
        operation_id: Id,
    },
    RetryRequested {
        operation_id: Id,
    },
    CancelRequested {},
    AdoptRequested {
        operation_id: Id,
        external_id: Id,
    },
    DecisionTaken {
        operation_id: Id,
        decision: Decision,
        #[serde(default)]
        failed: Vec<Id>,
    },
    SettingsChanged {
        settings: Settings,
    },
    Paused {},
    Resumed {},
    RequestRecorded {},
    SyncStarted {
        incarnation: u32,
        step: Step,
        was_present: bool,
    },
    ExternalIdRecorded {
        external_id: Id,
    },
    SyncProgressed {},
    SyncCompleted {
        generation: u64,
        step: Step,
        observed: Observed,
        operations: Vec<Id>,
    },
    /// In this reader's own form, version 2: an upcaster makes it from the stored one.
    SyncFailed {
        error: Failure,
        operations: Vec<Id>,
    },
    StrayFound {
        external_id: Id,
    },
    ObjectContested {
        external_id: Id,
        holds: bool,
    },
    ContestEnded {},
    DriftDetected {
        observed: Observed,
        diff: Vec<Difference>,
    },
    DriftCleared {
        observed: Observed,
    },
    ObservedChanged {
        observed: Observed,
        #[serde(default)]
        lost: Option<Value>,
    },
    ErrorCleared {
        observed: Observed,
    },
    OperationSuperseded {
        operation_id: Id,
    },
    OperationCancelled {
        operation_id: Id,
    },
    Deleted {
        operations: Vec<Id>,
    },
    Released {
        operations: Vec<Id>,
    },
    /// No stored event: an event that this reader does not know, as [`upcasters`](crate::upcasters) mark it.
    Unknown {
        event_type: String,
        event_version: String,
    },
}

/// What users set beside the desired state; an absent member of a change stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "docs/concepts.md of Stateward explains them")]
pub struct Settings {
    pub labels: Option<BTreeMap<String, String>>,
    pub management_policy: Option<String>,
    pub deletion_policy: Option<Value>,
    pub replace: Option<String>,
    pub protected: Option<bool>,
}

/// A person's decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Adopt this object.
    Adopt(Id),
    /// Create a new one.
    Create,
    /// End the retries.
    GiveUp,
}

/// The step of an attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Only observe.
    None,
    /// Create the object.
    Create,
    /// Change fields.
    Update {},
    /// Delete the object, so that a new one can be made.
    Replace {},
    /// Delete the object for good.
    Delete,
    /// Run an action.
    Action {},
    /// Delete an object that a stale worker left behind.
    CleanUp {
        /// The object.
        external_id: Id,
    },
}

/// An observation of the object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// `present`, `absent`, `unknown`.
    pub presence: Presence,
    /// Its id in the backend.
    #[serde(default)]
    pub external_id: Option<Id>,
    /// Its attributes.
    #[serde(default)]
    pub attributes: Option<Value>,
    /// The newest generation that it matched.
    #[serde(default)]
    pub generation: u64,
}

/// One differing field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Whether it differs only by what others added to the object.
    #[serde(default)]
    pub addition: bool,
}

/// Whether the object exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Its absence is proved.
    #[default]
    Absent,
    /// An attempt may have changed it.
    Unknown,
    /// It was there.
    Present,
}

/// A failed call, in this reader's own form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Class, such as `transient`.
    pub class: String,
    /// Stable code.
    pub code: String,
    /// Whether the call changed nothing.
    pub harmless: bool,
    /// Whether no further attempt is made until a user acts.
    pub last: bool,
}

/// The stored types that this reader knows, all at version 1.
pub const KNOWN: [&str; 29] = [
    "entity.create_requested",
    "entity.update_requested",
    "entity.delete_requested",
    "entity.action_requested",
    "entity.refresh_requested",
    "entity.retry_requested",
    "entity.cancel_requested",
    "entity.adopt_requested",
    "entity.decision_taken",
    "entity.settings_changed",
    "entity.paused",
    "entity.resumed",
    "entity.request_recorded",
    "entity.sync_started",
    "entity.external_id_recorded",
    "entity.sync_progressed",
    "entity.sync_completed",
    "entity.sync_failed",
    "entity.stray_found",
    "entity.object_contested",
    "entity.contest_ended",
    "entity.drift_detected",
    "entity.drift_cleared",
    "entity.observed_changed",
    "entity.error_cleared",
    "entity.operation_superseded",
    "entity.operation_cancelled",
    "entity.deleted",
    "entity.released",
];

impl DomainEvent for Event {
    /// The stored name: `entity.` and the member of the payload.
    fn event_type(&self) -> String {
        let payload = serde_json::to_value(self).unwrap_or_default();
        let name = payload.as_object().and_then(|object| object.keys().next().cloned());
        format!("entity.{}", name.unwrap_or_default())
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}
