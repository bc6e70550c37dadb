//! Commands of an entity, and why they may be refused.

use serde_json::Value;

use crate::entity::event::Next;
use crate::entity::replacement::Irreplaceable;
use crate::entity::state::{
    AttemptStep, Decision, DeletionPolicy, Difference, Manifest, Observed, SettingsPatch,
};
use crate::failure::Failure;
use crate::id::{
    ActionName, Attempt, EntityId, ExternalId, Generation, Incarnation, OperationId, Revision,
};
use crate::kind::OnLost;
use crate::time::Timestamp;

/// A request of a user or a report of a process manager, at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The present moment, as the caller's clock has it.
    pub at: Timestamp,
    /// The request or report.
    pub intent: Intent,
}

/// Requests and reports. Those of users name the operation that they open.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Declare the entity.
    Create {
        /// The operation to open.
        operation_id: OperationId,
        /// Id of the new entity.
        entity_id: EntityId,
        /// Version of the kind's schema that `desired` was checked against.
        schema_version: u32,
        /// The declaration, with normalised desired state.
        manifest: Box<Manifest>,
        /// The kind's identity in the desired state; `None` for kinds that name none.
        identity: Option<String>,
    },
    /// Change desired state, settings or both; equal values change nothing.
    Update {
        /// The operation to open.
        operation_id: OperationId,
        /// Refuse unless the entity is at one of these revisions; `None` = at any.
        if_revision: Option<Vec<Revision>>,
        /// Version of the kind's schema that `desired` was checked against.
        schema_version: u32,
        /// New desired state, normalised; `None` = unchanged.
        desired: Option<Value>,
        /// New settings.
        settings: SettingsPatch,
        /// Whether this change may replace the object, whatever the settings say.
        replace: bool,
    },
    /// Delete or release the entity.
    Delete {
        /// The operation to open.
        operation_id: OperationId,
        /// Refuse unless the entity is at one of these revisions; `None` = at any.
        if_revision: Option<Vec<Revision>>,
        /// Overrides the policy of the settings; `None` = as they say.
        policy: Option<DeletionPolicy>,
        /// Whether an object may exist though no creation was intended: the log lost events. Then absence has to be proved.
        may_exist: bool,
    },
    /// Run an action of the kind.
    Act {
        /// The operation to open.
        operation_id: OperationId,
        /// The action.
        action: ActionName,
        /// Its input.
        input: Value,
    },
    /// Observe now.
    Refresh {
        /// The operation to open.
        operation_id: OperationId,
    },
    /// Try again now, with a fresh budget.
    Retry {
        /// The operation to open.
        operation_id: OperationId,
    },
    /// Cancel an operation.
    Cancel {
        /// The operation.
        operation_id: OperationId,
    },
    /// Adopt an existing object.
    Adopt {
        /// The operation to open.
        operation_id: OperationId,
        /// The object.
        external_id: ExternalId,
    },
    /// Decide an open question.
    Decide {
        /// The operation to open if none is open.
        operation_id: OperationId,
        /// The decision.
        decision: Decision,
    },
    /// Pause changes.
    Pause,
    /// Resume changes.
    Resume,

    /// Record the intent of an attempt before it changes anything.
    Start {
        /// The abandoned attempt that still counts as running; its lease is over. `None` = none runs.
        takes_over: Option<Attempt>,
        /// The generation that the step was planned for.
        generation: Generation,
        /// The step to run.
        step: AttemptStep,
        /// Whether the object was present in the observation that the step was planned from.
        was_present: bool,
        /// The object that a search found, if its id is not recorded yet.
        found: Option<ExternalId>,
        /// Open operations that it serves.
        operations: Vec<OperationId>,
    },
    /// Record the external id that the backend gave the object.
    RecordExternalId {
        /// The attempt that reports it.
        attempt: Attempt,
        /// The incarnation that the object belongs to.
        incarnation: Incarnation,
        /// The external id.
        external_id: ExternalId,
    },
    /// Record that the backend is still working on the attempt's call.
    Progress {
        /// The attempt that reports it.
        attempt: Attempt,
        /// What `resume` needs.
        handle: Value,
        /// When to poll.
        poll_at: Timestamp,
    },
    /// An attempt succeeded, or an observation found nothing to do.
    Complete(Completion),
    /// An attempt failed.
    Fail(FailureReport),
    /// A background observation.
    Observe(ObservationReport),
    /// Another entity of this log names the same object.
    Contest {
        /// Whether this entity manages the object; `None` = it does, and no other entity names it any more.
        holds: Option<bool>,
    },
}

/// The end of a successful attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The running attempt; `None` = none was begun, because nothing had to be changed.
    pub attempt: Option<Attempt>,
    /// The abandoned attempt, if one is running and none was begun since.
    pub takes_over: Option<Attempt>,
    /// The generation that it was planned for.
    pub generation: Generation,
    /// The step that was run.
    pub step: AttemptStep,
    /// The observation afterwards.
    pub observed: Observed,
    /// Remaining differences (only where policy says to leave them).
    pub diff: Vec<Difference>,
    /// Operations that it served.
    pub operations: Vec<OperationId>,
}

/// The end of a failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureReport {
    /// The running attempt; `None` = it failed before one was begun.
    pub attempt: Option<Attempt>,
    /// The abandoned attempt, if one is running and none was begun since.
    pub takes_over: Option<Attempt>,
    /// What went wrong.
    pub error: Failure,
    /// What follows.
    pub next: Next,
    /// What still differed after an accepted change.
    pub remaining: Vec<String>,
    /// The action that ends with it, if the attempt ran an action.
    pub action: Option<OperationId>,
}

/// Result of a background observation.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservationReport {
    /// The generation when the observation began.
    pub generation: Generation,
    /// The newest attempt when the observation began.
    pub attempt: Attempt,
    /// The observation.
    pub observed: Observed,
    /// How it differs from the desired state. A change that is still to be made is no difference.
    pub diff: Vec<Difference>,
    /// Whether it was compared with the newest desired state and nothing is to be changed.
    pub in_sync: bool,
    /// Policy for an absent object.
    pub on_lost: OnLost,
}

/// Why a command is refused. Nothing is recorded then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The entity was never declared.
    #[error("the entity does not exist")]
    Nonexistent,
    /// The entity exists already.
    #[error("the entity exists already")]
    Exists,
    /// The entity is deleted or released.
    #[error("the entity is deleted")]
    Deleted,
    /// A deletion is pending: no other change is accepted.
    #[error("the entity is being deleted")]
    DeletionPending,
    /// The caller's revision is stale.
    #[error("the entity is at revision {actual}")]
    RevisionMismatch {
        /// The current revision.
        actual: Revision,
    },
    /// It is protected from deletion.
    #[error("the entity is protected from deletion")]
    Protected,
    /// Its management policy is `observe_only`.
    #[error("the entity is observe_only: nothing may change its object")]
    ObserveOnly,
    /// [`Entity::MAX_OPEN`](crate::entity::Entity::MAX_OPEN) operations are open.
    #[error("too many operations wait for this entity")]
    TooManyOperations,
    /// No open operation has this id.
    #[error("no open operation has this id")]
    NoSuchOperation,
    /// No decision is pending.
    #[error("no decision is needed")]
    NothingToDecide,
    /// It has an object.
    #[error("the entity has an object already")]
    HasObject,
    /// It is neither erred, waiting nor blocked.
    #[error("there is nothing to retry")]
    NothingToRetry,
    /// Another attempt took over; the report came too late.
    #[error("the attempt is not the running one")]
    StaleAttempt,
    /// The entity changed since the observation began.
    #[error("the entity changed since the look began")]
    StaleObservation,
    /// Changes are paused.
    #[error("the entity is paused")]
    Paused,
    /// The entity is erred.
    #[error("the entity is erred")]
    Erred,
    /// Too many consecutive attempts were abandoned.
    #[error("{} attempts in a row were abandoned", crate::entity::Entity::MAX_ABANDONED)]
    TooManyAbandoned,
    /// Its object must not be replaced.
    #[error("it cannot change in place, and {0}")]
    Irreplaceable(Irreplaceable),
    /// It may only adopt an object.
    #[error("the entity adopts an object, it never creates one")]
    AdoptOnly,
    /// The step does not fit the recorded state: a bug of the engine.
    #[error("the step does not fit the entity: {0}")]
    Unfit(&'static str),
}
