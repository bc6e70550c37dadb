//! What the planner decides on, and what it answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, FailureReport, Intent, ObservationReport};
use stateward_domain::entity::state::{AttemptStep, ManagementPolicy};
use stateward_domain::failure::Failure;
use stateward_domain::id::{Attempt, ExternalId};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::Object;
use stateward_domain::ports::sync_queue::LeaseReason;
use stateward_domain::time::Timestamp;

use crate::backends::BackendSettings;
use crate::process_manager::retry::RetryContext;

/// A pause that only guards against a queue row that is a moment behind the log.
pub(crate) const QUEUE_LAG: Duration = Duration::from_secs(1);
/// As [`QUEUE_LAG`], where one observation too many is better than a long wait.
pub(super) const DEPENDENCY_LAG: Duration = Duration::from_millis(50);
/// Pause while the object must not be changed.
pub(crate) const CHANGES_PAUSED: Duration = Duration::from_secs(30);

/// Everything besides the observation that a decision depends on.
#[derive(Clone, Copy)]
pub(crate) struct RoundContext<'a> {
    /// The fold.
    pub(crate) entity: &'a Entity,
    pub(crate) kind: &'a KindSpec,
    pub(crate) settings: &'a BackendSettings,
    /// Log time.
    pub(crate) now: Timestamp,
    /// Random, between one half and one: spreads retries.
    pub(crate) jitter: f64,
    /// Why the entity was leased.
    pub(crate) reason: LeaseReason,
    /// Whether the backend accepts changes: it is neither paused nor on hold after a restore.
    pub(crate) writable: bool,
    /// Whether the lease leaves time to send something.
    pub(crate) may_send: bool,
    /// The attempt whose worker is gone. The next attempt or report ends it.
    pub(crate) takes_over: Option<Attempt>,
    /// As of [`lost_creation()`](super::search_result::lost_creation).
    pub(crate) lost_creation: Option<Duration>,
}

impl RoundContext<'_> {
    /// Whether the object may be changed now.
    pub(super) fn may_change(&self) -> bool {
        self.entity.manifest.settings.management_policy == ManagementPolicy::Full
            && self.entity.paused.is_none()
            && self.writable
    }

    /// What a retry depends on.
    pub(super) fn retry(&self) -> RetryContext<'_> {
        RetryContext {
            entity: self.entity,
            kind: self.kind,
            settings: self.settings,
            now: self.now,
            jitter: self.jitter,
        }
    }
}

/// When the entity is worked on again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requeue {
    /// In this round: something was recorded.
    Now,
    /// After this time, or when the queue row changes.
    After(Duration),
    /// When the queue row changes, or at the next drift check.
    OnChange,
}

/// What an observation of the backend showed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Observation {
    /// The object exists. `extra`: further objects with the same owner key.
    Present { object: Object, extra: Vec<ExternalId> },
    /// The object is proved not to exist.
    Absent,
    /// Nothing is proved.
    Unknown { reason: String },
    /// None was found; a creation of a moment ago may still show.
    Settling { left: Duration },
    /// An object of unknown origin has the identity.
    Unowned { external_id: ExternalId },
    /// Another entity of this log manages the object.
    Foreign { external_id: ExternalId },
    /// The driver could not tell.
    Failed(Failure),
}

/// What an entity of whose object an [`Observation`] is known still needs from outside before an action follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    Nothing,
    /// The desired state with the values of its references.
    DesiredState,
    /// Whether dependents keep it from being deleted.
    Dependents,
}

/// The answer to a [`Requirement`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Resolution<'v> {
    /// Nothing was required.
    #[default]
    None,
    /// A desired state as schema and driver take it.
    Ready(Resolved<'v>),
    /// A reference has no value that could be used.
    Waiting(UnresolvedReference),
    /// A dependent keeps the object from being deleted; `None` = there is none.
    Dependents(Option<Failure>),
}

/// A desired state with the values of its references in their places, normalised.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resolved<'v> {
    pub(crate) desired: Cow<'v, Value>,
    /// Those values, by pointer.
    pub(crate) references: BTreeMap<String, Value>,
    /// The desired states that were attempted since one was applied, with the values of their references that are known.
    pub(crate) attempted: Vec<Value>,
}

/// Why a desired state could not be resolved.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UnresolvedReference {
    /// The target that is waited for, or what is wrong with its value.
    pub(crate) failure: Failure,
    /// Whether a value that was there is gone, which is recorded also for an entity without open operations.
    pub(crate) is_loss: bool,
}

/// Why a desired state must not be applied as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DesiredFault {
    /// The present version of the kind's schema rejects it.
    SchemaChanged,
    /// The part at `pointer` was nested too deep to be read.
    TooDeep { pointer: String },
}

/// An attempt to begin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Start {
    pub(crate) step: AttemptStep,
    /// [`Intent::Start`], to be recorded before the call.
    pub(crate) intent: Intent,
    /// The object that the call is about; `None` for a creation.
    pub(crate) object: Option<ExternalId>,
    /// The desired state whose secrets must be there before the intent is recorded, and which the call writes. `None` =
    /// the call writes no fields.
    pub(crate) spec: Option<Value>,
    /// The attributes that an update was planned on, else `Null`.
    pub(crate) observed: Value,
    /// Whether an object of a creation that the log lost is searched for first: it takes the place of a new one.
    pub(crate) search_first: bool,
}

/// What a round does next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Records the intent, calls the driver, verifies.
    Start(Box<Start>),
    /// Records a success without a driver call. `requeue`: `None` = when the fold's next work is due.
    Complete { completion: Completion, requeue: Option<Requeue> },
    /// Records a failure.
    Fail(FailureReport),
    /// Records what a background check observed. Continues with `unchanged` when that taught nothing.
    Observe { report: ObservationReport, recorded: Requeue, unchanged: Box<Action> },
    /// Records what was observed, if that is news, then goes on with `then`, which was planned on it.
    Record { report: ObservationReport, then: Box<Action> },
    /// Records that the object is gone, once the backend proved to be the same one and not too many are gone at once.
    RecordLoss(ObservationReport),
    /// Records nothing.
    Wait(Requeue),
}

impl Action {
    pub(super) const AWAIT_CHANGE: Self = Self::Wait(Requeue::OnChange);
}

/// What precedes an observation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Before {
    /// No observation is needed.
    Act(Box<Action>),
    /// Ask the backend how the running attempt stands.
    Poll { handle: Value },
    /// Ask the backend to give up the running attempt.
    Cancel { handle: Value },
    /// Observe an object that a late worker left behind.
    ObserveStray(ExternalId),
    /// Observe the entity's object.
    Observe,
}
