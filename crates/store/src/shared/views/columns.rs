//! Columns of the views' tables: the value of each, and the reading of rows back.

use serde::Serialize;
use serde::de::DeserializeOwned;
use stateward_domain::entity::operation::{OperationRow, OperationState};
use stateward_domain::entity::{Entity, State};
use stateward_domain::id::{BackendName, KindName, Version};
use stateward_domain::ports::read_model::{EntityCount, EntityRow};
use stateward_domain::ports::store_error::StoreError;
use stateward_domain::time::Timestamp;

use super::labels_and_counts::{self, CountChange, Group, LabelRow};
use crate::shared::stored_row::{RowValues, StoredRow, signed, unsigned};

impl StoredRow for EntityRow {
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "namespace",
        "kind",
        "name",
        "backend",
        "state",
        "deleted",
        "drifted",
        "blocked",
        "dead",
        "version",
        "created_at",
        "updated_at",
        "labels",
        "data",
    ];

    fn put(&self, to: &mut impl RowValues) {
        let manifest = &self.entity.manifest;
        to.put("id", self.entity.id.to_string())
            .put("namespace", manifest.namespace.0.clone())
            .put("kind", manifest.kind.0.clone())
            .put("name", manifest.name.0.clone())
            .put("backend", manifest.backend.0.clone())
            .put("state", self.entity.state.name())
            .put("deleted", labels_and_counts::is_deleted(self))
            .put("drifted", labels_and_counts::is_drifted(self))
            .put("blocked", labels_and_counts::blocked(self))
            .put("dead", self.entity.is_dead_letter())
            .put("version", signed(self.version.0))
            .put("created_at", self.created_at.0)
            .put("updated_at", self.updated_at.0)
            .put("labels", encode(&manifest.settings.labels))
            .put("data", encode(&self.entity));
    }
}

/// Columns of an entity's row that do not change after its first event: an update leaves them out, so that their
/// indexes are not touched.
pub(crate) const FIXED_OF_ENTITY: &[&str] =
    &["id", "namespace", "kind", "name", "backend", "created_at"];

impl StoredRow for OperationRow {
    const COLUMNS: &'static [&'static str] = &["id", "entity", "namespace", "state", "data"];

    fn put(&self, to: &mut impl RowValues) {
        to.put("id", self.id.to_string())
            .put("entity", self.entity_id.to_string())
            .put("namespace", self.namespace.0.clone())
            .put("state", state_name(self.state))
            .put("data", encode(self));
    }
}

impl StoredRow for LabelRow {
    const COLUMNS: &'static [&'static str] = &["namespace", "key", "value", "id"];

    fn put(&self, to: &mut impl RowValues) {
        to.put("namespace", self.namespace.clone())
            .put("key", self.key.clone())
            .put("value", self.value.clone())
            .put("id", self.id.to_string());
    }
}

impl StoredRow for CountChange<'_> {
    const COLUMNS: &'static [&'static str] =
        &["backend", "kind", "state", "blocked", "dead", "number"];

    fn put(&self, to: &mut impl RowValues) {
        let Group { backend, kind, state, blocked, dead } = self.group;
        to.put("backend", backend.clone())
            .put("kind", kind.clone())
            .put("state", *state)
            .put("blocked", *blocked)
            .put("dead", *dead)
            .put("number", self.by);
    }
}

/// Columns that an [`EntityRow`] is read from, in the order of [`EntityColumns`].
pub(crate) const READ_OF_ENTITY: [&str; 4] = ["data", "version", "created_at", "updated_at"];
/// Their values.
pub(crate) type EntityColumns = (String, i64, i64, i64);

/// Reads a row of `entities` back.
pub(crate) fn entity(columns: EntityColumns) -> Result<EntityRow, StoreError> {
    let (data, version, created_at, updated_at) = columns;
    let entity: Entity = decode("entities", &data)?;
    let version = Version(unsigned(("entities", "version"), entity.id, version)?);
    // Fields that a document lacks have defaults, so the row is checked by a fact that it holds twice.
    if entity.version != version {
        let why = format!("it is of version {}, and its row of {}", entity.version.0, version.0);
        return Err(StoreError::inconsistent(("entities", "data"), entity.id, why));
    }
    let (created_at, updated_at) = (Timestamp(created_at), Timestamp(updated_at));
    Ok(EntityRow { entity, version, created_at, updated_at })
}

/// Reads a row of `operations` back from its column `data`.
pub(crate) fn operation(data: &str) -> Result<OperationRow, StoreError> {
    decode("operations", data)
}

/// Columns that a count is read from, in the order of [`CountColumns`].
pub(crate) const READ_OF_COUNT: &[&str] = <CountChange<'_> as StoredRow>::COLUMNS;
/// Their values.
pub(crate) type CountColumns = (String, String, String, String, bool, i64);

/// Reads a row of `counts` back.
pub(crate) fn count(columns: CountColumns) -> Result<EntityCount, StoreError> {
    let (backend, kind, name, blocked, dead, number) = columns;
    let key = format!("{backend} {kind} {name} {blocked} {dead}");
    let state = State::ALL.into_iter().find(|state| state.name() == name);
    let unknown = || StoreError::inconsistent(("counts", "state"), &key, "there is no such state");
    Ok(EntityCount {
        state: state.ok_or_else(unknown)?,
        count: unsigned(("counts", "number"), &key, number)?,
        backend: BackendName(backend),
        kind: KindName(kind),
        blocked: Some(blocked).filter(|reason| !reason.is_empty()),
        dead,
    })
}

fn decode<T: DeserializeOwned>(table: &str, data: &str) -> Result<T, StoreError> {
    serde_json::from_str(data).map_err(|error| StoreError::inconsistent((table, "data"), "", error))
}

pub(crate) fn encode(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("rows are plain data")
}

/// Name of an operation's state in its column.
pub(crate) const fn state_name(state: OperationState) -> &'static str {
    match state {
        OperationState::Pending => "pending",
        OperationState::Running => "running",
        OperationState::Succeeded => "succeeded",
        OperationState::Failed => "failed",
        OperationState::Superseded => "superseded",
        OperationState::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use stateward_domain::id::EntityId;
    use uuid::Uuid;

    use super::*;
    use crate::shared::stored_row::Value;
    use crate::shared::stored_row::tests::values;

    fn row() -> EntityRow {
        let (id, version) = (EntityId(Uuid::from_u128(7)), Version(3));
        let entity = Entity { id, version, ..Entity::default() };
        EntityRow { entity, version, created_at: Timestamp(-1), updated_at: Timestamp(9) }
    }

    fn number(values: &[Value], place: usize) -> i64 {
        let Value::Number(number) = values[place] else { panic!("{:?}", values[place]) };
        number
    }

    #[test]
    fn an_entity_is_read_as_it_was_written() {
        let values = values(&row());
        let place = |name| EntityRow::COLUMNS.iter().position(|column| *column == name).unwrap();
        let [data, version, created_at, updated_at] = READ_OF_ENTITY.map(place);
        let Value::Text(data) = values[data].clone() else { panic!("no text") };
        let numbers = [version, created_at, updated_at].map(|place| number(&values, place));
        let [version, created_at, updated_at] = numbers;
        assert_eq!(entity((data, version, created_at, updated_at)), Ok(row()));
        for fixed in FIXED_OF_ENTITY {
            place(fixed);
        }
    }

    #[test]
    fn a_value_that_was_never_written_is_named() {
        let data = || encode(&row().entity);
        let id = row().entity.id.to_string();
        for (found, place, key) in [
            (entity((data(), -1, 0, 0)).err(), ("entities", "version"), &*id),
            (entity((data(), 4, 0, 0)).err(), ("entities", "data"), &*id),
            (entity(("3".to_owned(), 1, 0, 0)).err(), ("entities", "data"), ""),
            (operation("[]").err(), ("operations", "data"), ""),
            (count(group("lost", 1)).err(), ("counts", "state"), "b k lost  true"),
            (count(group("ok", -2)).err(), ("counts", "number"), "b k ok  true"),
        ] {
            let Some(StoreError::Inconsistent { table, column, key: row, .. }) = found else {
                panic!("{place:?}: {found:?}");
            };
            assert_eq!(((&*table, &*column), &*row), (place, key));
        }
    }

    fn group(state: &str, number: i64) -> CountColumns {
        ("b".to_owned(), "k".to_owned(), state.to_owned(), String::new(), true, number)
    }
}
