//! What a search for an entity's object by owner key or identity proves.

use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::entity::state::{AttemptStep, Presence};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::Object;
use stateward_domain::time::Timestamp;

use super::Observation;

/// Whether a search can find something that is the entity's: a creation was intended, or the kind's identity names it.
pub(crate) const fn is_searchable(entity: &Entity, kind: &KindSpec) -> bool {
    entity.create_intended_at.is_some() || is_named(kind)
}

/// How long a creation whose reply was lost may still run in the backend; zero = no such creation, or it is over. `since`:
/// time that passed since an instant.
///
/// Invariant: the request was sent before its call ended. If the end was not recorded, because the process died, the
/// request was sent before the call's time was over, and before now: another worker has the lease.
pub(crate) fn unsettled(
    entity: &Entity,
    kind: &KindSpec,
    call_timeout: Duration,
    since: impl Fn(Timestamp) -> Duration,
) -> Duration {
    let running = entity.running.as_ref();
    let runs = running.is_some_and(|run| run.step == AttemptStep::Create && run.pending.is_none());
    let lost_for = match entity.create_lost_at {
        Some(at) => since(at),
        None if runs => Duration::ZERO,
        None => return Duration::ZERO,
    };
    let intended_for = entity.create_intended_at.map_or(Duration::MAX, since);
    let by_the_end = kind.settle.saturating_sub(lost_for);
    let by_the_start = (call_timeout + kind.settle).saturating_sub(intended_for);
    by_the_end.min(by_the_start)
}

/// Whether the log may lack an intent to create an object of `entity`: it was cut at `cut_at`, which means restored or
/// without its end after a failover, after the entity was declared, and no creation was intended since. `None` = it was
/// never cut.
pub(crate) fn may_lack_intent(entity: &Entity, cut_at: Option<Timestamp>) -> bool {
    let before = |at: Timestamp| cut_at.is_some_and(|cut_at| at <= cut_at);
    before(entity.created_at)
        && entity.create_intended_at.is_none_or(before)
        && entity.observed.presence != Presence::Present
}

/// How long a creation may still run whose intent the log lost; zero = it is over, `None` = the log has every intent to
/// create an object of `entity`. As [`unsettled()`]: the intent was recorded before the log was cut, and its request was
/// sent within the call's time.
pub(crate) fn lost_creation(
    entity: &Entity,
    kind: &KindSpec,
    call_timeout: Duration,
    cut_at: Option<Timestamp>,
    since: impl Fn(Timestamp) -> Duration,
) -> Option<Duration> {
    let cut_at = cut_at.filter(|_| may_lack_intent(entity, cut_at))?;
    Some((call_timeout + kind.settle).saturating_sub(since(cut_at)))
}

/// Classifies what a search found; `unsettled` as by [`unsettled()`].
pub(crate) fn classify(
    entity: &Entity,
    kind: &KindSpec,
    found: Vec<Object>,
    unsettled: Duration,
) -> Observation {
    let unknown = entity.observed.presence == Presence::Unknown;
    let mut found = found.into_iter();
    let Some(object) = found.next() else { return absent(entity, unsettled) };
    // Between the halves of a replacement the old object is gone: one of its name is another's.
    let had = entity.applied.is_some() && !entity.is_between_halves();
    let intended = entity.create_intended_at.is_some();
    let owned = !is_named(kind) || (unknown && intended) || had;
    if owned {
        let extra = found.map(|object| object.external_id).collect();
        Observation::Present { object, extra }
    } else {
        Observation::Unowned { external_id: object.external_id }
    }
}

/// What it means that no object of the entity was found.
pub(crate) fn absent(entity: &Entity, unsettled: Duration) -> Observation {
    let unknown = entity.observed.presence == Presence::Unknown;
    if unknown && !unsettled.is_zero() {
        return Observation::Settling { left: unsettled };
    }
    Observation::Absent
}

/// Whether an identity is all that shows whose an object is: the kind has no place for an owner key.
const fn is_named(kind: &KindSpec) -> bool {
    !kind.owner_key && kind.identity.is_some()
}
