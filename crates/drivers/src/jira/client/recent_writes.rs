//! Memory of what this process wrote a moment ago, because searches and reads lag behind writes.
//!
//! Invariant: a read that shows an object as it was before a write of ours, within the lag, is no observation. The memory
//! only delays an observation; losing it is safe, because the engine observes again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// Entries at most; beyond, the oldest half is forgotten.
const ENTRIES_MAX: usize = 20_000;

#[derive(Clone, Copy, Default)]
struct Entry {
    /// Digest of the row as it was read last; `None` = it was not read.
    seen: Option<u64>,
    /// When it was written last, by the steady clock; `None` = not by this process.
    written: Option<Duration>,
    /// When the entry was used last.
    used: Duration,
}

/// What was read and written, by an object's kind and id, or by its owner key.
#[derive(Default)]
pub(in crate::jira) struct RecentWrites(Mutex<HashMap<String, Entry>>);

impl RecentWrites {
    /// Records a write to `object` at `now`.
    pub(in crate::jira) fn record_write(&self, object: &str, now: Duration) {
        self.with(object, now, |entry| entry.written = Some(now));
    }

    /// Whether `object` was written less than `lag` ago.
    pub(in crate::jira) fn is_recent(&self, object: &str, lag: Duration, now: Duration) -> bool {
        self.with(object, now, |entry| within(entry.written, lag, now))
    }

    /// Whether `row` shows `object` as it was before a write less than `lag` ago. A row that is not stale is remembered.
    pub(in crate::jira) fn is_stale(
        &self,
        object: &str,
        row: &Value,
        lag: Duration,
        now: Duration,
    ) -> bool {
        let mut digest = DefaultHasher::new();
        row.to_string().hash(&mut digest);
        let digest = Some(digest.finish());
        self.with(object, now, |entry| {
            // A row that was not read before the write may show either state.
            let unchanged = entry.seen.is_none() || entry.seen == digest;
            let stale = unchanged && within(entry.written, lag, now);
            if !stale {
                entry.seen = digest;
                entry.written = None;
            }
            stale
        })
    }

    fn with<T>(&self, object: &str, now: Duration, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX && !entries.contains_key(object) {
            let mut used: Vec<_> = entries.values().map(|entry| entry.used).collect();
            used.sort_unstable();
            let half = used[used.len() / 2];
            entries.retain(|_, entry| entry.used > half);
        }
        let entry = entries.entry(object.to_owned()).or_default();
        entry.used = now;
        change(entry)
    }
}

fn within(written: Option<Duration>, lag: Duration, now: Duration) -> bool {
    written.is_some_and(|written| now.saturating_sub(written) < lag)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_of_before_a_write_is_stale_until_the_lag_is_over() {
        let (recent, lag) = (RecentWrites::default(), Duration::from_secs(2));
        let at = Duration::from_millis;
        let (old, new) = (json!({"summary": "a"}), json!({"summary": "b"}));
        assert!(!recent.is_stale("1", &old, lag, at(0)));
        recent.record_write("1", at(100));
        assert!(recent.is_stale("1", &old, lag, at(2_099)));
        assert!(!recent.is_stale("2", &old, lag, at(200)), "another object");
        assert!(!recent.is_stale("1", &new, lag, at(200)), "it shows the write");
        assert!(!recent.is_stale("1", &new, lag, at(300)));
        recent.record_write("1", at(400));
        assert!(!recent.is_stale("1", &new, lag, at(2_400)), "a write without effect");
        recent.record_write("3", at(0));
        assert!(recent.is_stale("3", &new, lag, at(1)), "nothing to compare with");
    }

    #[test]
    fn the_memory_is_bounded() {
        let recent = RecentWrites::default();
        for number in 0..=ENTRIES_MAX {
            recent.record_write(&number.to_string(), Duration::from_millis(number as u64));
        }
        assert!(recent.0.lock().unwrap().len() <= ENTRIES_MAX);
        let now = Duration::from_millis(ENTRIES_MAX as u64);
        assert!(recent.is_recent(&ENTRIES_MAX.to_string(), Duration::from_secs(1), now));
    }
}
