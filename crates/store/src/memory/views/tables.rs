//! Rows of one instance of the read models, with an ordered index for every range that a plan may ask for.
//!
//! Invariant: the indexes have exactly the branches that [`Listed::branches`] derives from the rows, and the counts
//! are those of the rows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_set};
use std::hash::Hash;
use std::iter;
use std::ops::Bound::{Excluded, Included, Unbounded};

use stateward_domain::entity::operation::OperationRow;
use stateward_domain::id::{EntityId, OperationId};
use stateward_domain::ports::projection::ModelError;
use stateward_domain::ports::read_model::EntityRow;
use uuid::Uuid;

use crate::shared::views::columns::state_name;
use crate::shared::views::fold::RowStore;
use crate::shared::views::index::{Column, Index};
use crate::shared::views::labels_and_counts::{
    BeforeDelivery, Group, LabelAndCountChanges, LabelRow, LabelsAndGroup, is_deleted,
};
use crate::shared::views::page::IdRange;
use crate::shared::views::plan::{Branch, Condition, EntityAccessPath, OperationAccessPath, Plan};

/// A row that lists show.
pub(crate) trait Listed: Clone {
    /// What its lists are read from.
    type Source: Clone + Eq + Hash;
    /// Whether its lists are newest first.
    const BACKWARDS: bool;

    fn id(&self) -> Uuid;

    /// Every branch that has the row.
    fn branches(&self) -> Vec<Branch<Self::Source>>;

    fn fits(&self, condition: &Condition) -> bool;
}

impl Listed for EntityRow {
    type Source = EntityAccessPath;
    const BACKWARDS: bool = false;

    fn id(&self) -> Uuid {
        self.entity.id.0
    }

    fn branches(&self) -> Vec<Branch<EntityAccessPath>> {
        let deleted = is_deleted(self);
        let value = |column: Column| Some((column, column.of_entity(self)?.to_owned()));
        let entries = Index::ALL.into_iter().filter(|index| index.has(self)).map(|index| Branch {
            source: EntityAccessPath::Index { index, deleted },
            equal: index.columns().filter_map(value).collect(),
        });
        let label = |LabelRow { namespace, key, value, .. }| Branch {
            source: EntityAccessPath::Labels,
            equal: vec![(Column::Namespace, namespace), (Column::Key, key), (Column::Value, value)],
        };
        let labels = LabelsAndGroup::of(self).label_rows(self).into_iter().map(label);
        entries.chain(labels).collect()
    }

    fn fits(&self, condition: &Condition) -> bool {
        condition.of_entity(self)
    }
}

impl Listed for OperationRow {
    type Source = OperationAccessPath;
    const BACKWARDS: bool = true;

    fn id(&self) -> Uuid {
        self.id.0
    }

    fn branches(&self) -> Vec<Branch<OperationAccessPath>> {
        let by = |source, column, value| Branch { source, equal: vec![(column, value)] };
        let state = state_name(self.state).to_owned();
        vec![
            Branch { source: OperationAccessPath::All, equal: Vec::new() },
            of_entity(self.entity_id),
            by(OperationAccessPath::Namespace, Column::Namespace, self.namespace.0.clone()),
            by(OperationAccessPath::State, Column::State, state),
        ]
    }

    fn fits(&self, condition: &Condition) -> bool {
        condition.of_operation(self)
    }
}

/// The operations of an entity.
fn of_entity(id: EntityId) -> Branch<OperationAccessPath> {
    let equal = vec![(Column::Entity, id.to_string())];
    Branch { source: OperationAccessPath::Entity, equal }
}

/// The next id of a range, which stays in it.
fn first(ids: &btree_set::Range<'_, Uuid>, backwards: bool) -> Option<Uuid> {
    let mut ids = ids.clone();
    if backwards { ids.next_back() } else { ids.next() }.copied()
}

/// A table with its indexes.
pub(crate) struct IndexedTable<R: Listed> {
    rows: BTreeMap<Uuid, R>,
    index: HashMap<Branch<R::Source>, BTreeSet<Uuid>>,
}

impl<R: Listed> Default for IndexedTable<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), index: HashMap::new() }
    }
}

impl<R: Listed> IndexedTable<R> {
    pub(super) fn get(&self, id: Uuid) -> Option<&R> {
        self.rows.get(&id)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.index.is_empty()
    }

    fn put(&mut self, row: R) {
        let id = row.id();
        let before = self.rows.get(&id).map(R::branches).unwrap_or_default();
        let after = row.branches();
        self.leave(id, before.into_iter().filter(|branch| !after.contains(branch)));
        for branch in after {
            self.index.entry(branch).or_default().insert(id);
        }
        self.rows.insert(id, row);
    }

    fn remove(&mut self, id: Uuid) -> Option<R> {
        let row = self.rows.remove(&id)?;
        self.leave(id, row.branches());
        Some(row)
    }

    fn leave(&mut self, id: Uuid, branches: impl IntoIterator<Item = Branch<R::Source>>) {
        for branch in branches {
            if let Some(ids) = self.index.get_mut(&branch) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.index.remove(&branch);
                }
            }
        }
    }

    /// Ids of the plan's ranges, matching or not, in the list's order.
    fn ids(&self, plan: &Plan<R::Source>, range: IdRange) -> impl Iterator<Item = Uuid> {
        let (after, until) =
            (range.after.map_or(Unbounded, Excluded), range.until.map_or(Unbounded, Included));
        let bounds = if R::BACKWARDS { (until, after) } else { (after, until) };
        // An empty range is none that a set can be asked for.
        let empty =
            matches!(bounds, (Excluded(a) | Included(a), Excluded(b) | Included(b)) if a >= b);
        let branches = plan.branches.iter().filter(move |_| !empty);
        let mut ranges: Vec<_> = branches
            .filter_map(|branch| Some(self.index.get(branch)?.range::<Uuid, _>(bounds)))
            .collect();
        iter::from_fn(move || {
            // The branches are disjoint, so one of them has the next id.
            let firsts = ranges.iter().map(|ids| first(ids, R::BACKWARDS)).enumerate();
            let firsts = firsts.filter_map(|(place, id)| Some((id?, place)));
            let (_, place) = if R::BACKWARDS { firsts.max() } else { firsts.min() }?;
            let ids = &mut ranges[place];
            if R::BACKWARDS { ids.next_back() } else { ids.next() }.copied()
        })
    }

    /// Id of the last of `count` rows of the ranges, matching or not; `None` when fewer are left.
    pub(super) fn bound(
        &self,
        plan: &Plan<R::Source>,
        range: IdRange,
        count: usize,
    ) -> Option<Uuid> {
        self.ids(plan, range).nth(count.saturating_sub(1))
    }

    /// The rows in `range` that match, in the list's order, at most `limit`.
    pub(super) fn list(
        &self,
        plan: &Plan<R::Source>,
        range: IdRange,
        limit: usize,
    ) -> Vec<(Uuid, R)> {
        let rows = self.ids(plan, range).filter_map(|id| Some((id, self.rows.get(&id)?)));
        let fits = |(_, row): &(Uuid, &R)| plan.rest.iter().all(|condition| row.fits(condition));
        rows.filter(fits).take(limit).map(|(id, row)| (id, row.clone())).collect()
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Tables {
    pub(super) entities: IndexedTable<EntityRow>,
    pub(super) operations: IndexedTable<OperationRow>,
    counts: BTreeMap<Group, i64>,
}

/// The rows of one entity.
pub(super) struct EntityRows {
    entity: EntityRow,
    operations: Vec<OperationRow>,
}

impl Tables {
    /// Groups with the number of their entities.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&Group, i64)> {
        self.counts.iter().map(|(group, number)| (group, *number))
    }

    /// Entities behind `after` by id, at most `limit`, each with its operations.
    pub(super) fn after(
        &self,
        after: Option<EntityId>,
        limit: usize,
    ) -> Vec<(EntityRow, Vec<OperationRow>)> {
        let after = after.map_or(Unbounded, |id| Excluded(id.0));
        let rows = self.entities.rows.range((after, Unbounded)).take(limit);
        let operations = |row: &EntityRow| {
            let ids = self.operations.index.get(&of_entity(row.entity.id)).into_iter().flatten();
            ids.filter_map(|id| self.operations.get(*id).cloned()).collect()
        };
        rows.map(|(_, row)| (row.clone(), operations(row))).collect()
    }

    /// The counts as they are kept, and as the rows make them.
    pub(super) fn counts_and_those_of_rows(&self) -> (BTreeMap<Group, i64>, BTreeMap<Group, i64>) {
        let mut counts = BTreeMap::new();
        for row in self.entities.rows.values() {
            if let Some(group) = LabelsAndGroup::of(row).group() {
                *counts.entry(group.clone()).or_default() += 1;
            }
        }
        (self.counts.clone(), counts)
    }

    /// Takes the rows of an entity out; `None` = it has none.
    pub(super) fn take(&mut self, id: EntityId) -> Option<EntityRows> {
        let entity = self.entities.remove(id.0)?;
        self.count(LabelsAndGroup::of(&entity).group(), -1);
        let ids = self.operations.index.get(&of_entity(id)).cloned().unwrap_or_default();
        let operations = ids.into_iter().filter_map(|id| self.operations.remove(id)).collect();
        Some(EntityRows { entity, operations })
    }

    /// Puts the rows of an entity that has none.
    pub(super) fn put(&mut self, rows: EntityRows) {
        let EntityRows { entity, operations } = rows;
        self.count(LabelsAndGroup::of(&entity).group(), 1);
        self.entities.put(entity);
        for row in operations {
            self.operations.put(row);
        }
    }

    fn count(&mut self, group: Option<&Group>, by: i64) {
        let Some(group) = group else { return };
        let number = self.counts.entry(group.clone()).or_default();
        *number += by;
        if *number == 0 {
            self.counts.remove(group);
        }
    }
}

impl RowStore for Tables {
    async fn load_entities(
        &mut self,
        ids: &HashSet<EntityId>,
    ) -> Result<HashMap<EntityId, EntityRow>, ModelError> {
        Ok(ids.iter().filter_map(|id| Some((*id, self.entities.get(id.0)?.clone()))).collect())
    }

    async fn load_operations(
        &mut self,
        ids: &HashSet<OperationId>,
    ) -> Result<BTreeMap<OperationId, OperationRow>, ModelError> {
        Ok(ids.iter().filter_map(|id| Some((*id, self.operations.get(id.0)?.clone()))).collect())
    }

    async fn save(
        &mut self,
        before: &BeforeDelivery,
        entities: &[&EntityRow],
        operations: &[&OperationRow],
    ) -> Result<(), ModelError> {
        for change in LabelAndCountChanges::between(before, entities).counts() {
            self.count(Some(change.group), change.by);
        }
        for row in entities {
            self.entities.put((*row).clone());
        }
        for row in operations {
            self.operations.put((*row).clone());
        }
        Ok(())
    }
}
