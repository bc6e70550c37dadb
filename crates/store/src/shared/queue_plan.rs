//! Rules of the sync queue that need no database: how a delivery's changes are grouped, and when a row may be leased.

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::QueueRow;
use stateward_domain::id::{BackendName, EntityId, Position};
use stateward_domain::ports::sync_queue::QueueChange;
use stateward_domain::time::{Moment, Timestamp};

/// What waiting rows wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WokenBy<'a> {
    /// A change of this entity.
    Entity(EntityId),
    /// A change of the entity with this name.
    Name(&'a ClaimKey),
    /// An event of this backend.
    Backend(&'a BackendName),
}

/// The rows that wait for `by` become due at `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wakeup<'a> {
    pub(crate) by: WokenBy<'a>,
    pub(crate) at: Timestamp,
    /// The event that wakes them.
    pub(crate) position: Position,
}

/// The changes of one delivery, in the order in which they are applied: puts, removals, wake-ups. The executor
/// changes each row at most once in a delivery, and wakes rows of the delivery too.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupedChanges<'a> {
    pub(crate) puts: Vec<&'a QueueRow>,
    pub(crate) removed: Vec<EntityId>,
    pub(crate) wakeups: Vec<Wakeup<'a>>,
}

impl<'a> GroupedChanges<'a> {
    pub(crate) fn of(changes: &'a [QueueChange]) -> Self {
        let mut grouped = Self::default();
        for change in changes {
            let (by, at, position) = match change {
                QueueChange::Put(row) => {
                    grouped.puts.push(row);
                    continue;
                }
                QueueChange::Remove(entity) => {
                    grouped.removed.push(*entity);
                    continue;
                }
                QueueChange::Wake { waited_for, at, position } => {
                    (WokenBy::Entity(*waited_for), at, position)
                }
                QueueChange::WakeNamed { name, at, position } => {
                    (WokenBy::Name(name), at, position)
                }
                QueueChange::WakeBackend { backend, at, position } => {
                    (WokenBy::Backend(backend), at, position)
                }
            };
            grouped.wakeups.push(Wakeup { by, at: *at, position: *position });
        }
        grouped
    }
}

/// When the row may be leased, in steady time; `None` = it has no work. Work that does not wait (`due` is not after
/// `since`) may be leased at once, whatever times were recorded.
pub(crate) fn lease_after(row: &QueueRow, now: Moment) -> Option<Timestamp> {
    let due = row.due?;
    let at = now.steady_of(due);
    let waits = row.since.is_none_or(|since| due > since);
    Some(if waits { at } else { at.min(now.steady) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use stateward_domain::entity::next_work::Priority;
    use uuid::Uuid;

    use super::*;

    fn row(since: Option<i64>, due: Option<i64>) -> QueueRow {
        QueueRow {
            entity: EntityId(Uuid::from_u128(1)),
            backend: BackendName::from("b"),
            priority: Priority::User,
            since: since.map(Timestamp),
            due: due.map(Timestamp),
            waits_for: None,
            dependencies: BTreeSet::new(),
            position: Position::START,
        }
    }

    #[test]
    fn work_that_waits_for_nothing_may_be_leased_at_once_and_a_wait_keeps_its_length() {
        // Log time is 100 ahead of steady time: a wall clock was ahead once.
        let (wall, log, steady) = (Timestamp(500), Timestamp(1_100), Timestamp(1_000));
        let now = Moment { wall, log, steady };
        for (since, due, at) in [
            (None, None, None),
            (Some(5), None, None),
            (Some(1_100), Some(1_100), Some(1_000)),
            (Some(9_000), Some(9_000), Some(1_000)),
            (Some(9_000), Some(8_000), Some(1_000)),
            (Some(700), Some(700), Some(600)),
            (Some(1_100), Some(1_130), Some(1_030)),
            (None, Some(1_130), Some(1_030)),
            (Some(1_100), Some(Timestamp::NEVER.0), Some(Timestamp::NEVER.0)),
        ] {
            let found = lease_after(&row(since, due), now);
            assert_eq!(found, at.map(Timestamp), "{since:?} {due:?}");
        }
    }

    #[test]
    fn changes_are_grouped_and_keep_their_order() {
        let (put, entity) = (row(None, None), EntityId(Uuid::from_u128(7)));
        let (name, backend) = (ClaimKey("name/n/k/a".to_owned()), BackendName::from("b"));
        let (at, position) = (Timestamp(5), Position::START);
        let changes = [
            QueueChange::WakeNamed { name: name.clone(), at, position },
            QueueChange::Put(put.clone()),
            QueueChange::WakeBackend { backend: backend.clone(), at, position },
            QueueChange::Remove(entity),
            QueueChange::Wake { waited_for: entity, at, position },
        ];
        let grouped = GroupedChanges::of(&changes);
        assert_eq!((grouped.puts, grouped.removed), (vec![&put], vec![entity]));
        let by: Vec<_> = grouped.wakeups.iter().map(|wakeup| wakeup.by).collect();
        assert_eq!(by, [WokenBy::Name(&name), WokenBy::Backend(&backend), WokenBy::Entity(entity)]);
    }
}
