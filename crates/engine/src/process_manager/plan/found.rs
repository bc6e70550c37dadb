//! What a search for an entity's object by owner key or identity proves.

use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::entity::state::Presence;
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::driver::Object;

use super::Observation;

/// Whether a search can find something that is the entity's: a creation was intended, or the kind's identity names it.
pub(crate) const fn is_searchable(entity: &Entity, kind: &KindSpec) -> bool {
    entity.create_intended_at.is_some() || is_named(kind)
}

/// Classifies what a search found. `age`: since a creation was last intended; `None` = never.
pub(crate) fn classify(
    entity: &Entity,
    kind: &KindSpec,
    found: Vec<Object>,
    age: Option<Duration>,
) -> Observation {
    let unknown = entity.observed.presence == Presence::Unknown;
    let mut found = found.into_iter();
    let Some(object) = found.next() else {
        let left = kind.settle.saturating_sub(age.unwrap_or(Duration::MAX));
        let settles = unknown && !left.is_zero();
        return if settles { Observation::Settling { left } } else { Observation::Absent };
    };
    // Between the halves of a replacement the old object is gone: one of its name is another's.
    let had = entity.applied.is_some() && !entity.is_between_halves();
    let owned = !is_named(kind) || (unknown && age.is_some()) || had;
    if owned {
        let extra = found.map(|object| object.external_id).collect();
        Observation::Present { object, extra }
    } else {
        Observation::Unowned { external_id: object.external_id }
    }
}

/// Whether an identity is all that shows whose an object is: the kind has no place for an owner key.
const fn is_named(kind: &KindSpec) -> bool {
    !kind.owner_key && kind.identity.is_some()
}
