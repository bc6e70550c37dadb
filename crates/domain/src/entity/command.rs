//! What may be asked of an entity, and why it may be refused.

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

/// A wish of a user or a report of a process manager, at a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The present moment, as the caller's clock has it.
    pub at: Timestamp,
    /// What is asked.
    pub intent: Intent,
}

/// What is asked. Users' intents name the operation that they open.
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
        /// The declaration, normalised.
        manifest: Box<Manifest>,
        /// The kind's identity in it.
        identity: Option<String>,
    },
    /// Change desired state, settings or both; what is equal already changes nothing.
    Update {
        /// The operation to open.
        operation_id: OperationId,
        /// Refuse unless the entity stands at one of these revisions; `None` = at any.
        if_revision: Option<Vec<Revision>>,
        /// Version of the kind's schema that `desired` was checked against.
        schema_version: u32,
        /// New desired state, normalised; `None` leaves it.
        desired: Option<Value>,
        /// New settings.
        settings: SettingsPatch,
        /// Whether the object may be replaced for it, whatever the settings say.
        replace: bool,
    },
    /// End its life.
    Delete {
        /// The operation to open.
        operation_id: OperationId,
        /// Refuse unless the entity stands at one of these revisions; `None` = at any.
        if_revision: Option<Vec<Revision>>,
        /// `None` = as its settings say.
        policy: Option<DeletionPolicy>,
    },
    /// Do a verb of the kind.
    Act {
        /// The operation to open.
        operation_id: OperationId,
        /// The verb.
        action: ActionName,
        /// Its input.
        input: Value,
    },
    /// Look now.
    Refresh {
        /// The operation to open.
        operation_id: OperationId,
    },
    /// Try again now, with a fresh budget.
    Retry {
        /// The operation to open.
        operation_id: OperationId,
    },
    /// Take an operation back.
    Cancel {
        /// Which.
        operation_id: OperationId,
    },
    /// Take an existing object.
    Adopt {
        /// The operation to open.
        operation_id: OperationId,
        /// The object.
        external_id: ExternalId,
    },
    /// Answer an open question.
    Decide {
        /// The operation to open if none is open.
        operation_id: OperationId,
        /// The answer.
        decision: Decision,
    },
    /// Stop changes.
    Pause,
    /// Let changes go on.
    Resume,

    /// Record an intent before a change.
    Start {
        /// The abandoned attempt, if one is running: its lease is over.
        takes_over: Option<Attempt>,
        /// The generation that the step was planned for.
        generation: Generation,
        /// What will be done.
        step: AttemptStep,
        /// Whether the object was there when it was planned.
        was_present: bool,
        /// The object that was found, if its id is not known yet.
        found: Option<ExternalId>,
        /// Open operations that it serves.
        operations: Vec<OperationId>,
    },
    /// The backend named the object.
    RecordExternalId {
        /// By which attempt.
        attempt: Attempt,
        /// For which incarnation.
        incarnation: Incarnation,
        /// Its name.
        external_id: ExternalId,
    },
    /// The backend works on it.
    Progress {
        /// By which attempt.
        attempt: Attempt,
        /// What `resume` needs.
        handle: Value,
        /// When to ask.
        poll_at: Timestamp,
    },
    /// An attempt did what it meant to, or a look found nothing to do.
    Complete(Completion),
    /// An attempt did not.
    Fail(FailureReport),
    /// A look at an entity that nobody asked for.
    Observe(ObservationReport),
    /// Another entity of this log names the object that this one names.
    Contest {
        /// Whether this one manages it; `None` = it does, and no other entity names it any more.
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
    /// What was done.
    pub step: AttemptStep,
    /// What was seen afterwards.
    pub observed: Observed,
    /// What still differs (only where policy says to leave it).
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
    /// What happens next.
    pub next: Next,
    /// What still differed after an accepted change.
    pub remaining: Vec<String>,
    /// The action that ends with it, when it was an action's attempt.
    pub action: Option<OperationId>,
}

/// What a background look saw.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservationReport {
    /// The generation when the look began.
    pub generation: Generation,
    /// The newest attempt when the look began.
    pub attempt: Attempt,
    /// What was seen.
    pub observed: Observed,
    /// How it differs from the desired state.
    pub diff: Vec<Difference>,
    /// What to do when it is gone.
    pub on_lost: OnLost,
}

/// Why a command is refused. Nothing is recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such entity.
    #[error("the entity does not exist")]
    Nonexistent,
    /// It exists already.
    #[error("the entity exists already")]
    Exists,
    /// Its life is over.
    #[error("the entity is deleted")]
    Deleted,
    /// Its end is wanted: nothing else can be asked.
    #[error("the entity is being deleted")]
    DeletionPending,
    /// The caller saw another revision.
    #[error("the entity is at revision {actual}")]
    RevisionMismatch {
        /// Where it stands.
        actual: Revision,
    },
    /// It is protected from deletion.
    #[error("the entity is protected from deletion")]
    Protected,
    /// It may only be looked at.
    #[error("the entity is observe_only: nothing may change its object")]
    ObserveOnly,
    /// Too much waits already.
    #[error("too many operations wait for this entity")]
    TooManyOperations,
    /// No open operation has this id.
    #[error("no open operation has this id")]
    NoSuchOperation,
    /// Nobody asked.
    #[error("no decision is needed")]
    NothingToDecide,
    /// It has its object.
    #[error("the entity has an object already")]
    HasObject,
    /// It does not stand where it could be tried again.
    #[error("there is nothing to retry")]
    NothingToRetry,
    /// Another attempt took over; the result came too late.
    #[error("the attempt is not the running one")]
    StaleAttempt,
    /// The entity moved on since the look began.
    #[error("the entity changed since the look began")]
    StaleObservation,
    /// Changes are stopped.
    #[error("the entity is paused")]
    Paused,
    /// It is given up.
    #[error("the entity is erred")]
    Erred,
    /// Too many workers vanished over it.
    #[error("{} attempts in a row were abandoned", crate::entity::Entity::MAX_ABANDONED)]
    TooManyAbandoned,
    /// Its object may not go for another.
    #[error("it cannot change in place, and {0}")]
    Irreplaceable(Irreplaceable),
    /// It may only adopt.
    #[error("the entity adopts an object, it never creates one")]
    AdoptOnly,
    /// The step does not follow from what was seen: a fault of ours.
    #[error("the step does not fit the entity: {0}")]
    Unfit(&'static str),
}
