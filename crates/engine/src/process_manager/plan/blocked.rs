//! What an entity waits for besides time: a reference, a secret, a schema, an object that another one manages.

use stateward_domain::entity::Entity;
use stateward_domain::entity::command::Intent;
use stateward_domain::entity::event::Next;
use stateward_domain::entity::state::{BlockedOn, OperationKind};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::ExternalId;

use super::action_builders::{fail, fail_with, not_now, observation_failed, open_of};
use super::{Action, DesiredFault, Requeue, RoundContext, UnresolvedReference};
use crate::backends::answer_limits::{MESSAGE_CHARS_MAX, shortened};

/// Whether the entity shows already that it waits for what `failure` names.
pub(super) fn waits_already(entity: &Entity, failure: &Failure) -> bool {
    entity.blocked.is_some() && entity.error.as_ref() == Some(failure)
}

/// The desired state must not be applied as it is stored. A new one, a deletion and a release go on.
pub(super) fn desired_fault(c: &RoundContext<'_>, fault: &DesiredFault) -> Action {
    let failure = match fault {
        DesiredFault::SchemaChanged => {
            let message =
                "the kind's schema changed and does not accept the desired state any more";
            Failure::harmless(ErrorClass::Invalid, "schema_changed", message)
        }
        DesiredFault::TooDeep { pointer } => {
            let message = format!(
                "the desired state is nested too deep to be read whole (at {pointer}): send a new one"
            );
            let message = shortened(message, MESSAGE_CHARS_MAX);
            Failure::harmless(ErrorClass::Invalid, "desired_state_too_deep", message)
        }
    };
    if waits_already(c.entity, &failure) && c.takes_over.is_none() {
        return not_now(c);
    }
    let check_at = c.now.after(c.settings.retry.max);
    fail_with(c, &failure, Next::Blocked { on: BlockedOn::Schema, check_at })
}

/// A reference has no value that could be used. Recorded once; the target's change ends the wait, and it is retried
/// slowly. Without an open operation only a loss is recorded.
pub(super) fn unresolved(c: &RoundContext<'_>, unresolved: &UnresolvedReference) -> Action {
    let UnresolvedReference { failure, is_loss } = unresolved;
    if waits_already(c.entity, failure) && c.takes_over.is_none() {
        return not_now(c);
    }
    if *is_loss && c.entity.follows_references() {
        return fail(c, failure, None);
    }
    observation_failed(c, failure)
}

/// Dependents keep the object from being deleted, or something outside does. Recorded once; the latter is observed again
/// ever more slowly.
pub(super) fn in_use(c: &RoundContext<'_>, failure: &Failure) -> Action {
    if waits_already(c.entity, failure) && c.takes_over.is_none() {
        return match failure.class {
            ErrorClass::InUseOutside => Action::Wait(Requeue::After(c.retry().ever_longer())),
            _ => not_now(c),
        };
    }
    fail(c, failure, None)
}

/// A secret is not configured (any more). Recorded once; a reload ends the wait, and it is retried slowly.
pub(crate) fn missing_secret(c: &RoundContext<'_>, failure: &Failure) -> Action {
    let waits = c.entity.blocked.as_ref().is_some_and(|blocked| {
        blocked.on == BlockedOn::Secret && blocked.message == failure.message
    });
    if waits && c.takes_over.is_none() {
        return not_now(c);
    }
    let check_at = c.now.after(c.settings.breaker.probe_interval);
    fail_with(c, failure, Next::Blocked { on: BlockedOn::Secret, check_at })
}

/// What is done instead of `action` when the log refuses it the object that it names, because another entity has the
/// claim: that entity manages the object, also if it carries this entity's key. `None` = it names no object.
pub(crate) fn claim_refused(c: &RoundContext<'_>, action: &Action) -> Option<Action> {
    let object = match action {
        Action::Start(start) => match &start.intent {
            Intent::Start { found, .. } => found.as_ref(),
            _ => None,
        },
        Action::Complete { completion, .. } => completion.observed.external_id.as_ref(),
        Action::Observe { report, .. } | Action::Record { report, .. } => {
            report.observed.external_id.as_ref()
        }
        Action::Fail(_) | Action::RecordLoss(_) | Action::Wait(_) => None,
    };
    object.map(|id| object_taken(c, id))
}

/// Another entity of this log manages the object: nothing that was observed of it is kept.
pub(super) fn object_taken(c: &RoundContext<'_>, external_id: &ExternalId) -> Action {
    let pause = c.settings.retry.max;
    let looks = open_of(c.entity, &[OperationKind::Refresh, OperationKind::Retry]);
    let waits = |on: &BlockedOn| *on == BlockedOn::ObjectTaken;
    let recorded = c.entity.blocked.as_ref().is_some_and(|blocked| waits(&blocked.on));
    if recorded && c.entity.error.is_some() && looks.is_empty() && c.takes_over.is_none() {
        let work = c.entity.work();
        return Action::Wait(work.map_or(Requeue::OnChange, |_| Requeue::After(pause)));
    }
    let message = format!(
        "another entity manages {external_id}: name another object, or release this entity"
    );
    let class = ErrorClass::AlreadyExists { external_id: external_id.clone() };
    let failure = Failure::harmless(class, "object_taken", message);
    let check_at = c.now.after(pause);
    fail_with(c, &failure, Next::Blocked { on: BlockedOn::ObjectTaken, check_at })
}
