//! Secondary rows of an entity: the labels that lists select by, and the group that it is counted in. Both are
//! functions of its row alone, so that a fresh fold gives the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stateward_domain::entity::State;
use stateward_domain::id::EntityId;
use stateward_domain::ports::read_model::EntityRow;

/// Namespace of label rows that cover all namespaces: no namespace has this name.
pub(super) const EVERYWHERE: &str = "";
/// Value of label rows that match any value: other values begin with `=`.
pub(super) const ANY_VALUE: &str = "";

/// The group that an undeleted entity is counted in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) backend: String,
    pub(super) kind: String,
    pub(super) state: &'static str,
    /// Reason of the condition `blocked`; empty = not blocked.
    pub(super) blocked: &'static str,
    pub(super) dead: bool,
}

/// A row of `labels`: in this namespace (or all) this label has this value (or any).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LabelRow {
    pub(super) namespace: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) id: EntityId,
}

/// Secondary rows of one entity; none for one that is deleted or does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LabelsAndGroup {
    group: Option<Group>,
    labels: BTreeMap<String, String>,
}

impl LabelsAndGroup {
    pub(super) fn of(row: &EntityRow) -> Self {
        if is_deleted(row) {
            return Self::default();
        }
        let manifest = &row.entity.manifest;
        let group = Group {
            backend: manifest.backend.0.clone(),
            kind: manifest.kind.0.clone(),
            state: row.entity.state.name(),
            blocked: blocked(row),
            dead: row.entity.is_dead_letter(),
        };
        Self { group: Some(group), labels: manifest.settings.labels.clone() }
    }

    fn rows(&self, of: &EntityRow) -> BTreeSet<LabelRow> {
        let (id, namespace) = (of.entity.id, &*of.entity.manifest.namespace.0);
        let row = |namespace: &str, key: &String, value: String| LabelRow {
            namespace: namespace.to_owned(),
            key: key.clone(),
            value,
            id,
        };
        let places = [EVERYWHERE, namespace];
        let rows = places.into_iter().flat_map(|place| {
            self.labels.iter().flat_map(move |(key, value)| {
                [row(place, key, exact_value(value)), row(place, key, ANY_VALUE.to_owned())]
            })
        });
        rows.collect()
    }
}

/// A value as it is stored in `labels`.
pub(super) fn exact_value(value: &str) -> String {
    format!("={value}")
}

/// Whether the entity is deleted, which is final.
pub(super) fn is_deleted(row: &EntityRow) -> bool {
    row.entity.state == State::Deleted
}

/// Whether it has drifted, as the condition says.
pub(super) fn is_drifted(row: &EntityRow) -> bool {
    row.entity.drift.is_some() || row.entity.lost.is_some()
}

/// Reason of the condition `blocked`; empty = not blocked.
pub(super) fn blocked(row: &EntityRow) -> &'static str {
    row.entity.blocked.as_ref().map_or("", |blocked| blocked.on.reason())
}

/// State before a delivery.
#[derive(Default)]
pub(super) struct BeforeDelivery {
    /// Secondary rows of the entities that have rows.
    pub(super) facts: HashMap<EntityId, LabelsAndGroup>,
    /// Entities that begin in the delivery, and are assumed to have no rows.
    pub(super) begun: HashSet<EntityId>,
}

/// Changes of labels and counts by a delivery.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LabelAndCountChanges {
    pub(super) counts: BTreeMap<Group, i64>,
    pub(super) gone: Vec<LabelRow>,
    pub(super) new: Vec<LabelRow>,
}

impl LabelAndCountChanges {
    /// The changes from `before` to these rows.
    pub(super) fn between(before: &BeforeDelivery, rows: &[&EntityRow]) -> Self {
        let (mut changes, nothing) = (Self::default(), LabelsAndGroup::default());
        for row in rows {
            changes.add(before.facts.get(&row.entity.id).unwrap_or(&nothing), row);
        }
        changes
    }

    fn add(&mut self, before: &LabelsAndGroup, row: &EntityRow) {
        let now = LabelsAndGroup::of(row);
        if before.group != now.group {
            self.count(before.group.as_ref(), -1);
            self.count(now.group.as_ref(), 1);
        }
        if before.labels != now.labels {
            let (before, now) = (before.rows(row), now.rows(row));
            self.gone.extend(before.difference(&now).cloned());
            self.new.extend(now.difference(&before).cloned());
        }
    }

    fn count(&mut self, group: Option<&Group>, by: i64) {
        if let Some(group) = group {
            *self.counts.entry(group.clone()).or_default() += by;
        }
    }
}
