//! Rows of the sync queue that an entity's events allow. Most of a row is a function of them. What is not is when another
//! entity woke or judged it, which leaves its mark on when it is due, since when, and on its position alone.

use stateward_domain::entity::Entity;
use stateward_domain::entity::work::Work;
use stateward_domain::id::Position;
use stateward_domain::ports::sync_queue::QueueRow;
use stateward_domain::time::Timestamp;

/// What may be in a row that other entities have to do with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The entity's last event that the queue has taken.
    pub(super) own: Position,
    /// The end of the log.
    pub(super) head: Position,
    /// When its newest event was recorded.
    pub(super) newest: Timestamp,
}

/// The row that `entity` has to have; where more than one may be, the one that is nearest to `stored`. `None` = it must
/// have none.
pub(super) fn allowed(
    entity: &Entity,
    stored: Option<&QueueRow>,
    bounds: Bounds,
) -> Option<QueueRow> {
    let work = match (entity.work(), stored) {
        (Some(work), Some(stored)) => Some(woken(work, stored)),
        (Some(work), None) => Some(work),
        // It may follow a reference, if what that stands for has changed by then.
        (None, Some(stored)) => {
            let since = stored.since.filter(|since| *since <= bounds.newest);
            since.and_then(|since| entity.work_of_references(since)).map(|work| woken(work, stored))
        }
        (None, None) => None,
    };
    let row = entity.queue_row(work, bounds.own)?;
    let shared = |row: &QueueRow| row.waits_for.is_some() || !row.uses.is_empty();
    let judged_later = |stored: &&QueueRow| {
        let at = stored.position;
        let ours = at.epoch == bounds.head.epoch && at.major == bounds.head.major;
        (shared(&row) || shared(stored)) && ours && (bounds.own..=bounds.head).contains(&at)
    };
    let position = stored.filter(judged_later).map_or(row.position, |stored| stored.position);
    Some(QueueRow { position, ..row })
}

/// Work that waits for something else may have been woken, never put off.
fn woken(work: Work, stored: &QueueRow) -> Work {
    let earlier = stored.due.filter(|due| work.waits_for.is_some() && *due < work.due);
    Work { due: earlier.unwrap_or(work.due), ..work }
}
