//! Subjects, a manual clock, and short ways to make appends.

use std::sync::Arc;

use stateward_domain::entity::claims::{Claim, ClaimKey};
use stateward_domain::envelope::{NewEvent, StreamId};
use stateward_domain::id::{EventId, Version};
use stateward_domain::ports::event_store::{Append, EventStore};
use stateward_store::memory::MemoryLog;
use stateward_store::sqlite::Store;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) use stateward_domain::time::ManualClock;

/// A log with its clock; its directory is deleted with it.
pub(crate) struct Subject {
    pub name: &'static str,
    pub log: Arc<dyn EventStore>,
    pub clock: Arc<ManualClock>,
    _directory: Option<(TempDir, Store)>,
}

/// One empty log of each adapter.
pub(crate) async fn subjects() -> Vec<Subject> {
    let clock = ManualClock::new();
    let log = Arc::new(MemoryLog::new(clock.clone()));
    let memory = Subject { name: "memory", log, clock, _directory: None };
    let clock = ManualClock::new();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), clock.clone()).await.unwrap();
    let sqlite = Subject {
        name: "sqlite",
        log: store.log.clone(),
        clock,
        _directory: Some((directory, store)),
    };
    vec![memory, sqlite]
}

pub(crate) fn stream(id: &str) -> StreamId {
    StreamId { category: "entity".to_owned(), id: id.to_owned() }
}

pub(crate) fn key(text: &str) -> ClaimKey {
    ClaimKey(text.to_owned())
}

pub(crate) fn take(text: &str) -> Claim {
    Claim::Take { key: key(text), value: String::new(), event: 0 }
}

pub(crate) fn share(text: &str) -> Claim {
    Claim::Share { key: key(text) }
}

pub(crate) fn event(id: u128, note: &str) -> NewEvent {
    NewEvent {
        id: EventId(Uuid::from_u128(id)),
        event_type: "entity.paused".to_owned(),
        schema_version: 1,
        payload: format!("{{\"paused\":{{\"note\":\"{note}\"}}}}").into(),
        metadata: "{\"actor_id\":\"é\"}".into(),
    }
}

/// An append of `count` events with ids from `first` on.
pub(crate) fn append(
    id: &str,
    expected: u64,
    first: u128,
    count: u128,
    claims: Vec<Claim>,
) -> Append {
    Append {
        stream: stream(id),
        expected: Version(expected),
        events: (first..first + count).map(|number| event(number, &number.to_string())).collect(),
        claims,
    }
}
