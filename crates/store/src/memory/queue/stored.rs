//! The rows of the queue as an audit reads them.

use stateward_domain::entity::next_work::QueueRow;
use stateward_domain::id::{EntityId, Position};
use stateward_domain::ports::projection::Quarantined;

use super::MemoryQueue;

/// A part of the queue, of one moment.
pub(in crate::memory) struct StoredQueue {
    pub(in crate::memory) checkpoint: Position,
    pub(in crate::memory) quarantined: Vec<Quarantined>,
    pub(in crate::memory) rows: Vec<QueueRow>,
    /// The last entity of a full page; `None` = there are no more.
    pub(in crate::memory) until: Option<EntityId>,
}

impl MemoryQueue {
    /// Rows of entities behind `after` by id, at most `limit`, as an audit reads them.
    pub(in crate::memory) fn stored(&self, after: Option<EntityId>, limit: usize) -> StoredQueue {
        let state = self.state();
        let rows = if limit == 0 { Vec::new() } else { state.entries.rows_after(after, limit) };
        StoredQueue {
            checkpoint: state.checkpoint,
            quarantined: state.quarantined.values().cloned().collect(),
            until: rows.last().filter(|_| rows.len() == limit).map(|row| row.entity),
            rows,
        }
    }
}
