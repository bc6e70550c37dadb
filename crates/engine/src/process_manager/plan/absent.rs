//! The object is not there: never made, lost, or proved to be gone.

use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{AttemptStep, BlockedOn, ManagementPolicy, Presence};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::kind::OnLost;
use stateward_domain::time::Timestamp;

use super::action_builders::{
    self, asked, complete, fail, fail_with, observation, observed_before, open_changes, start,
};
use super::blocked::unresolved;
use super::{Action, Requeue, Resolution, RoundContext};

/// Whether a creation follows from the object's absence, which takes a resolved desired state.
pub(super) fn creates(c: &RoundContext<'_>) -> bool {
    matches!(absent(c, &Resolution::None), Action::Start(_))
}

/// The object is proved not to exist.
pub(super) fn absent(c: &RoundContext<'_>, resolution: &Resolution<'_>) -> Action {
    let entity = c.entity;
    if entity.deletion.is_some() {
        return complete(c, action_builders::absent(c), Vec::new());
    }
    if is_loss(entity) {
        return lost(c);
    }
    if entity.trouble.erred || !entity.wants_sync() {
        if asked(c) {
            return complete(c, action_builders::absent(c), Vec::new());
        }
        let Some(action) = entity.next_action() else {
            if !entity.trouble.erred {
                return Action::AWAIT_CHANGE;
            }
            return observed_before(
                c,
                action_builders::absent(c),
                Vec::new(),
                Action::AWAIT_CHANGE,
            );
        };
        let message = "there is no object to act on";
        let failure = Failure::harmless(ErrorClass::Invalid, "no_object", message);
        return fail(c, &failure, Some(action.id));
    }
    if entity.lost.as_ref().is_some_and(|lost| lost.policy == OnLost::Ask) {
        return still_lost(c);
    }
    create(c, resolution)
}

/// Longest pause between searches for the object of a lost creation: one that shows ends the wait.
const SETTLE_POLL_MAX: Duration = Duration::from_secs(2);

/// None was found, which proves nothing while a lost creation may still run.
pub(super) fn settling(c: &RoundContext<'_>, left: Duration) -> Action {
    let pause = left.min(SETTLE_POLL_MAX);
    if c.takes_over.is_none() {
        return Action::Wait(Requeue::After(pause));
    }
    let message = "an earlier creation may still run: waiting before another one";
    let failure = Failure::doubtful(ErrorClass::Ambiguous, Failure::CREATION_SETTLING, message);
    fail_with(c, &failure, Next::Retry { at: c.now.after(pause) })
}

/// Whether the absence is news: the object was there, rather than not made yet.
fn is_loss(entity: &Entity) -> bool {
    if entity.lost.is_some() || entity.create_allowed || entity.replacing {
        return false;
    }
    match entity.observed.presence {
        Presence::Present => true,
        Presence::Unknown => entity.applied.is_some(),
        Presence::Absent => false,
    }
}

fn lost(c: &RoundContext<'_>) -> Action {
    if c.takes_over.is_some() {
        let class = ErrorClass::NotFound;
        return fail(c, &Failure::harmless(class, "object_lost", "the object is gone"), None);
    }
    Action::RecordLoss(observation(c, action_builders::absent(c), Vec::new()))
}

/// A person has to decide about the lost object; asked once.
fn still_lost(c: &RoundContext<'_>) -> Action {
    let blocked = c.entity.blocked.as_ref();
    let is_asked = blocked.is_some_and(|blocked| blocked.on == BlockedOn::Decision);
    if c.takes_over.is_none() && open_changes(c.entity).is_empty() && is_asked {
        return Action::AWAIT_CHANGE;
    }
    let message = "the object is gone: decide whether to create, adopt or give up";
    await_decision(c, &Failure::harmless(ErrorClass::NotFound, "object_lost", message))
}

fn create(c: &RoundContext<'_>, resolution: &Resolution<'_>) -> Action {
    if c.entity.only_adopts() {
        let message = "the object to adopt is not there: adopt another, create or give up";
        let failure = Failure::harmless(ErrorClass::NotFound, "object_not_found", message);
        return await_decision(c, &failure);
    }
    if c.entity.manifest.settings.management_policy == ManagementPolicy::ObserveOnly {
        let message = "there is no object to observe";
        let failure = Failure::harmless(ErrorClass::NotFound, "object_not_found", message);
        return fail(c, &failure, None);
    }
    let spec = match resolution {
        Resolution::Ready(resolved) => {
            Some((resolved.desired.clone().into_owned(), serde_json::Value::Null))
        }
        Resolution::Waiting(reference) if c.may_change() && c.may_send => {
            return unresolved(c, reference);
        }
        _ => None,
    };
    if let Some(left) = c.lost_creation.filter(|left| !left.is_zero() && c.may_change()) {
        return settling(c, left);
    }
    start(c, AttemptStep::Create, None, spec)
}

fn await_decision(c: &RoundContext<'_>, failure: &Failure) -> Action {
    let check_at = Timestamp::NEVER;
    fail_with(c, failure, Next::Blocked { on: BlockedOn::Decision, check_at })
}
