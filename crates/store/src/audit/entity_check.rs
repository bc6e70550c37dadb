//! Folds one entity's events and derives which rows the models must have had at the checkpoints that were read with
//! them.

use std::collections::BTreeMap;

use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::entity::EntityEvent;
use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::QueueRow;
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{Position, Version};
use stateward_domain::time::Timestamp;

use super::entity_replay::{ClaimRecord, EntityReplay};
use super::models::{self, ENTITIES, QUEUE};
use super::queue_row::{self, Bounds};
use super::table_row::TableRow;
use super::{ExpectedViews, StoredRows};

/// See the module.
pub(super) struct EntityCheck {
    replay: EntityReplay,
    stored: StoredRows,
    /// The event that the stream is in quarantine since; `None` = it is not.
    set_aside: Option<Position>,
    /// The model's checkpoint; `None` = unknown.
    model: Option<Position>,
    /// The queue's checkpoint; `None` = unknown.
    queue: Option<Position>,
    /// What the model's rows have to be; `None` = the model has applied all events so far.
    expected: Option<ExpectedViews>,
    /// The expected queue row, and whether the stored one equals it; `None` = the queue has applied all events so
    /// far.
    queued: Option<(Option<QueueRow>, bool)>,
    /// The version that the model's row must have reached.
    due: Version,
    bounds: Bounds,
    /// Position of the event that the model's row is of.
    known_at: Position,
    /// The first event up to the model's checkpoint that the model did not apply.
    refused: Option<Position>,
    /// The event that cannot be folded.
    failed: Option<Position>,
    /// A fault was reported that makes a comparison meaningless.
    broken: bool,
}

/// The result of an entity's fold, with the rows that are stored of it.
pub(super) struct CheckedEntity {
    pub(super) stream: StreamId,
    pub(super) version: Version,
    /// What the rows have to be.
    pub(super) fold: ExpectedViews,
    /// The rows to compare it with.
    pub(super) rows: Vec<TableRow>,
    pub(super) held: BTreeMap<ClaimKey, ClaimRecord>,
    pub(super) faults: Vec<Fault>,
    pub(super) note: Option<String>,
    /// Models whose rows are ahead of their checkpoint, with the position that the rows reached.
    pub(super) ahead: Vec<(&'static str, Position)>,
    /// Whether the model has a row that was compared.
    pub(super) compared: bool,
}

impl EntityCheck {
    /// Before the first event. `model` and `queue` are the checkpoints that were read with `stored`; `head` is the
    /// log's end, read afterwards, and `newest` the time of its last event.
    pub(super) fn new(
        stream: &StreamId,
        stored: StoredRows,
        set_aside: Option<Position>,
        (model, queue): (Option<Position>, Option<Position>),
        (head, newest): (Position, Timestamp),
        broken: bool,
    ) -> Self {
        Self {
            replay: EntityReplay::new(stream.clone()),
            stored,
            set_aside,
            model,
            queue,
            expected: None,
            queued: None,
            due: Version(0),
            bounds: Bounds { own: Position::START, head, newest },
            known_at: Position::START,
            refused: None,
            failed: None,
            broken,
        }
    }

    pub(super) const fn stream(&self) -> &StreamId {
        &self.replay.stream
    }

    /// Skips all comparisons: an event cannot be read, and that was reported.
    pub(super) const fn mark_unreadable(&mut self) {
        self.broken = true;
    }

    /// Folds the next event; the fault that it has.
    pub(super) fn take(&mut self, event: &Recorded) -> Option<Fault> {
        if self.broken || self.failed.is_some() {
            return None;
        }
        let in_model = self.is_in_model(event);
        if !in_model && self.expected.is_none() {
            self.expected = Some(self.fold());
            let passed = self.model.is_some_and(|model| event.position <= model);
            self.refused = Some(event.position).filter(|_| passed);
        }
        let in_queue = self.queue.is_some_and(|queue| event.position <= queue);
        if !in_queue && self.queued.is_none() {
            self.compare_queue_row();
        }
        if let Err(detail) = self.replay.take(event) {
            self.failed = Some(event.position);
            let fault = Fault::new(FaultKind::Payload, detail).of(&event.stream);
            return Some(fault.at_version(event.version).at(event.position));
        }
        if self.model.is_some_and(|model| event.position <= model) && self.set_aside.is_none() {
            self.due = event.version;
        }
        if self.stored.version == Some(event.version) {
            self.known_at = event.position;
        }
        // A request without effect does not change the queue row.
        if EntityEvent::is_mere_record(&event.event_type, event.schema_version) {
            return None;
        }
        if in_queue {
            self.bounds.own = event.position;
        } else {
            // The executor may have written the row after reading further than its checkpoint.
            self.compare_queue_row();
        }
        None
    }

    /// Whether the model's row includes the event. A stream that was re-applied a moment ago may be ahead of the
    /// checkpoint.
    fn is_in_model(&self, event: &Recorded) -> bool {
        let delivered = self.model.is_some_and(|model| event.position <= model);
        match self.set_aside {
            Some(first) => delivered && event.position < first,
            None => delivered || self.stored.version.is_some_and(|known| event.version <= known),
        }
    }

    /// What the model's rows have to be after the events so far.
    fn fold(&self) -> ExpectedViews {
        let operations = || self.replay.operations.values().cloned().collect();
        ExpectedViews {
            entity: self.replay.row.clone().map(|row| (row, operations())),
            queue_row: None,
        }
    }

    /// Derives the queue row, unless an allowed one was found already.
    fn compare_queue_row(&mut self) {
        if self.queued.as_ref().is_some_and(|(_, found)| *found) {
            return;
        }
        let stored = self.stored.queue_row.as_ref();
        let entity = self.replay.row.as_ref().map(|row| &row.entity);
        let row = entity.and_then(|entity| queue_row::nearest_allowed(entity, stored, self.bounds));
        let found = row.as_ref() == stored;
        if found || self.queued.is_none() {
            self.queued = Some((row, found));
        }
    }

    /// Ends the fold; `None` = nothing can be compared.
    pub(super) fn end(mut self) -> Option<CheckedEntity> {
        if self.broken {
            return None;
        }
        if self.queued.is_none() {
            self.compare_queue_row();
        }
        let mut fold = self.expected.take().unwrap_or_else(|| self.fold());
        fold.queue_row = self.queued.take().and_then(|(row, _)| row);
        let known = self.stored.version.unwrap_or_default();
        let mut faults = self.quarantine_faults();
        let mut rows = std::mem::take(&mut self.stored.rows);
        let incomparable = self.version_fault(known);
        let compared = known > Version(0) && incomparable.is_none();
        if let Some(fault) = incomparable {
            faults.push(fault);
            rows.retain(|row| row.table.model != ENTITIES);
            fold.entity = None;
        }
        // The executor stopped at some delivery before the event that cannot be folded.
        if self.failed.is_some() || self.queue.is_none() {
            rows.retain(|row| row.table.model != QUEUE);
            fold.queue_row = None;
        }
        if self.model.is_none() {
            rows.retain(|row| row.table.model != ENTITIES);
            fold.entity = None;
        }
        if let Some(fault) = self.foreign_entity(&fold) {
            faults.push(fault);
            fold = ExpectedViews::default();
        }
        let held = if self.failed.is_some() { BTreeMap::new() } else { self.replay.held.clone() };
        let ahead = self.ahead();
        let (stream, version) = (self.replay.stream.clone(), self.replay.version());
        let note = self.set_aside.map(|first| {
            format!(
                "{stream} is set aside since {first}: its rows are compared with what came before"
            )
        });
        Some(CheckedEntity { stream, version, fold, rows, held, faults, note, ahead, compared })
    }

    /// The fault that the events name another entity: their rows would overwrite those of that entity.
    fn foreign_entity(&self, fold: &ExpectedViews) -> Option<Fault> {
        let entity = fold.entity.as_ref().map(|(row, _)| row.entity.id);
        let id = entity.or_else(|| fold.queue_row.as_ref().map(|row| row.entity))?;
        let detail = || format!("its events say that they are of the entity {id}");
        let stream = &self.replay.stream;
        let ours = id.to_string() == stream.id;
        (!ours).then(|| Fault::new(FaultKind::Payload, detail()).of(stream))
    }

    /// The fault that the model's row has an impossible version.
    fn version_fault(&self, known: Version) -> Option<Fault> {
        let fault = |detail: String| {
            let fault = Fault::new(FaultKind::View, detail).of(&self.replay.stream);
            fault.in_table(ENTITIES, &self.replay.stream.id, Some("version"))
        };
        let ends = self.replay.version();
        if known > ends && self.failed.is_none() {
            let detail = format!(
                "the read model knows version {known}, the log ends at {ends}: events are missing"
            );
            return Some(fault(detail).at_version(ends.next()));
        }
        let detail = || format!("the read model is at version {known}, and passed {}", self.due);
        (known < self.due).then(|| fault(detail()).at_version(known.next()))
    }

    /// The faults that the stream is in quarantine without need, since another event, or not at all though it has to
    /// be.
    fn quarantine_faults(&self) -> Vec<Fault> {
        let stream = &self.replay.stream;
        let failed = self.failed.filter(|at| self.model.is_some_and(|model| *at <= model));
        let wrong = match (self.set_aside, failed) {
            (Some(_), None) => Some("its events can be applied: retry it"),
            (Some(first), Some(_)) if self.refused != Some(first) => {
                Some("it was set aside with another event")
            }
            (None, Some(_)) => Some("the read model passed an event of it that cannot be applied"),
            _ => None,
        };
        wrong.map(|what| models::quarantine_fault(stream, what)).into_iter().collect()
    }

    fn ahead(&self) -> Vec<(&'static str, Position)> {
        let model = self.model.filter(|model| self.known_at > *model && self.set_aside.is_none());
        let model = model.map(|_| (ENTITIES, self.known_at));
        let queued = self.stored.queue_row.as_ref().map(|row| row.position);
        let queue =
            queued.zip(self.queue).filter(|(at, queue)| at > queue && *at <= self.bounds.head);
        model.into_iter().chain(queue.map(|(at, _)| (QUEUE, at))).collect()
    }
}
