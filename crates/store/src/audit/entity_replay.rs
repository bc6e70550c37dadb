//! Replays the events of one entity: its claims, and the rows of the read model.

use std::collections::BTreeMap;
use std::sync::Arc;

use stateward_domain::entity::claims::{Claim, ClaimKey, of_event, of_request};
use stateward_domain::entity::operation::OperationRow;
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{OperationId, Position, Version};
use stateward_domain::ports::read_model::EntityRow;
use stateward_domain::time::Timestamp;

/// A claim, with the bounds that the events give for its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimRecord {
    pub(crate) value: String,
    /// The event that took it.
    pub(crate) version: Version,
    /// When that event was recorded.
    pub(crate) at: Timestamp,
    /// The last event that may belong to the same append. Appends are not stored, and a claim names the last event of
    /// its append.
    pub(crate) until: Version,
    /// The earliest time of the append; its events are recorded a microsecond apart.
    pub(crate) since: Timestamp,
    /// Position of the event that took it.
    pub(crate) position: Position,
}

impl ClaimRecord {
    /// A claim that `event` took, whose append is unknown.
    pub(crate) fn by(event: &Recorded, value: String) -> Self {
        let Recorded { version, recorded_at: at, position, .. } = *event;
        Self { value, version, at, until: version, since: Timestamp(i64::MIN), position }
    }
}

/// Consecutive events that may belong to one append.
struct AppendRun {
    metadata: Arc<str>,
    /// When the next event of the append would be recorded.
    next: Timestamp,
    since: Timestamp,
}

/// The fold of a stream up to a version.
pub(crate) struct EntityReplay {
    pub(crate) stream: StreamId,
    /// `None` before the first event.
    pub(crate) row: Option<EntityRow>,
    pub(crate) operations: BTreeMap<OperationId, OperationRow>,
    /// Claims that the entity holds.
    pub(crate) held: BTreeMap<ClaimKey, ClaimRecord>,
    run: Option<AppendRun>,
}

impl EntityReplay {
    /// Before the first event of `stream`.
    pub(crate) fn new(stream: StreamId) -> Self {
        Self { stream, row: None, operations: BTreeMap::new(), held: BTreeMap::new(), run: None }
    }

    /// Version of the last event that was folded.
    pub(crate) fn version(&self) -> Version {
        self.row.as_ref().map_or(Version(0), |row| row.version)
    }

    /// Folds the next event.
    ///
    /// # Errors
    /// Why the event cannot be folded.
    pub(crate) fn take(&mut self, recorded: &Recorded) -> Result<(), String> {
        if recorded.version != self.version().next() {
            return Err(format!("it follows version {}", self.version()));
        }
        let event: EntityEvent =
            recorded.decode(EntityEvent::known).map_err(|error| error.to_string())?;
        self.extend_append(recorded);
        self.claim(recorded, &event);
        let row = self.row.get_or_insert_with(|| EntityRow::before(recorded));
        for step in row.evolve(recorded, &event) {
            step.apply(&mut self.operations);
        }
        Ok(())
    }

    /// Tracks whether the event may belong to the same append as its predecessor.
    fn extend_append(&mut self, recorded: &Recorded) {
        let after = |at: Timestamp| Timestamp(at.0.saturating_add(1));
        let at = recorded.recorded_at;
        let next = after(at);
        match &mut self.run {
            Some(run) if run.next == at && run.metadata == recorded.metadata => {
                run.next = next;
                let before = Version(recorded.version.0 - 1);
                for record in self.held.values_mut().filter(|record| record.until == before) {
                    record.until = recorded.version;
                }
            }
            run => {
                // An event recorded one microsecond after its predecessor may be of a new append, made by a clock
                // that was behind.
                let exact = run.as_ref().is_none_or(|run| run.next < at);
                let since = if exact { at } else { Timestamp(i64::MIN) };
                *run = Some(AppendRun { metadata: Arc::clone(&recorded.metadata), next, since });
            }
        }
    }

    fn claim(&mut self, recorded: &Recorded, event: &EntityEvent) {
        let since = self.run.as_ref().map_or(recorded.recorded_at, |run| run.since);
        let nothing = Entity::default();
        let before = self.row.as_ref().map_or(&nothing, |row| &row.entity);
        let mut changes = of_event(before, event);
        if recorded.metadata.contains("\"idempotency_key\"") {
            changes.extend(of_request(&recorded.envelope(), 0));
        }
        for change in changes {
            match change {
                // The events of one append share an idempotency key; the claim names the last of them.
                Claim::Take { key, value, .. } => {
                    self.held
                        .insert(key, ClaimRecord { since, ..ClaimRecord::by(recorded, value) });
                }
                Claim::Share { .. } => {}
                Claim::Free { key } => {
                    self.held.remove(&key);
                }
            }
        }
    }
}
