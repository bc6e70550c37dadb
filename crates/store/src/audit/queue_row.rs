//! The rows of the sync queue that an entity's events allow. A row is a function of those events but for `due`,
//! `since` and `position`, which also change when another entity wakes it or changes a value that it refers to.

use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::entity::next_work::{QueueRow, Work};
use stateward_domain::id::Position;
use stateward_domain::time::Timestamp;

/// How far behind the newest event that was read a row may have been re-evaluated: the log grows during a
/// verification.
const LOG_GROWTH: Duration = Duration::from_hours(1);

/// Bounds on the columns that other entities may change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// The entity's last event that the queue has applied.
    pub(super) own: Position,
    /// The end of the log.
    pub(super) head: Position,
    /// When its newest event was recorded.
    pub(super) newest: Timestamp,
}

/// The row that `entity` must have; where several are allowed, the one nearest to `stored`. `None` = it must have
/// none.
pub(super) fn nearest_allowed(
    entity: &Entity,
    stored: Option<&QueueRow>,
    bounds: Bounds,
) -> Option<QueueRow> {
    let work = match (entity.work(), stored) {
        (Some(work), Some(stored)) => Some(woken(work, stored)),
        (Some(work), None) => Some(work),
        // It may have to follow a reference whose value changed by then.
        (None, Some(stored)) => {
            let last = bounds.newest.after(LOG_GROWTH);
            let since = stored.since.filter(|since| *since <= last);
            since.and_then(|since| entity.work_of_references(since)).map(|work| woken(work, stored))
        }
        (None, None) => None,
    };
    let row = entity.queue_row(work, bounds.own)?;
    let position = stored.map_or(row.position, |stored| position(&row, stored, bounds));
    Some(QueueRow { position, ..row })
}

/// Another entity may have moved the position of a shared row to any event behind the entity's own last one.
fn position(row: &QueueRow, stored: &QueueRow, bounds: Bounds) -> Position {
    let shared = |row: &QueueRow| row.waits_for.is_some() || !row.dependencies.is_empty();
    let at = stored.position;
    let ours = at.epoch == bounds.head.epoch && at.major == bounds.head.major;
    let later = ours && (bounds.own..=bounds.head).contains(&at);
    if later && (shared(row) || shared(stored)) { at } else { row.position }
}

/// Waiting work may have been woken before its time, never delayed.
fn woken(work: Work, stored: &QueueRow) -> Work {
    let earlier = stored.due.filter(|due| work.waits_for.is_some() && *due < work.due);
    Work { due: earlier.unwrap_or(work.due), ..work }
}

#[cfg(test)]
mod tests {
    use stateward_domain::entity::next_work::{Priority, WaitsFor};

    use super::*;

    const fn at(minor: u64) -> Position {
        Position { epoch: 3, major: 0, minor }
    }

    fn row(due: i64, minor: u64, waits_for: Option<WaitsFor>) -> QueueRow {
        let entity = Entity::default();
        QueueRow {
            entity: entity.id,
            backend: entity.manifest.backend,
            priority: Priority::Retry,
            since: Some(Timestamp(100)),
            due: Some(Timestamp(due)),
            waits_for,
            dependencies: std::collections::BTreeSet::new(),
            position: at(minor),
        }
    }

    #[test]
    fn what_waits_may_be_due_earlier_and_never_later() {
        for (waits_for, stored, due) in [
            (Some(WaitsFor::Backend), 200, 200),
            (Some(WaitsFor::Backend), 501, 500),
            (None, 200, 500),
            (None, 501, 500),
        ] {
            let priority = Priority::Retry;
            let (since, waits) = (Timestamp(100), waits_for.clone());
            let work = Work { due: Timestamp(500), since, priority, waits_for: waits };
            let found = woken(work, &row(stored, 10, waits_for));
            assert_eq!(found.due, Timestamp(due), "{stored}");
        }
    }

    #[test]
    fn only_a_row_that_others_have_a_part_in_has_another_position_than_its_own_event() {
        let bounds = Bounds { own: at(10), head: at(20), newest: Timestamp(1_000) };
        for (shared, stored, found) in [
            (true, at(10), at(10)),
            (true, at(15), at(15)),
            (true, at(20), at(20)),
            (true, at(9), at(10)),
            (true, at(21), at(10)),
            (true, Position { epoch: 4, ..at(15) }, at(10)),
            (true, Position { major: 1, ..at(15) }, at(10)),
            (false, at(15), at(10)),
        ] {
            let waits_for = shared.then_some(WaitsFor::Backend);
            let expected = row(500, 10, waits_for.clone());
            let stored = QueueRow { position: stored, ..row(500, 10, waits_for) };
            assert_eq!(position(&expected, &stored, bounds), found, "{shared} {stored:?}");
        }
    }
}
