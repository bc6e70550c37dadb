//! A batch of events on the rows of the entities and operations that it touches.

use std::collections::{BTreeMap, HashMap, HashSet};

use sqlx::SqliteConnection;
use stateward_domain::entity::operations::{self, OperationChange};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::{DecodeError, Recorded, StreamId};
use stateward_domain::failure::Failure;
use stateward_domain::id::{EntityId, OperationId, Version};
use stateward_domain::ports::read_model::{EntityRow, ModelError, OperationRow, OperationState};

use super::tables::Tables;
use super::{IGNORED, rows};

/// What one event means for operations, with what its rows need to know.
struct Step<'a> {
    recorded: &'a Recorded,
    change: OperationChange,
    /// Operations that are open after the event.
    open: Vec<OperationId>,
    /// The entity's last failure after the event.
    error: Option<Failure>,
    /// A row for an operation that it opens.
    row: Option<OperationRow>,
}

/// Brings the rows up to date with `events`; what is in them already changes nothing.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    tables: Tables,
    events: &[&Recorded],
) -> Result<(), ModelError> {
    let events = of_entities(events)?;
    let ids: HashSet<EntityId> = events.iter().map(|(id, _)| *id).collect();
    let mut entities = rows::load_entities(connection, tables, &ids).await?;
    let mut touched = HashSet::new();
    let mut steps = Vec::new();
    for (id, recorded) in events {
        if fold(&mut entities, id, recorded, &mut steps)? {
            touched.insert(id);
        }
    }
    let changed: Vec<&EntityRow> = touched.iter().filter_map(|id| entities.get(id)).collect();
    rows::save_entities(connection, tables, &changed).await?;
    let mentioned: HashSet<OperationId> = steps.iter().flat_map(mentioned).collect();
    let mut operations = rows::load_operations(connection, tables, &mentioned).await?;
    for step in steps {
        change(&mut operations, step);
    }
    rows::save_operations(connection, tables, &operations.values().collect::<Vec<_>>()).await
}

/// Events of entities' streams; of the others only known ones may be passed over.
fn of_entities<'a>(events: &[&'a Recorded]) -> Result<Vec<(EntityId, &'a Recorded)>, ModelError> {
    let mut found = Vec::with_capacity(events.len());
    for recorded in events {
        match recorded.stream.entity_id() {
            Some(id) => found.push((id, *recorded)),
            None if IGNORED.contains(&recorded.stream.category.as_str()) => {}
            None => {
                return Err(ModelError::Poisoned {
                    stream: recorded.stream.to_string(),
                    message: format!("events of {} are unknown here", recorded.stream.category),
                    unknown: recorded.stream.category != StreamId::ENTITY,
                });
            }
        }
    }
    Ok(found)
}

/// Folds one event into its entity's row; false when the row had it already.
fn fold<'a>(
    entities: &mut HashMap<EntityId, EntityRow>,
    id: EntityId,
    recorded: &'a Recorded,
    steps: &mut Vec<Step<'a>>,
) -> Result<bool, ModelError> {
    let row = entities.entry(id).or_insert_with(|| EntityRow {
        entity: Entity::default(),
        version: Version(0),
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
    });
    if recorded.version <= row.version {
        return Ok(false);
    }
    if recorded.version != row.version.next() {
        return Err(poisoned(recorded, format!("version {} is missing", row.version.next())));
    }
    let event: EntityEvent = recorded.decode(EntityEvent::known).map_err(|error| {
        let unknown = matches!(error, DecodeError::Unknown { .. });
        ModelError::Poisoned {
            stream: recorded.stream.to_string(),
            message: error.to_string(),
            unknown,
        }
    })?;
    let had_change = row.entity.change().is_some();
    row.entity.evolve(&event);
    row.version = recorded.version;
    row.updated_at = recorded.recorded_at;
    for change in operations::changes(&event, had_change) {
        steps.push(step(recorded, change, &row.entity));
    }
    Ok(true)
}

fn step<'a>(recorded: &'a Recorded, change: OperationChange, entity: &Entity) -> Step<'a> {
    let row = match &change {
        OperationChange::Opened { id, kind } => {
            let envelope = recorded.envelope();
            Some(OperationRow {
                id: *id,
                entity_id: entity.id,
                namespace: entity.manifest.namespace.clone(),
                kind: kind.label(),
                state: OperationState::Pending,
                error: None,
                attempts: 0,
                generation: entity.generation,
                actor: envelope.actor,
                reason: envelope.reason,
                superseded_by: None,
                created_at: entity.operation(*id).map_or(recorded.recorded_at, |open| open.since),
                finished_at: None,
            })
        }
        _ => None,
    };
    Step {
        recorded,
        change,
        open: entity.operations.iter().map(|open| open.id).collect(),
        error: entity.error.clone(),
        row,
    }
}

fn mentioned(step: &Step<'_>) -> Vec<OperationId> {
    match &step.change {
        OperationChange::Opened { id, .. } => vec![*id],
        OperationChange::Running { ids } | OperationChange::Ended { ids, .. } => ids.clone(),
        OperationChange::Tried { .. } => step.open.clone(),
    }
}

fn change(operations: &mut BTreeMap<OperationId, OperationRow>, step: Step<'_>) {
    let mut each = |ids: &[OperationId], change: &dyn Fn(&mut OperationRow)| {
        for id in ids {
            if let Some(row) = operations.get_mut(id).filter(|row| !row.state.is_done()) {
                change(row);
            }
        }
    };
    match &step.change {
        OperationChange::Opened { id, .. } => {
            if let Some(row) = step.row {
                operations.entry(*id).or_insert(row);
            }
        }
        OperationChange::Running { ids } => each(ids, &|row| {
            row.state = OperationState::Running;
            row.attempts += 1;
        }),
        OperationChange::Tried { error } => each(&step.open, &|row| {
            row.state = OperationState::Pending;
            row.error = Some(error.clone());
        }),
        OperationChange::Ended { ids, state, error, by } => each(ids, &|row| {
            row.state = *state;
            row.superseded_by = *by;
            row.finished_at = Some(step.recorded.recorded_at);
            row.error = match state {
                OperationState::Failed => error.clone().or_else(|| step.error.clone()),
                OperationState::Succeeded => None,
                _ => row.error.clone(),
            };
        }),
    }
}

fn poisoned(recorded: &Recorded, message: String) -> ModelError {
    ModelError::Poisoned { stream: recorded.stream.to_string(), message, unknown: false }
}
