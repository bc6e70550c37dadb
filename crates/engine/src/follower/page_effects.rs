//! What a page of the log changes for a process that follows it: a pure function of the events.

use std::collections::BTreeMap;

use stateward_domain::backend::BackendEvent;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{BackendName, EntityId, Version};

/// Stored name of the event that forbids changes of backends.
const FROZEN: &str = "system.frozen";
/// Stored name of the event that allows them.
const UNFROZEN: &str = "system.unfrozen";
/// Stored name of the event that a person's reload leaves.
const RELOADED: &str = "system.configuration_reloaded";
/// Stored name of the event by which a person confirms what a backend holds.
const UNPARKED: &str = "backend.unparked";

/// Changes by the events of one page.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes<'a> {
    /// Newest version of the access stream; 0 = no event of it.
    pub(super) access: Version,
    /// Backends with events.
    pub(super) backends: BTreeMap<BackendName, BackendChanges>,
    /// Whether changes of backends are allowed, after the last event that says so; `None` = there is none.
    pub(super) allowed: Option<bool>,
    /// Version of the system stream at the last reload; `None` = there was none.
    pub(super) reloaded: Option<Version>,
    /// Events of each entity, in order.
    pub(super) entities: BTreeMap<EntityId, Vec<&'a Recorded>>,
}

/// Changes of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BackendChanges {
    /// Work that waits for the backend may go on.
    pub(super) wakes: bool,
    /// A person confirmed what it holds: absences observed before count no more.
    pub(super) confirmed: bool,
}

impl<'a> Changes<'a> {
    pub(super) fn of(events: &'a [Recorded]) -> Self {
        let mut changes = Self::default();
        for recorded in events {
            changes.add(recorded);
        }
        changes
    }

    fn add(&mut self, recorded: &'a Recorded) {
        if let Some(id) = recorded.stream.entity_id() {
            self.entities.entry(id).or_default().push(recorded);
            return;
        }
        match (recorded.stream.category.as_str(), recorded.event_type.as_str()) {
            (StreamId::ACCESS, _) => self.access = recorded.version,
            (StreamId::BACKEND, event_type) => {
                let name = BackendName(recorded.stream.id.clone());
                let backend = self.backends.entry(name).or_default();
                backend.confirmed |= event_type == UNPARKED;
                backend.wakes |= BackendEvent::wakes(event_type);
            }
            (StreamId::SYSTEM, FROZEN) => self.allowed = Some(false),
            (StreamId::SYSTEM, UNFROZEN) => self.allowed = Some(true),
            (StreamId::SYSTEM, RELOADED) => self.reloaded = Some(recorded.version),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use stateward_domain::id::{EventId, Position};
    use stateward_domain::time::Timestamp;
    use uuid::Uuid;

    use super::*;

    fn recorded(at: u64, (stream, event_type): (&str, &str)) -> Recorded {
        let (category, id) = stream.split_once('/').expect("a stream");
        Recorded {
            position: Position { minor: at, ..Position::START },
            stream: StreamId { category: category.to_owned(), id: id.to_owned() },
            version: Version(at),
            id: EventId(Uuid::from_u128(at.into())),
            event_type: event_type.to_owned(),
            schema_version: 1,
            recorded_at: Timestamp(1),
            payload: "{}".into(),
            metadata: "{}".into(),
            hash: [0; 32],
        }
    }

    #[test]
    fn a_page_is_read_for_what_it_changes() {
        let entity = "entity/00000000-0000-0000-0000-000000000001";
        let events = [
            ("access/main", "access.token_revoked"),
            ("backend/b", "backend.paused"),
            ("backend/c", "backend.unparked"),
            ("backend/d", "backend.reopened"),
            ("system/main", "system.audit_exported"),
            ("system/main", "system.configuration_reloaded"),
            (entity, "entity.paused"),
            ("system/main", "system.unfrozen"),
            ("foreign/x", "foreign.event"),
        ];
        let events: Vec<_> = (1..).zip(events).map(|(at, event)| recorded(at, event)).collect();
        let changes = Changes::of(&events);
        assert_eq!((changes.access, changes.reloaded), (Version(1), Some(Version(6))));
        assert_eq!(changes.allowed, Some(true));
        let frozen = [&events[7..8], &[recorded(10, ("system/main", "system.frozen"))]].concat();
        assert_eq!(Changes::of(&frozen).allowed, Some(false));
        let backends: Vec<_> = changes.backends.values().map(|b| (b.wakes, b.confirmed)).collect();
        assert_eq!(backends, [(false, false), (true, true), (true, false)]);
        assert_eq!(changes.entities.len(), 1);
        assert_eq!(Changes::of(&[]), Changes::default());
    }
}
