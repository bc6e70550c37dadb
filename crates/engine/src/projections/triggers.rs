//! What of a batch concerns others than the entity that it happened to.

use stateward_domain::backend::BackendEvent;
use stateward_domain::entity::Entity;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{BackendName, Position};
use stateward_domain::ports::sync_queue::QueueChange;
use stateward_domain::time::Timestamp;

/// What of a batch concerns others than the entity.
#[derive(Default)]
pub(super) struct Triggers {
    /// When its attempt, its life or what it used ended: whoever waits for it may go on.
    ended: Option<Timestamp>,
    /// When it showed itself anew: whoever refers to it has something to take. Its declaration tells nobody: it has
    /// no object yet.
    changed: Option<Timestamp>,
}

/// Events at which something ends that others may wait for.
const ENDING_EVENTS: [&str; 4] =
    ["entity.deleted", "entity.released", "entity.update_requested", "entity.operation_cancelled"];
/// Events after which an entity may be another than those thought who refer to it. What failed may be as it was, which
/// nobody knew while it was tried.
const CHANGING_EVENTS: [&str; 7] = [
    "entity.observed_changed",
    "entity.object_contested",
    "entity.drift_detected",
    "entity.drift_cleared",
    "entity.sync_failed",
    "entity.delete_requested",
    // May take back a deletion that had been given up.
    "entity.settings_changed",
];

impl Triggers {
    /// By the stored names alone: every event was decoded once already, to be folded.
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

    /// Whether those who refer to it may have to look again.
    pub(super) const fn affects_dependents(&self) -> bool {
        self.changed.is_some() || self.ended.is_some()
    }

    pub(super) fn wake_ups(
        &self,
        entity: &Entity,
        position: Position,
    ) -> impl Iterator<Item = QueueChange> {
        let waited_for = entity.id;
        // Whoever waits for it to be as desired is told at every event that may have made it so.
        let ended = self.ended.or_else(|| self.changed.filter(|_| entity.synced()));
        let ended = ended.map(|at| QueueChange::Wake { waited_for, at, position });
        let named = |at| QueueChange::WakeNamed { name: ClaimKey::name(entity), at, position };
        let changed = self.changed.map(named);
        ended.into_iter().chain(changed)
    }
}

/// Whoever waits for a backend may go on when it is there again, or configured otherwise.
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
