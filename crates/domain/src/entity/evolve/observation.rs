//! Folds background observations.

use super::fresh_start;
use crate::entity::aggregate::{Applied, Entity};
use crate::entity::event::EntityEvent;
use crate::entity::references::targets_in;
use crate::entity::state::{Blocked, BlockedOn, Contested, Drift, Lost, Observed, Presence};
use crate::id::ExternalId;
use crate::kind::OnLost;
use crate::time::Timestamp;

pub(super) fn on_observation(entity: &mut Entity, event: &EntityEvent) {
    match event {
        EntityEvent::DriftDetected { at, policy, diff, observed } => {
            entity.observed = observed.clone();
            let since = entity.drift.as_ref().map_or(*at, |drift| drift.since);
            entity.drift = Some(Drift { diff: diff.clone(), since, policy: *policy });
            object_returned(entity);
        }
        EntityEvent::DriftCleared { observed, .. } => {
            entity.observed = observed.clone();
            entity.drift = None;
            object_returned(entity);
        }
        EntityEvent::ObservedChanged { at, observed, lost } => {
            entity.observed = observed.clone();
            match lost {
                Some(policy) => object_lost(entity, *at, *policy),
                // A further proof that it is gone does not bring a lost object back.
                None if observed.presence == Presence::Absent => {}
                None => object_returned(entity),
            }
        }
        EntityEvent::ErrorCleared { observed, .. } => error_cleared(entity, observed),
        EntityEvent::ObjectContested { at, external_id, holds } => {
            contested(entity, *at, external_id, *holds);
        }
        EntityEvent::ContestEnded { .. } => {
            entity.contested.take_if(|contested| contested.holds);
        }
        _ => {}
    }
}

/// An object that another entity manages is no stray, and none of its attributes are kept.
fn contested(entity: &mut Entity, at: Timestamp, id: &ExternalId, holds: bool) {
    if !holds && entity.strays.remove(id).is_some() {
        return;
    }
    if entity.is_deleted() || entity.observed.external_id.as_ref() != Some(id) {
        return;
    }
    entity.contested = Some(Contested { external_id: id.clone(), holds, since: at });
    if holds {
        return;
    }
    let unknown = entity.observed.presence != Presence::Absent;
    let presence = if unknown { Presence::Unknown } else { Presence::Absent };
    entity.observed = Observed { presence, external_id: Some(id.clone()), ..Observed::default() };
    entity.drift = None;
    if entity.running.is_none() && entity.blocked.is_none() {
        let message = "another entity manages the object".to_owned();
        let on = BlockedOn::ObjectTaken;
        entity.blocked = Some(Blocked { on, message, since: at, check_at: at });
    }
}

/// What is left of drift is to be repaired; where none is, the object has the desired state, as after a success. What
/// others added is no work.
fn error_cleared(entity: &mut Entity, observed: &Observed) {
    entity.observed = observed.clone();
    entity.materialised |= observed.external_id.is_some();
    object_returned(entity);
    let repairs = entity.drift.as_ref().is_some_and(Drift::is_correctable);
    if !repairs && observed.generation == entity.generation {
        let desired = entity.manifest.desired.clone();
        entity.made_from = targets_in(&desired);
        entity.attempted.clear();
        entity.applied = Some(Applied { generation: entity.generation, desired });
        entity.replace_once = false;
    }
    fresh_start(entity);
}

fn object_lost(entity: &mut Entity, at: Timestamp, policy: OnLost) {
    entity.lost = Some(Lost { policy, since: at });
    entity.drift = None;
    if policy == OnLost::Ask {
        entity.blocked = Some(Blocked {
            on: BlockedOn::Decision,
            message: "the object is gone: decide whether to create, adopt or give up".to_owned(),
            since: at,
            check_at: Timestamp(i64::MAX),
        });
    }
}

fn object_returned(entity: &mut Entity) {
    entity.replacing &= entity.observed.presence != Presence::Present;
    if entity.lost.take().is_some() {
        entity.blocked = None;
    }
}
