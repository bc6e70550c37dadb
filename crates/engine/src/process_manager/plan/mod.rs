//! The planner: what a round does next, as a function of the fold, the observation and the resolved references.
//!
//! **Architecture invariant:** no `async`, no I/O, no clock, no randomness. Everything that a decision depends on is in
//! its arguments, so that each is a row of a table test. [`Driver::plan`](stateward_domain::ports::driver::Driver::plan)
//! makes no call.
//!
//! A round asks [`before_observation`], observes, resolves what [`requirement`] names, asks [`next_action`], and
//! executes the answer. After a driver call it asks [`after_call()`] and, on an observation, [`after_verification`].

mod absent;
mod action_builders;
mod after_call;
mod blocked;
mod planner_types;
mod present;
pub(crate) mod search_result;
#[cfg(test)]
mod tests;

use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::entity::command::Completion;
use stateward_domain::entity::state::AttemptStep;
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{Attempt, ExternalId};
use stateward_domain::ports::driver::Object;
use stateward_domain::ports::sync_queue::LeaseReason;
use stateward_domain::time::Timestamp;

pub(crate) use action_builders::open_of;
pub(crate) use after_call::{
    AfterCall, after_call, after_cancel, after_owner_check, after_poll, after_verification,
    desired_of_attempt, is_compared,
};
pub(crate) use blocked::{claim_refused, missing_secret};
use planner_types::DEPENDENCY_LAG;
pub(crate) use planner_types::{
    Action, Before, CHANGES_PAUSED, DesiredFault, Observation, QUEUE_LAG, Requeue, Requirement,
    Resolution, Resolved, RoundContext, Start, UnresolvedReference,
};

use crate::process_manager::plan::action_builders::{fail, observation_failed};

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
                if let Some(action) = after_call::abandon(c, running) {
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
        Observation::Present { object, .. } if !is_of_another(c, object) => {
            return action_builders::start(c, step, Some(stray.clone()), None);
        }
        Observation::Present { .. } | Observation::Absent => {
            let operations = Vec::new();
            let completion = Completion {
                step,
                operations,
                ..action_builders::completion(c, action_builders::absent(c), Vec::new())
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
    action_builders::fail_with(c, &failure, next)
}

/// Whether `object` carries the key of another entity, or none although the kind has a place for one.
fn is_of_another(c: &RoundContext<'_>, object: &Object) -> bool {
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
