//! A batch of events on the rows of the entities and operations that it touches.

use std::collections::{HashMap, HashSet};

use sqlx::SqliteConnection;
use stateward_domain::entity::progress::{self, Step};
use stateward_domain::entity::{Entity, EntityEvent};
use stateward_domain::envelope::{DecodeError, Recorded, StreamId};
use stateward_domain::id::{EntityId, OperationId, Version};
use stateward_domain::ports::read_model::{EntityRow, ModelError};

use super::tables::Tables;
use super::{IGNORED, rows};

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
    let mentioned: HashSet<OperationId> = steps.iter().flat_map(Step::mentioned).collect();
    let mut operations = rows::load_operations(connection, tables, &mentioned).await?;
    for step in steps {
        step.apply(&mut operations);
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
fn fold(
    entities: &mut HashMap<EntityId, EntityRow>,
    id: EntityId,
    recorded: &Recorded,
    steps: &mut Vec<Step>,
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
    steps.extend(progress::evolve(&mut row.entity, recorded, &event));
    row.version = recorded.version;
    row.updated_at = recorded.recorded_at;
    Ok(true)
}

fn poisoned(recorded: &Recorded, message: String) -> ModelError {
    ModelError::Poisoned { stream: recorded.stream.to_string(), message, unknown: false }
}
