//! The events of an entity. Stored names never change.

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
    /// Another attempt.
    Retry {
        /// Earliest time.
        at: Timestamp,
    },
    /// It waits for something outside; checked again at `check_at` in any case.
    Blocked {
        /// What it waits for.
        on: BlockedOn,
        /// Time of the slow retry.
        check_at: Timestamp,
    },
    /// No further attempts until a user acts.
    Erred,
}

/// One fact about one entity. The serde form is the stored payload.
///
/// Not `non_exhaustive`: a new variant has to fail to compile at every consumer.
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
        /// Whether the object may be replaced.
        #[serde(default, skip_serializing_if = "crate::skip_serializing::is_false")]
        replace: bool,
    },
    /// A user requested its deletion.
    DeleteRequested { at: Timestamp, operation_id: OperationId, policy: DeletionPolicy },
    /// A user requested an action of the kind.
    ActionRequested { at: Timestamp, operation_id: OperationId, action: ActionName, input: Value },
    /// A user requested an observation.
    RefreshRequested { at: Timestamp, operation_id: OperationId },
    /// A user requested another attempt now, with a fresh budget.
    RetryRequested { at: Timestamp, operation_id: OperationId },
    /// A user requested to cancel an operation.
    CancelRequested { at: Timestamp, operation_id: OperationId },
    /// A user named the object that this entity adopts.
    AdoptRequested { at: Timestamp, operation_id: OperationId, external_id: ExternalId },
    /// A user decided an open question. `failed` lists the operations that end as failed.
    DecisionTaken {
        at: Timestamp,
        operation_id: OperationId,
        decision: Decision,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        failed: Vec<OperationId>,
    },
    /// A user changed settings beside the desired state.
    SettingsChanged { at: Timestamp, settings: SettingsPatch },
    /// Changes are paused until `Resumed`.
    Paused { at: Timestamp },
    /// Changes are resumed.
    Resumed { at: Timestamp },
    /// A request with an idempotency key was accepted and had no effect: only its claim, which is in the envelope, is
    /// kept. Changes nothing of the entity but its version.
    RequestRecorded { at: Timestamp },

    /// The intent of an attempt, recorded before anything is changed.
    SyncStarted {
        at: Timestamp,
        attempt: Attempt,
        /// The attempt that this one abandons: its worker is gone or too late.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        takes_over: Option<Attempt>,
        generation: Generation,
        incarnation: Incarnation,
        step: AttemptStep,
        /// Whether the object was present right before; restored if the call had no effect.
        was_present: bool,
        operations: Vec<OperationId>,
    },
    /// The object's external id became known.
    ExternalIdRecorded {
        at: Timestamp,
        attempt: Attempt,
        incarnation: Incarnation,
        external_id: ExternalId,
    },
    /// The backend is still working on the call.
    SyncProgressed { at: Timestamp, attempt: Attempt, handle: Value, poll_at: Timestamp },
    /// The attempt succeeded. `operations` end as succeeded.
    SyncCompleted {
        at: Timestamp,
        attempt: Attempt,
        generation: Generation,
        step: AttemptStep,
        observed: Observed,
        operations: Vec<OperationId>,
    },
    /// The attempt failed. `operations` end as failed.
    SyncFailed {
        at: Timestamp,
        attempt: Attempt,
        generation: Generation,
        error: Failure,
        next: Next,
        /// Fields that still differed after a change that the backend accepted.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        remaining: Vec<String>,
        operations: Vec<OperationId>,
    },
    /// A stale worker created or found an object that is not this entity's: it has to be cleaned up.
    StrayFound { at: Timestamp, attempt: Attempt, external_id: ExternalId },

    /// Another entity of this log names the same object; `holds` = this entity manages it. The one that does not
    /// discards its observation of the object.
    ObjectContested { at: Timestamp, external_id: ExternalId, holds: bool },
    /// No other entity names the object any more.
    ContestEnded { at: Timestamp },

    /// The object differs from the desired state though no attempt is to change that: the last sync succeeded, or
    /// attempts have ended.
    DriftDetected { at: Timestamp, policy: DriftPolicy, diff: Vec<Difference>, observed: Observed },
    /// The object is as desired again without a change of ours.
    DriftCleared { at: Timestamp, observed: Observed },
    /// The object changed without a request, or is absent (`lost`).
    ObservedChanged {
        at: Timestamp,
        observed: Observed,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost: Option<OnLost>,
    },
    /// Attempts had ended, and the observation refutes that: the object is as desired, or it changed since its repair
    /// was given up, which is tried again. Operations that failed stay failed.
    ErrorCleared { at: Timestamp, observed: Observed },

    /// Another operation took the place of this one.
    OperationSuperseded { at: Timestamp, operation_id: OperationId, by: OperationId },
    /// The operation was cancelled.
    OperationCancelled { at: Timestamp, operation_id: OperationId },
    /// The object is proved absent and the entity is deleted. `operations` end as succeeded.
    Deleted { at: Timestamp, operations: Vec<OperationId> },
    /// The entity is released; its object still exists, unmanaged. `operations` end as succeeded.
    Released { at: Timestamp, operations: Vec<OperationId> },
}

/// What causes an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A request of a user.
    UserRequest,
    /// An attempt began, progressed or ended.
    Sync,
    /// A background observation.
    Observation,
    /// An operation or the entity ended.
    Termination,
}

/// Per event, from one list: cause, stored name, and the newest schema version that is written.
macro_rules! stored_names {
    ($($variant:ident => $cause:ident, $name:literal, $version:literal;)*) => {
        impl EntityEvent {
            /// Stored name: `entity.<snake>`.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => concat!("entity.", $name),)* }
            }

            /// What causes it.
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

            /// Whether this version can decode the stored type at that schema version.
            #[must_use]
            pub fn known(event_type: &str, schema_version: u32) -> bool {
                match event_type {
                    $(concat!("entity.", $name) => (1..=$version).contains(&schema_version),)*
                    _ => false,
                }
            }

            /// All stored names, for listings and completeness tests.
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
    ErrorCleared => Observation, "error_cleared", 1;
    OperationSuperseded => Termination, "operation_superseded", 1;
    OperationCancelled => Termination, "operation_cancelled", 1;
    Deleted => Termination, "deleted", 1;
    Released => Termination, "released", 1;
}

impl EntityEvent {
    /// Whether an event of this stored type changes nothing of the entity but its version. False for a later schema
    /// version, which is unknown here.
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
