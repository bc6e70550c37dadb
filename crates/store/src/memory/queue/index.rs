//! Entities with their rows and leases, and one ordered index over them: each query of the queue is a range of it.
//!
//! Invariant: the index has exactly the keys that [`Entry::keys`] derives from the entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use stateward_domain::entity::claims::ClaimKey;
use stateward_domain::entity::next_work::{QueueRow, WaitsFor};
use stateward_domain::id::{BackendName, EntityId, Position, Version};
use stateward_domain::time::Timestamp;
use uuid::Uuid;

/// End of a lease or snooze that there is none of.
pub(super) const FREE: Timestamp = Timestamp(0);
const FIRST: EntityId = EntityId(Uuid::nil());
const LAST: EntityId = EntityId(Uuid::max());

/// A row, and when it may be leased, in steady time.
#[derive(Clone, Debug)]
pub(super) struct StoredRow {
    pub(super) row: QueueRow,
    pub(super) lease_after: Option<Timestamp>,
}

/// What workers record about an entity. Times are steady time.
#[derive(Clone, Debug)]
pub(super) struct LeaseRow {
    pub(super) backend: BackendName,
    pub(super) worker: Option<String>,
    pub(super) until: Timestamp,
    pub(super) snooze: Timestamp,
    /// The row's position at the lease.
    pub(super) seen: Position,
    pub(super) drift_due: Option<Timestamp>,
    /// Newest confirmation before the last observation.
    pub(super) observed_under: Version,
}

impl LeaseRow {
    pub(super) const fn new(backend: BackendName) -> Self {
        let (worker, drift_due, seen) = (None, None, Position::START);
        let (until, snooze, observed_under) = (FREE, FREE, Version(0));
        Self { backend, worker, until, snooze, seen, drift_due, observed_under }
    }

    /// Ends the lease and the snooze if they are over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        for end in [&mut self.until, &mut self.snooze] {
            if *end <= now {
                *end = FREE;
            }
        }
    }
}

/// The queue's row of an entity, and what workers recorded about it; either may be missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) stored: Option<StoredRow>,
    pub(super) lease: Option<LeaseRow>,
}

/// What an entity is found by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Free work of this priority, by the time from which it may be leased.
    Work(BackendName, u8, Timestamp),
    /// Work under a lease or a snooze, by the time at which it may be leased.
    HeldWork(BackendName, Timestamp),
    /// Free entities without work, by the time of their drift check.
    Check(BackendName, Timestamp),
    /// Leased entities without work, by the time at which their drift check may be leased.
    HeldCheck(BackendName, Timestamp),
    /// Work that nothing else has to wake, leased or not.
    Unblocked(BackendName, Timestamp),
    /// Entities without work and drift timer.
    Untimed(BackendName),
    /// Drift timers by their end; backend of the lease.
    Timer(BackendName, Timestamp),
    /// Snoozes; backend of the lease.
    Snoozed(BackendName),
    /// Leases of entities without a row; backend of the lease.
    Orphan(BackendName),
    /// Work that waits for an entity.
    WaitsForEntity(EntityId),
    /// Work that waits for a name.
    WaitsForName(ClaimKey),
    /// Work that waits for its backend.
    WaitsForBackend(BackendName),
    /// Dependents of a name.
    DependsOn(ClaimKey),
}

impl Key {
    /// The time in it; `None` = it has none.
    pub(super) const fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Work(_, _, at)
            | Self::HeldWork(_, at)
            | Self::Check(_, at)
            | Self::HeldCheck(_, at)
            | Self::Unblocked(_, at)
            | Self::Timer(_, at) => Some(*at),
            Self::Untimed(_)
            | Self::Snoozed(_)
            | Self::Orphan(_)
            | Self::WaitsForEntity(_)
            | Self::WaitsForName(_)
            | Self::WaitsForBackend(_)
            | Self::DependsOn(_) => None,
        }
    }
}

impl Entry {
    fn keys(&self) -> BTreeSet<Key> {
        let mut keys = BTreeSet::new();
        if let Some(lease) = &self.lease {
            let backend = || lease.backend.clone();
            keys.extend(lease.drift_due.map(|at| Key::Timer(backend(), at)));
            keys.extend((lease.snooze > FREE).then(|| Key::Snoozed(backend())));
            keys.extend(self.stored.is_none().then(|| Key::Orphan(backend())));
        }
        if let Some(stored) = &self.stored {
            keys.extend(stored.row.dependencies.iter().cloned().map(Key::DependsOn));
            match stored.lease_after {
                Some(at) => self.keys_of_work(stored, at, &mut keys),
                None => keys.extend(self.key_of_check(stored)),
            }
        }
        keys
    }

    fn keys_of_work(&self, stored: &StoredRow, at: Timestamp, keys: &mut BTreeSet<Key>) {
        let row = &stored.row;
        let backend = || row.backend.clone();
        keys.insert(match &row.waits_for {
            None => Key::Unblocked(backend(), at),
            Some(WaitsFor::Entity(entity)) => Key::WaitsForEntity(*entity),
            Some(WaitsFor::Name(name)) => Key::WaitsForName(name.clone()),
            Some(WaitsFor::Backend) => Key::WaitsForBackend(backend()),
        });
        let held = self.lease.as_ref().map_or(FREE, |lease| {
            // A snooze is void once its row moved on.
            if row.position > lease.seen { lease.until } else { lease.until.max(lease.snooze) }
        });
        keys.insert(if held > FREE {
            Key::HeldWork(backend(), held.max(at))
        } else {
            Key::Work(backend(), row.priority as u8, at)
        });
    }

    fn key_of_check(&self, stored: &StoredRow) -> Option<Key> {
        let backend = stored.row.backend.clone();
        let lease = self.lease.as_ref();
        let Some((lease, at)) = lease.and_then(|lease| Some((lease, lease.drift_due?))) else {
            return Some(Key::Untimed(backend));
        };
        if lease.backend != backend {
            return None;
        }
        let held = lease.until > FREE;
        Some(if held {
            Key::HeldCheck(backend, lease.until.max(at))
        } else {
            Key::Check(backend, at)
        })
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Entries {
    by_id: HashMap<EntityId, Entry>,
    index: BTreeSet<(Key, EntityId)>,
}

impl Entries {
    pub(super) fn get(&self, entity: EntityId) -> Option<&Entry> {
        self.by_id.get(&entity)
    }

    /// Whether the entity is leased at `now`, as one of this backend.
    pub(super) fn is_leased(
        &self,
        entity: EntityId,
        backend: &BackendName,
        now: Timestamp,
    ) -> bool {
        let lease = self.get(entity).and_then(|entry| entry.lease.as_ref());
        lease.is_some_and(|lease| lease.backend == *backend && lease.until > now)
    }

    /// Changes an entry, which may be missing before and after.
    pub(super) fn change<T>(
        &mut self,
        entity: EntityId,
        change: impl FnOnce(&mut Entry) -> T,
    ) -> T {
        let mut entry = self.by_id.remove(&entity).unwrap_or_default();
        let before = entry.keys();
        let result = change(&mut entry);
        let after = entry.keys();
        for gone in before.difference(&after) {
            self.index.remove(&(gone.clone(), entity));
        }
        self.index.extend(after.difference(&before).map(|new| (new.clone(), entity)));
        if entry.stored.is_some() || entry.lease.is_some() {
            self.by_id.insert(entity, entry);
        }
        result
    }

    /// Deletes all rows; leases stay.
    pub(super) fn delete_rows(&mut self) {
        for entity in self.ids() {
            self.change(entity, |entry| entry.stored = None);
        }
    }

    /// Entities from the key `from` up to `to`, in order of the keys.
    pub(super) fn range(&self, from: Key, to: Key) -> impl Iterator<Item = (&Key, EntityId)> {
        let range = self.index.range((from, FIRST)..=(to, LAST));
        range.map(|(key, entity)| (key, *entity))
    }

    /// Entities with this key, in order.
    pub(super) fn at(&self, key: &Key) -> impl Iterator<Item = EntityId> {
        self.range(key.clone(), key.clone()).map(|(_, entity)| entity)
    }

    /// Entities with this key and an id above `after`, in order.
    pub(super) fn at_after(
        &self,
        key: &Key,
        after: Option<EntityId>,
    ) -> impl Iterator<Item = EntityId> {
        use std::ops::Bound::{Excluded, Included};

        let from = (key.clone(), after.unwrap_or(FIRST));
        let from = if after.is_some() { Excluded(from) } else { Included(from) };
        self.index.range((from, Included((key.clone(), LAST)))).map(|(_, entity)| *entity)
    }

    /// The earliest work of each backend that nothing else has to wake: one look-up a backend.
    pub(super) fn oldest_unblocked(&self) -> BTreeMap<BackendName, Timestamp> {
        use std::ops::Bound::{Excluded, Unbounded};

        let mut oldest = BTreeMap::new();
        let key = |backend, at| (Key::Unblocked(backend, Timestamp(at)), LAST);
        let mut from = key(BackendName(String::new()), i64::MIN);
        while let Some((Key::Unblocked(backend, at), _)) =
            self.index.range((Excluded(from), Unbounded)).next()
        {
            oldest.insert(backend.clone(), *at);
            from = key(backend.clone(), i64::MAX);
        }
        oldest
    }

    /// Rows of entities behind `after` by id, at most `limit`. Sorts all of them: only an audit asks for it.
    pub(super) fn rows_after(&self, after: Option<EntityId>, limit: usize) -> Vec<QueueRow> {
        let rows = self.by_id.values().filter_map(|entry| Some(&entry.stored.as_ref()?.row));
        let mut rows: Vec<_> =
            rows.filter(|row| after.is_none_or(|after| row.entity > after)).collect();
        rows.sort_unstable_by_key(|row| row.entity);
        rows.into_iter().take(limit).cloned().collect()
    }

    /// All entities.
    pub(super) fn ids(&self) -> Vec<EntityId> {
        self.by_id.keys().copied().collect()
    }
}
