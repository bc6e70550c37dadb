//! Which events of a batch affect other entities than their own.

use stateward_domain::backend::BackendEvent;
use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{BackendName, Position};
use stateward_domain::ports::sync_queue::QueueChange;
use stateward_domain::time::Timestamp;

/// What an entity's events of one batch trigger for other entities.
#[derive(Default)]
pub(super) struct Triggers {
    /// When an attempt, the entity itself, or its use of others ended: entities that wait for it may continue.
    ended: Option<Timestamp>,
    /// When values that dependents read may have changed. A declaration is not among them: it has no object yet.
    changed: Option<Timestamp>,
}

/// Events that end something that other entities may wait for.
const ENDING_EVENTS: [&str; 4] =
    ["entity.deleted", "entity.released", "entity.update_requested", "entity.operation_cancelled"];
/// Events after which the values that dependents read may differ. A failed change may have left the old values, which
/// were in doubt while it ran.
const CHANGING_EVENTS: [&str; 8] = [
    "entity.observed_changed",
    "entity.object_contested",
    "entity.drift_detected",
    "entity.drift_cleared",
    "entity.error_cleared",
    "entity.sync_failed",
    "entity.delete_requested",
    // May cancel a deletion that was given up.
    "entity.settings_changed",
];

impl Triggers {
    /// By event type only: the events were decoded once already, to be folded.
    pub(super) fn of(events: &[&Recorded]) -> Self {
        let mut triggers = Self::default();
        for recorded in events {
            let at = Some(recorded.recorded_at);
            match recorded.event_type.as_str() {
                "entity.sync_completed" => (triggers.ended, triggers.changed) = (at, at),
                name if ENDING_EVENTS.contains(&name) => triggers.ended = at,
                name if CHANGING_EVENTS.contains(&name) => triggers.changed = at,
                _ => {}
            }
        }
        triggers
    }

    /// Whether dependents may have to be re-evaluated.
    pub(super) const fn affects_dependents(&self) -> bool {
        self.changed.is_some() || self.ended.is_some()
    }

    pub(super) fn wake_ups(
        &self,
        entity: &Entity,
        position: Position,
    ) -> impl Iterator<Item = QueueChange> {
        let waited_for = entity.id;
        // An entity that waits for this one to be in sync is woken by every event that may have brought it there.
        let ended = self.ended.or_else(|| self.changed.filter(|_| entity.synced()));
        let ended = ended.map(|at| QueueChange::Wake { waited_for, at, position });
        let named = |at| QueueChange::WakeNamed { name: ClaimKey::name(entity), at, position };
        let changed = self.changed.map(named);
        ended.into_iter().chain(changed)
    }
}

/// Wakes entities that wait for a backend, when it is available or configured again.
pub(super) fn backend_wake_up(recorded: &Recorded) -> Option<QueueChange> {
    let wakes =
        recorded.stream.category == StreamId::BACKEND && BackendEvent::wakes(&recorded.event_type);
    wakes.then(|| QueueChange::WakeBackend {
        backend: BackendName(recorded.stream.id.clone()),
        at: recorded.recorded_at,
        position: recorded.position,
    })
}

#[cfg(test)]
mod tests {
    use stateward_domain::entity::EntityEvent;

    use super::*;

    #[test]
    fn every_event_that_concerns_others_is_one_that_is_stored() {
        for name in ENDING_EVENTS.iter().chain(&CHANGING_EVENTS).chain(&["entity.sync_completed"]) {
            assert!(EntityEvent::NAMES.contains(name), "{name}");
        }
    }
}
