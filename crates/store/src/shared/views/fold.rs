//! Folds a batch of events into the rows of the entities and operations that it touches.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use stateward_domain::entity::EntityEvent;
use stateward_domain::entity::operation::{OperationRow, OperationStep};
use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EntityId, OperationId, Version};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::EntityRow;

use super::labels_and_counts::{BeforeDelivery, LabelsAndGroup};
use super::row_cache::{CachedRows, RowCache};

/// How rows of entities are found whose first event is in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApplyMode {
    /// Assume that they have no row: rows and checkpoint commit together, so an entity that begins behind the
    /// checkpoint has none. Where that is wrong (a stream was re-applied before its first delivery), the primary key
    /// rejects the row, and nothing is written.
    Optimistic,
    /// Read them.
    Checked,
}

/// The rows of an instance of the model, in one transaction.
pub(crate) trait RowStore: Send {
    /// The rows of these entities, of those that have one.
    fn load_entities(
        &mut self,
        ids: &HashSet<EntityId>,
    ) -> impl Future<Output = Result<HashMap<EntityId, EntityRow>, ModelError>> + Send;

    /// The rows of these operations, of those that have one.
    fn load_operations(
        &mut self,
        ids: &HashSet<OperationId>,
    ) -> impl Future<Output = Result<BTreeMap<OperationId, OperationRow>, ModelError>> + Send;

    /// Writes these rows, and the labels and counts that follow from them, over the state `before`.
    fn save(
        &mut self,
        before: &BeforeDelivery,
        entities: &[&EntityRow],
        operations: &[&OperationRow],
    ) -> impl Future<Output = Result<(), ModelError>> + Send;
}

/// Updates the rows with `events`; events that are applied already change nothing. Rows that are in `row_cache` are
/// not read. Returns the rows as they are after the commit.
///
/// # Errors
/// [`ModelError::Poisoned`] for the first event that cannot be applied: nothing was saved. Those of `rows`.
pub(crate) async fn apply(
    rows: &mut impl RowStore,
    row_cache: &Mutex<RowCache>,
    events: &[&Recorded],
    mode: ApplyMode,
) -> Result<CachedRows, ModelError> {
    let row_cache = || row_cache.lock().unwrap_or_else(PoisonError::into_inner);
    let events = of_entities(events)?;
    let first = |(id, event): &(EntityId, &Recorded)| {
        (mode == ApplyMode::Optimistic && event.version == Version(1)).then_some(*id)
    };
    let begun: HashSet<EntityId> = events.iter().filter_map(first).collect();
    let mut ids = events.iter().map(|(id, _)| *id).filter(|id| !begun.contains(id)).collect();
    let mut entities = row_cache().take_entities(&mut ids);
    entities.extend(rows.load_entities(&ids).await?);
    let facts = entities.iter().map(|(id, row)| (*id, LabelsAndGroup::of(row))).collect();
    let before = BeforeDelivery { facts, begun };
    let mut touched = HashSet::new();
    let mut steps = Vec::new();
    for (id, recorded) in events {
        if fold(&mut entities, id, recorded, &mut steps)? {
            touched.insert(id);
        }
    }
    let changed: Vec<&EntityRow> = touched.iter().filter_map(|id| entities.get(id)).collect();
    let opened: HashSet<OperationId> = steps.iter().filter_map(OperationStep::opened).collect();
    let mentioned = steps.iter().flat_map(OperationStep::mentioned);
    let mut mentioned = mentioned.filter(|id| !opened.contains(id)).collect();
    let mut operations = row_cache().take_operations(&mut mentioned);
    operations.extend(rows.load_operations(&mentioned).await?);
    for step in steps {
        step.apply(&mut operations);
    }
    let operations_changed: Vec<_> = operations.values().collect();
    rows.save(&before, &changed, &operations_changed).await?;
    Ok(CachedRows { entities, operations })
}

/// The events of entities' streams. Known control streams are skipped; an unknown category is an error.
fn of_entities<'a>(events: &[&'a Recorded]) -> Result<Vec<(EntityId, &'a Recorded)>, ModelError> {
    let mut found = Vec::with_capacity(events.len());
    for recorded in events {
        match recorded.stream.entity_id() {
            Some(id) => found.push((id, *recorded)),
            None if recorded.stream.category == StreamId::ENTITY => {
                return Err(poisoned(recorded, "its id is no entity's".to_owned()));
            }
            None if recorded.stream.is_known() => {}
            None => return Err(ModelError::unknown_category(recorded)),
        }
    }
    Ok(found)
}

/// Folds one event into its entity's row; false when the row has applied it already.
fn fold(
    entities: &mut HashMap<EntityId, EntityRow>,
    id: EntityId,
    recorded: &Recorded,
    steps: &mut Vec<OperationStep>,
) -> Result<bool, ModelError> {
    let row = entities.entry(id).or_insert_with(|| EntityRow::before(recorded));
    if recorded.version <= row.version {
        return Ok(false);
    }
    if recorded.version != row.version.next() {
        return Err(poisoned(recorded, format!("version {} is missing", row.version.next())));
    }
    let event: EntityEvent = recorded.decode(EntityEvent::known).map_err(|error| {
        let stream = recorded.stream.to_string();
        ModelError::Poisoned { stream, message: error.to_string(), unknown: error.unknown() }
    })?;
    steps.extend(row.evolve(recorded, &event));
    Ok(true)
}

fn poisoned(recorded: &Recorded, message: String) -> ModelError {
    ModelError::Poisoned { stream: recorded.stream.to_string(), message, unknown: None }
}
