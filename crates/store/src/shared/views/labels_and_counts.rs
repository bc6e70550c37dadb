//! Secondary rows of an entity: the labels that lists select by, and the group that it is counted in. Both are
//! functions of its row alone, so that a fresh fold gives the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stateward_domain::entity::State;
use stateward_domain::id::EntityId;
use stateward_domain::ports::read_model::EntityRow;

/// Namespace of label rows that cover all namespaces: no namespace has this name.
pub(crate) const EVERYWHERE: &str = "";
/// Value of label rows that match any value: other values begin with `=`.
pub(crate) const ANY_VALUE: &str = "";

/// The group that an undeleted entity is counted in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    pub(crate) backend: String,
    pub(crate) kind: String,
    pub(crate) state: &'static str,
    /// Reason of the condition `blocked`; empty = not blocked.
    pub(crate) blocked: &'static str,
    pub(crate) dead: bool,
}

/// A row of `labels`: in this namespace (or all) this label has this value (or any).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LabelRow {
    pub(crate) namespace: String,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) id: EntityId,
}

/// A change of the number of entities in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountChange<'a> {
    pub(crate) group: &'a Group,
    pub(crate) by: i64,
}

/// Secondary rows of one entity; none for one that is deleted or does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelsAndGroup {
    group: Option<Group>,
    labels: BTreeMap<String, String>,
}

impl LabelsAndGroup {
    pub(crate) fn of(row: &EntityRow) -> Self {
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

    /// The group that it is counted in; `None` = none.
    pub(crate) const fn group(&self) -> Option<&Group> {
        self.group.as_ref()
    }

    /// The rows of its labels; `of` is the entity.
    pub(crate) fn label_rows(&self, of: &EntityRow) -> BTreeSet<LabelRow> {
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
pub(crate) fn exact_value(value: &str) -> String {
    format!("={value}")
}

/// Whether the entity is deleted, which is final.
pub(crate) fn is_deleted(row: &EntityRow) -> bool {
    row.entity.state == State::Deleted
}

/// Whether it has drifted, as the condition says.
pub(crate) fn is_drifted(row: &EntityRow) -> bool {
    row.entity.drift.is_some() || row.entity.lost.is_some()
}

/// Reason of the condition `blocked`; empty = not blocked.
pub(crate) fn blocked(row: &EntityRow) -> &'static str {
    row.entity.blocked.as_ref().map_or("", |blocked| blocked.on.reason())
}

/// State before a delivery.
#[derive(Default)]
pub(crate) struct BeforeDelivery {
    /// Secondary rows of the entities that have rows.
    pub(crate) facts: HashMap<EntityId, LabelsAndGroup>,
    /// Entities that begin in the delivery, and are assumed to have no rows.
    pub(crate) begun: HashSet<EntityId>,
}

/// Changes of labels and counts by a delivery.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LabelAndCountChanges {
    counts: BTreeMap<Group, i64>,
    pub(crate) gone: Vec<LabelRow>,
    pub(crate) new: Vec<LabelRow>,
}

impl LabelAndCountChanges {
    /// The changes from `before` to these rows.
    pub(crate) fn between(before: &BeforeDelivery, rows: &[&EntityRow]) -> Self {
        let (mut changes, nothing) = (Self::default(), LabelsAndGroup::default());
        for row in rows {
            changes.add(before.facts.get(&row.entity.id).unwrap_or(&nothing), row);
        }
        changes
    }

    /// The groups whose numbers change.
    pub(crate) fn counts(&self) -> Vec<CountChange<'_>> {
        let changes = self.counts.iter().map(|(group, by)| CountChange { group, by: *by });
        changes.filter(|change| change.by != 0).collect()
    }

    fn add(&mut self, before: &LabelsAndGroup, row: &EntityRow) {
        let now = LabelsAndGroup::of(row);
        if before.group != now.group {
            self.count(before.group.as_ref(), -1);
            self.count(now.group.as_ref(), 1);
        }
        if before.labels != now.labels {
            let (before, now) = (before.label_rows(row), now.label_rows(row));
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
