//! Cache of rows that were written recently: most events concern an entity that had one a moment ago.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use stateward_domain::entity::operation::OperationRow;
use stateward_domain::id::{EntityId, OperationId, Position};
use stateward_domain::ports::read_model::EntityRow;

/// Entities kept at most; about 3 KiB each.
const ENTITIES_MAX: usize = 4_096;
/// Operations kept at most that have not ended.
const OPERATIONS_MAX: usize = 8_192;

/// Rows exactly as the tables have them. A delivery takes the rows that it changes out, and puts them back after its
/// commit; after a failure they are read from the tables again.
#[derive(Default)]
pub(crate) struct RowCache {
    /// Checkpoint of the tables when the last rows were put in.
    at: Position,
    entities: HashMap<EntityId, EntityRow>,
    operations: HashMap<OperationId, OperationRow>,
}

impl RowCache {
    /// Clears the cache unless the tables' checkpoint is `at`: else another writer changed them, such as a concurrent
    /// rebuild.
    pub(crate) fn clear_unless_at(&mut self, at: Position) {
        if self.at != at {
            self.clear();
        }
    }

    /// Takes the cached rows of `ids` out, and removes their ids from `ids`.
    pub(crate) fn take_entities(
        &mut self,
        ids: &mut HashSet<EntityId>,
    ) -> HashMap<EntityId, EntityRow> {
        take(&mut self.entities, ids).collect()
    }

    /// As [`take_entities`](Self::take_entities).
    pub(crate) fn take_operations(
        &mut self,
        ids: &mut HashSet<OperationId>,
    ) -> BTreeMap<OperationId, OperationRow> {
        take(&mut self.operations, ids).collect()
    }

    /// Puts rows in that were committed with the checkpoint `at`. Operations that have ended do not change any more.
    pub(crate) fn put(&mut self, at: Position, rows: CachedRows) {
        self.at = at;
        if self.entities.len() + rows.entities.len() > ENTITIES_MAX {
            self.entities.clear();
        }
        let open = rows.operations.into_iter().filter(|(_, row)| !row.state.is_done());
        let open: Vec<_> = open.collect();
        if self.operations.len() + open.len() > OPERATIONS_MAX {
            self.operations.clear();
        }
        self.entities.extend(rows.entities);
        self.operations.extend(open);
    }

    /// Clears the cache: another writer may have changed the tables.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Moves the cached entries out of `rows`, and their ids out of `ids`.
fn take<I: Copy + Eq + Hash, R>(
    rows: &mut HashMap<I, R>,
    ids: &mut HashSet<I>,
) -> impl Iterator<Item = (I, R)> {
    let there: Vec<I> = ids.extract_if(|id| rows.contains_key(id)).collect();
    there.into_iter().filter_map(|id| rows.remove_entry(&id))
}

/// Rows that a delivery read or created.
pub(crate) struct CachedRows {
    pub(crate) entities: HashMap<EntityId, EntityRow>,
    pub(crate) operations: BTreeMap<OperationId, OperationRow>,
}
