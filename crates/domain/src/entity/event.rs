//! Everything that can have happened to an entity. Stored names never change.

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::entity::state::{
    AttemptStep, BlockedOn, Decision, DeletionPolicy, Difference, DriftPolicy, Manifest, Observed,
    SettingsPatch,
};
use crate::failure::Failure;
use crate::id::{ActionName, Attempt, EntityId, ExternalId, Generation, Incarnation, OperationId};
use crate::kind::OnLost;
use crate::time::Timestamp;

/// What happens after a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Another try.
    Retry {
        /// Not before.
        at: Timestamp,
    },
    /// Waits for something outside; looked at again at `check_at` in any case.
    Blocked {
        /// For what.
        on: BlockedOn,
        /// Slow retry.
        check_at: Timestamp,
    },
    /// Left alone until a user does something.
    Erred,
}

/// One fact about one entity. The serde form is the stored payload.
///
/// Not `non_exhaustive`: the compiler shall visit every consumer when a variant is added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "fields are explained once, on the aggregate that they change")]
pub enum EntityEvent {
    /// A user declared it.
    CreateRequested {
        at: Timestamp,
        operation_id: OperationId,
        entity_id: EntityId,
        schema_version: u32,
        #[serde(flatten)]
        manifest: Box<Manifest>,
        /// The kind's identity in the desired state.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        identity: Option<String>,
    },
    /// A user changed the desired state.
    UpdateRequested {
        at: Timestamp,
        operation_id: OperationId,
        schema_version: u32,
        desired: Value,
        /// The object may be replaced for it.
        #[serde(default, skip_serializing_if = "crate::serde_util::is_false")]
        replace: bool,
    },
    /// A user wants it gone.
    DeleteRequested { at: Timestamp, operation_id: OperationId, policy: DeletionPolicy },
    /// A user wants one of the kind's verbs done.
    ActionRequested { at: Timestamp, operation_id: OperationId, action: ActionName, input: Value },
    /// A user wants it looked at now.
    RefreshRequested { at: Timestamp, operation_id: OperationId },
    /// A user wants another try now, with a fresh budget.
    RetryRequested { at: Timestamp, operation_id: OperationId },
    /// A user wants an operation taken back.
    CancelRequested { at: Timestamp, operation_id: OperationId },
    /// A user names the object that this entity shall be.
    AdoptRequested { at: Timestamp, operation_id: OperationId, external_id: ExternalId },
    /// A user answered what the engine could not decide. `failed` lists the operations that end with it.
    DecisionTaken {
        at: Timestamp,
        operation_id: OperationId,
        decision: Decision,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<OperationId>,
    },
    /// A user changed something beside the desired state.
    SettingsChanged { at: Timestamp, settings: SettingsPatch },
    /// No new changes until `Resumed`.
    Paused { at: Timestamp },
    /// Changes may go on.
    Resumed { at: Timestamp },
    /// A request under an idempotency key was accepted and had no effect: only its claim, which is in the envelope,
    /// is kept. Changes nothing of the entity but its version.
    RequestRecorded { at: Timestamp },

    /// The intent of an attempt, recorded before anything is changed.
    SyncStarted {
        at: Timestamp,
        attempt: Attempt,
        /// The attempt that is hereby abandoned: its worker is gone or too late.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        takes_over: Option<Attempt>,
        generation: Generation,
        incarnation: Incarnation,
        step: AttemptStep,
        /// Whether the object was there right before: what is true again if the call did nothing.
        was_present: bool,
        operations: Vec<OperationId>,
    },
    /// The backend's name of the object became known.
    ExternalIdRecorded {
        at: Timestamp,
        attempt: Attempt,
        incarnation: Incarnation,
        external_id: ExternalId,
    },
    /// The backend works on it.
    SyncProgressed { at: Timestamp, attempt: Attempt, handle: Value, poll_at: Timestamp },
    /// The attempt did what it meant to. `operations` end as succeeded.
    SyncCompleted {
        at: Timestamp,
        attempt: Attempt,
        generation: Generation,
        step: AttemptStep,
        observed: Observed,
        operations: Vec<OperationId>,
    },
    /// The attempt did not. `operations` end as failed.
    SyncFailed {
        at: Timestamp,
        attempt: Attempt,
        generation: Generation,
        error: Failure,
        next: Next,
        /// What still differed after a change that the backend accepted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remaining: Vec<String>,
        operations: Vec<OperationId>,
    },
    /// A late worker made or found an object that is not this entity's: clean-up work.
    StrayFound { at: Timestamp, attempt: Attempt, external_id: ExternalId },

    /// Another entity of this log names the same object, and `holds` says which of the two manages it. The one that does
    /// not forgets what it saw of the object.
    ObjectContested { at: Timestamp, external_id: ExternalId, holds: bool },
    /// No other entity names the object any more.
    ContestEnded { at: Timestamp },

    /// Observed differs from desired though the last sync succeeded.
    DriftDetected { at: Timestamp, policy: DriftPolicy, diff: Vec<Difference>, observed: Observed },
    /// It is as desired again without our doing.
    DriftCleared { at: Timestamp, observed: Observed },
    /// The object changed where nobody asked for anything, or is gone (`lost`).
    ObservedChanged {
        at: Timestamp,
        observed: Observed,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<OnLost>,
    },

    /// Another operation took its place.
    OperationSuperseded { at: Timestamp, operation_id: OperationId, by: OperationId },
    /// It was taken back.
    OperationCancelled { at: Timestamp, operation_id: OperationId },
    /// The object is proved gone; the entity's life ends. `operations` end as succeeded.
    Deleted { at: Timestamp, operations: Vec<OperationId> },
    /// The entity's life ends, the object lives on unmanaged. `operations` end as succeeded.
    Released { at: Timestamp, operations: Vec<OperationId> },
}

/// What brings an event about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A user asked.
    UserRequest,
    /// An attempt began, went on or ended.
    Sync,
    /// A look found something that nobody asked for.
    Observation,
    /// An operation or a life ended.
    Termination,
}

/// What all events have, from one list: cause, stored name, and the newest schema version written.
macro_rules! stored_names {
    ($($variant:ident => $cause:ident, $name:literal, $version:literal;)*) => {
        impl EntityEvent {
            /// Stored name: `entity.<snake>`.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => concat!("entity.", $name),)* }
            }

            /// What brings it about.
            #[must_use]
            pub const fn cause(&self) -> Cause {
                match self { $(Self::$variant { .. } => Cause::$cause,)* }
            }

            /// When it happened.
            #[must_use]
            pub const fn at(&self) -> Timestamp {
                match self { $(Self::$variant { at, .. } => *at,)* }
            }

            const fn version(&self) -> u32 {
                match self { $(Self::$variant { .. } => $version,)* }
            }

            /// Whether this version can read the stored type at that schema version.
            #[must_use]
            pub fn known(event_type: &str, schema_version: u32) -> bool {
                match event_type {
                    $(concat!("entity.", $name) => (1..=$version).contains(&schema_version),)*
                    _ => false,
                }
            }

            /// Every stored name, for listings and completeness tests.
            pub const NAMES: &'static [&'static str] = &[$(concat!("entity.", $name)),*];
        }
    };
}

stored_names! {
    CreateRequested => UserRequest, "create_requested", 1;
    UpdateRequested => UserRequest, "update_requested", 1;
    DeleteRequested => UserRequest, "delete_requested", 1;
    ActionRequested => UserRequest, "action_requested", 1;
    RefreshRequested => UserRequest, "refresh_requested", 1;
    RetryRequested => UserRequest, "retry_requested", 1;
    CancelRequested => UserRequest, "cancel_requested", 1;
    AdoptRequested => UserRequest, "adopt_requested", 1;
    DecisionTaken => UserRequest, "decision_taken", 1;
    SettingsChanged => UserRequest, "settings_changed", 1;
    Paused => UserRequest, "paused", 1;
    Resumed => UserRequest, "resumed", 1;
    RequestRecorded => UserRequest, "request_recorded", 1;
    SyncStarted => Sync, "sync_started", 1;
    ExternalIdRecorded => Sync, "external_id_recorded", 1;
    SyncProgressed => Sync, "sync_progressed", 1;
    SyncCompleted => Sync, "sync_completed", 1;
    SyncFailed => Sync, "sync_failed", 1;
    StrayFound => Sync, "stray_found", 1;
    ObjectContested => Observation, "object_contested", 1;
    ContestEnded => Observation, "contest_ended", 1;
    DriftDetected => Observation, "drift_detected", 1;
    DriftCleared => Observation, "drift_cleared", 1;
    ObservedChanged => Observation, "observed_changed", 1;
    OperationSuperseded => Termination, "operation_superseded", 1;
    OperationCancelled => Termination, "operation_cancelled", 1;
    Deleted => Termination, "deleted", 1;
    Released => Termination, "released", 1;
}

impl EntityEvent {
    /// Whether an event of this stored type changes nothing of the entity but its version. A later schema version of
    /// it is not taken for one: it is unknown here.
    #[must_use]
    pub fn is_mere_record(event_type: &str, schema_version: u32) -> bool {
        event_type == "entity.request_recorded" && Self::known(event_type, schema_version)
    }
}

impl DomainEvent for EntityEvent {
    fn event_type(&self) -> String {
        self.name().to_owned()
    }

    fn event_version(&self) -> String {
        self.version().to_string()
    }
}
