//! What looks found that nobody asked for.

use crate::entity::aggregate::Entity;
use crate::entity::event::EntityEvent;
use crate::entity::state::{Blocked, BlockedOn, Drift, Lost, Presence};
use crate::kind::OnLost;
use crate::time::Timestamp;

pub(super) fn observation(entity: &mut Entity, event: &EntityEvent) {
    match event {
        EntityEvent::DriftDetected { at, policy, diff, observed } => {
            entity.observed = observed.clone();
            let since = entity.drift.as_ref().map_or(*at, |drift| drift.since);
            entity.drift = Some(Drift { diff: diff.clone(), since, policy: *policy });
            returned(entity);
        }
        EntityEvent::DriftCleared { observed, .. } => {
            entity.observed = observed.clone();
            entity.drift = None;
            returned(entity);
        }
        EntityEvent::ObservedChanged { at, observed, lost } => {
            entity.observed = observed.clone();
            match lost {
                Some(policy) => is_lost(entity, *at, *policy),
                None => returned(entity),
            }
        }
        _ => {}
    }
}

fn is_lost(entity: &mut Entity, at: Timestamp, policy: OnLost) {
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

fn returned(entity: &mut Entity) {
    entity.replacing &= entity.observed.presence != Presence::Present;
    if entity.lost.take().is_some() {
        entity.blocked = None;
    }
}
