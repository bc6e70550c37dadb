//! Rows with the versions that they had, so that readers can lag behind writers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Versions older than this are dropped, except for each row's newest such version.
const KEPT: Duration = Duration::from_mins(2);

struct Version<T> {
    since: Instant,
    /// `None` = deleted.
    row: Option<Arc<T>>,
}

/// A multi-version table. Invariant: the versions of a row are ordered by time, the newest last.
pub(crate) struct Table<T> {
    rows: BTreeMap<u64, Vec<Version<T>>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { rows: BTreeMap::new() }
    }
}

impl<T: Clone> Table<T> {
    /// The row as it was at `at`; its first version when it is newer than that; `None` when it was deleted or never
    /// existed.
    pub(crate) fn get(&self, id: u64, at: Instant) -> Option<&T> {
        let versions = self.rows.get(&id)?;
        let seen = versions.iter().rev().find(|version| version.since <= at);
        seen.or_else(|| versions.first())?.row.as_deref()
    }

    /// The rows that existed at `at`, ordered by id.
    pub(crate) fn list(&self, at: Instant) -> impl DoubleEndedIterator<Item = &T> {
        self.rows.values().filter_map(move |versions| {
            versions.iter().rev().find(|version| version.since <= at)?.row.as_deref()
        })
    }

    /// Whether the row existed at `at`: false for a row that was created later.
    pub(crate) fn existed(&self, id: u64, at: Instant) -> bool {
        let versions = self.rows.get(&id).map(Vec::as_slice).unwrap_or_default();
        versions
            .iter()
            .rev()
            .find(|version| version.since <= at)
            .is_some_and(|version| version.row.is_some())
    }

    /// Writes a version of a row.
    pub(crate) fn put(&mut self, id: u64, row: T, now: Instant) {
        self.write(id, Some(Arc::new(row)), now);
    }

    /// Deletes a row; readers in the past still see it.
    pub(crate) fn remove(&mut self, id: u64, now: Instant) {
        if self.rows.contains_key(&id) {
            self.write(id, None, now);
        }
    }

    /// Changes the newest version of a row; returns false if there is none.
    pub(crate) fn change(&mut self, id: u64, now: Instant, change: impl FnOnce(&mut T)) -> bool {
        let Some(mut row) = self.get(id, now).cloned() else { return false };
        change(&mut row);
        self.put(id, row, now);
        true
    }

    fn write(&mut self, id: u64, row: Option<Arc<T>>, now: Instant) {
        let versions = self.rows.entry(id).or_default();
        versions.push(Version { since: now, row });
        let Some(oldest) = now.checked_sub(KEPT) else { return };
        let old = versions.iter().take_while(|version| version.since <= oldest).count();
        versions.drain(..old.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_in_the_past_sees_what_was_written_then() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut table = Table::default();
        table.put(1, "first", at(10));
        table.put(1, "second", at(20));
        assert_eq!(table.get(1, at(19)), Some(&"first"));
        assert_eq!(table.get(1, at(20)), Some(&"second"));
        assert_eq!(table.get(1, at(5)), Some(&"first"), "a new row can be read by its id");
        assert_eq!(table.list(at(5)).count(), 0, "and is in no list yet");
        assert!(!table.existed(1, at(5)));
        table.remove(1, at(30));
        assert_eq!(table.get(1, at(29)), Some(&"second"));
        assert_eq!(table.get(1, at(30)), None);
        assert_eq!(table.list(at(30)).count(), 0);
    }

    #[test]
    fn old_versions_are_dropped() {
        let start = Instant::now();
        let mut table = Table::default();
        for second in 0..1_000 {
            table.put(1, second, start + Duration::from_secs(second));
        }
        assert!(table.rows[&1].len() < 130, "{}", table.rows[&1].len());
    }
}
