//! What the tables hold of an entity beside its row: the labels that lists select by, and what it is counted under. Both
//! are functions of the row alone, so that a fresh fold gives the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use stateward_domain::entity::State;
use stateward_domain::id::EntityId;
use stateward_domain::ports::read_model::EntityRow;

/// What stands for every namespace: no namespace has this name.
pub(super) const EVERYWHERE: &str = "";
/// What stands for every value: the others begin with `=`.
pub(super) const ANY_VALUE: &str = "";

/// What living entities are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) backend: String,
    pub(super) kind: String,
    pub(super) state: &'static str,
    /// Reason of the condition; empty = it is not blocked.
    pub(super) blocked: &'static str,
    pub(super) dead: bool,
}

/// What a row of `labels` says: in this namespace (or everywhere) this label has this value (or any).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LabelRow {
    pub(super) namespace: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) id: EntityId,
}

/// What is held of one entity; nothing of one that is deleted or was not there.
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

/// How a value is written in a row of `labels`.
pub(super) fn exact_value(value: &str) -> String {
    format!("={value}")
}

/// Whether its life is over, which is for ever.
pub(super) fn is_deleted(row: &EntityRow) -> bool {
    row.entity.state == State::Deleted
}

/// Whether it differs from what is desired, as the condition says.
pub(super) fn is_drifted(row: &EntityRow) -> bool {
    row.entity.drift.is_some() || row.entity.lost.is_some()
}

/// Reason of the condition `blocked`; empty = it is not.
pub(super) fn blocked(row: &EntityRow) -> &'static str {
    row.entity.blocked.as_ref().map_or("", |blocked| blocked.on.reason())
}

/// What is held of entities before a delivery.
#[derive(Default)]
pub(super) struct BeforeDelivery {
    /// Of those that have rows.
    pub(super) facts: HashMap<EntityId, LabelsAndGroup>,
    /// Those that begin in the delivery, and are taken to have none.
    pub(super) begun: HashSet<EntityId>,
}

/// What a delivery changes in labels and counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LabelAndCountChanges {
    pub(super) counts: BTreeMap<Group, i64>,
    pub(super) gone: Vec<LabelRow>,
    pub(super) new: Vec<LabelRow>,
}

impl LabelAndCountChanges {
    /// What changes between what was `before` and these rows.
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
