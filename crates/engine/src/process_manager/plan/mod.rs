//! The planner: what a round does next, as a function of the fold, the observation and the resolved references.
//!
//! **Architecture invariant:** no `async`, no I/O, no clock, no randomness. Everything that a decision depends on is in
//! its arguments, so that each is a row of a table test. [`Driver::plan`](stateward_domain::ports::driver::Driver::plan)
//! makes no call.
//!
//! A round asks [`before_observation`], observes, resolves what [`requirement`] names, asks [`next_action`], and
//! executes the answer. After a driver call it asks [`after_call`] and, on an observation, [`after_verification`].

mod absent;
mod blocked;
pub(crate) mod found;
mod outcome;
mod present;
mod report;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use stateward_domain::entity::Entity;
use stateward_domain::entity::command::{Completion, FailureReport, Intent, ObservationReport};
use stateward_domain::entity::state::{AttemptStep, ManagementPolicy};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, ExternalId};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::Object;
use stateward_domain::ports::sync_queue::LeaseReason;
use stateward_domain::time::Timestamp;

pub(crate) use blocked::missing_secret;
pub(crate) use outcome::{
    AfterCall, after_call, after_cancel, after_owner_check, after_poll, after_verification,
    desired_of_attempt, is_compared,
};
pub(crate) use report::open_of;

use crate::backends::BackendSettings;
use crate::process_manager::plan::report::{fail, observation_failed};
use crate::process_manager::retry::RetryContext;

/// A pause that only guards against a queue row that is a moment behind the log.
pub(crate) const QUEUE_LAG: Duration = Duration::from_secs(1);
/// As [`QUEUE_LAG`], where one observation too many is better than a long wait.
const DEPENDENCY_LAG: Duration = Duration::from_millis(50);
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
}

impl RoundContext<'_> {
    /// Whether the object may be changed now.
    fn may_change(&self) -> bool {
        self.entity.manifest.settings.management_policy == ManagementPolicy::Full
            && self.entity.paused.is_none()
            && self.writable
    }

    fn retry(&self) -> RetryContext<'_> {
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
    /// Records that the object is gone, once the backend proved to be the same one and not too many are gone at once.
    RecordLoss(ObservationReport),
    /// Records nothing.
    Wait(Requeue),
}

impl Action {
    const AWAIT_CHANGE: Self = Self::Wait(Requeue::OnChange);
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

/// The attempt of `entity` that runs in name only: its worker is gone, or the lease could not be held by this one.
/// `None` while the backend works on it, and when none runs.
pub(crate) fn abandoned(entity: &Entity) -> Option<Attempt> {
    entity.running.as_ref().filter(|running| running.pending.is_none()).map(|_| entity.attempt)
}

/// What a round does before it observes. `throttled`: time for which the backend takes no calls for the kind; `fault` is
/// asked at most once.
pub(crate) fn before_observation(
    c: &RoundContext<'_>,
    throttled: Option<Duration>,
    fault: impl FnOnce() -> Option<DesiredFault>,
) -> Before {
    let wait = |pause| Before::Act(Box::new(Action::Wait(Requeue::After(pause))));
    let entity = c.entity;
    if !entity.is_tracked() {
        return wait(QUEUE_LAG);
    }
    if let Some(left) = throttled {
        return wait(left);
    }
    match &entity.running {
        Some(running) => match &running.pending {
            Some((handle, _)) if entity.is_to_be_stopped() => {
                return Before::Cancel { handle: handle.clone() };
            }
            Some((_, poll_at)) if *poll_at > c.now => return wait(poll_at.since(c.now)),
            Some((handle, _)) => return Before::Poll { handle: handle.clone() },
            None => {
                if let Some(action) = outcome::abandon(c, running) {
                    return Before::Act(Box::new(action));
                }
            }
        },
        None => match entity.work() {
            // The queue alone knows whether the awaited change has come.
            Some(work) if work.due > c.now && work.waits_for.is_none() => {
                return wait(work.due.since(c.now));
            }
            // The queue may know of a changed reference.
            None if c.reason == LeaseReason::Work && entity.dependencies().is_empty() => {
                return Before::Act(Box::new(Action::AWAIT_CHANGE));
            }
            _ => {}
        },
    }
    if let Some((external_id, _)) = entity.strays.first_key_value() {
        return Before::ObserveStray(external_id.clone());
    }
    if entity.is_deleted() {
        return Before::Act(Box::new(Action::AWAIT_CHANGE));
    }
    // A deletion needs no desired state.
    match fault().filter(|_| entity.deletion.is_none()) {
        Some(fault) => Before::Act(Box::new(blocked::desired_fault(c, &fault))),
        None => Before::Observe,
    }
}

/// What has to be resolved before [`next_action`] can answer on `observation`.
pub(crate) fn requirement(c: &RoundContext<'_>, observation: &Observation) -> Requirement {
    match observation {
        Observation::Present { .. } if present::is_removed(c.entity) => Requirement::Dependents,
        Observation::Present { .. } => Requirement::DesiredState,
        Observation::Absent if absent::creates(c) => Requirement::DesiredState,
        _ => Requirement::Nothing,
    }
}

/// What a round does on `observation` of the entity's object.
pub(crate) fn next_action(
    c: &RoundContext<'_>,
    observation: &Observation,
    resolution: &Resolution<'_>,
) -> Action {
    match observation {
        Observation::Present { object, .. } => present::present(c, object, resolution),
        Observation::Absent => absent::absent(c, resolution),
        Observation::Unknown { reason } => {
            let class = ErrorClass::Transient;
            observation_failed(c, &Failure::harmless(class, "look_unclear", reason.clone()))
        }
        Observation::Settling { left } => absent::settling(c, *left),
        Observation::Unowned { external_id } => {
            let message = format!("{external_id} is there already: adopt it or give up");
            let class = ErrorClass::AlreadyExists { external_id: external_id.clone() };
            fail(c, &Failure::harmless(class, "identity_in_use", message), None)
        }
        Observation::Foreign { external_id } => blocked::object_taken(c, external_id),
        Observation::Failed(failure) => observation_failed(c, failure),
    }
}

/// What a round does on `observation` of `stray`, an object that a late worker left behind: it is deleted when nothing
/// says that it is another's.
pub(crate) fn clean_up(
    c: &RoundContext<'_>,
    stray: &ExternalId,
    observation: &Observation,
) -> Action {
    let step = AttemptStep::CleanUp { external_id: stray.clone() };
    let failure = match observation {
        Observation::Present { object, .. } if !is_anothers(c, object) => {
            return report::start(c, step, Some(stray.clone()), None);
        }
        Observation::Present { .. } | Observation::Absent => {
            let operations = Vec::new();
            let completion = Completion {
                step,
                operations,
                ..report::completion(c, report::absent(c), Vec::new())
            };
            return Action::Complete { completion, requeue: None };
        }
        Observation::Failed(failure) => failure.clone(),
        _ => {
            let message = "it is not certain whether a stray object is there";
            Failure::harmless(ErrorClass::Transient, "look_unclear", message)
        }
    };
    let next = c.retry().after_clean_up(&failure);
    report::fail_with(c, &failure, next)
}

/// Whether `object` carries the key of another entity, or none although the kind has a place for one.
fn is_anothers(c: &RoundContext<'_>, object: &Object) -> bool {
    let owner = object.owner_key.as_ref().and_then(stateward_domain::id::OwnerKey::parse);
    owner.map_or(c.kind.owner_key, |(owner, _)| owner != c.entity.id)
}

/// When the fold's next work is due.
pub(crate) fn requeue_for_work(entity: &Entity, now: Timestamp) -> Requeue {
    match entity.work() {
        Some(work) if work.due <= now => Requeue::Now,
        // The awaited change may have come already, which only the queue knows: its row is soon read again.
        Some(work) if work.waits_for.is_some() => Requeue::After(DEPENDENCY_LAG),
        Some(work) => Requeue::After(work.due.since(now)),
        None => Requeue::OnChange,
    }
}
