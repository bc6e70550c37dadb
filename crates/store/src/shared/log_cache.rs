//! The newest events in memory: readers that follow the log closely do not read the file.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::Version;

use super::newest_events::NewestEvents;

/// The newest events. The writer adds them after each commit, before it publishes the new head.
#[derive(Default)]
pub(crate) struct LogCache {
    inner: RwLock<CachedEvents>,
}

#[derive(Default)]
struct CachedEvents {
    /// With consecutive positions.
    newest: NewestEvents,
    /// Newest version among them for each of their streams.
    versions: HashMap<StreamId, Version>,
}

impl LogCache {
    /// Adds committed events.
    pub(crate) fn extend(&self, committed: Vec<Recorded>) {
        let mut inner = self.write();
        let CachedEvents { newest, versions } = &mut *inner;
        for event in committed {
            let before = event.position.minor.saturating_sub(1);
            if newest.end() != before {
                *newest = NewestEvents::behind(before);
                versions.clear();
            }
            versions.insert(event.stream.clone(), event.version);
            newest.extend([event], |oldest| {
                if versions.get(&oldest.stream) == Some(&oldest.version) {
                    versions.remove(&oldest.stream);
                }
            });
        }
    }

    /// Up to `limit` events behind `after` and not behind `visible`; `None` when the first of them is not cached any
    /// more.
    pub(crate) fn after(&self, after: u64, visible: u64, limit: usize) -> Option<Vec<Recorded>> {
        if after >= visible {
            return Some(Vec::new());
        }
        let count = usize::try_from(visible - after).unwrap_or(usize::MAX).min(limit);
        // An empty page would say that nothing follows, and something does.
        self.read().newest.after(after, count).filter(|page| count == 0 || !page.is_empty())
    }

    /// Version of the stream's newest event; `None` = it is not cached.
    pub(crate) fn version(&self, stream: &StreamId) -> Option<Version> {
        self.read().versions.get(stream).copied()
    }

    fn read(&self) -> RwLockReadGuard<'_, CachedEvents> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, CachedEvents> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::newest_events::{BYTES_MAX, EVENTS_MAX};
    use stateward_domain::id::{EventId, Position};
    use stateward_domain::time::Timestamp;

    use super::*;

    fn event(minor: u64, stream: &str, version: u64, payload: &str) -> Recorded {
        Recorded {
            position: Position { epoch: 1, major: 0, minor },
            stream: StreamId { category: "entity".to_owned(), id: stream.to_owned() },
            version: Version(version),
            id: EventId(uuid::Uuid::from_u128(u128::from(minor))),
            event_type: "entity.paused".to_owned(),
            schema_version: 1,
            recorded_at: Timestamp(5),
            payload: payload.into(),
            metadata: "{}".into(),
            hash: crate::hash::GENESIS,
        }
    }

    fn minors(events: Option<Vec<Recorded>>) -> Option<Vec<u64>> {
        events.map(|events| events.iter().map(|event| event.position.minor).collect())
    }

    #[test]
    fn answers_from_where_it_begins_and_shows_nothing_beyond_what_may_be_seen() {
        let cache = LogCache::default();
        assert_eq!(minors(cache.after(0, 5, 10)), None, "it knows nothing yet");
        cache.extend((6..=9).map(|minor| event(minor, "a", minor, "{}")).collect());
        assert_eq!(minors(cache.after(4, 9, 10)), None, "the fifth is not kept");
        assert_eq!(minors(cache.after(5, 9, 10)), Some(vec![6, 7, 8, 9]));
        assert_eq!(minors(cache.after(5, 8, 10)), Some(vec![6, 7, 8]));
        assert_eq!(minors(cache.after(6, 9, 2)), Some(vec![7, 8]));
        assert_eq!(minors(cache.after(9, 9, 10)), Some(vec![]));
    }

    #[test]
    fn forgets_the_oldest_beyond_its_bounds_and_never_names_an_older_version() {
        let cache = LogCache::default();
        let large = "x".repeat(BYTES_MAX / 2);
        cache.extend(vec![event(1, "a", 1, &large), event(2, "b", 1, "{}")]);
        let stream = |id: &str| StreamId { category: "entity".to_owned(), id: id.to_owned() };
        assert_eq!(cache.version(&stream("a")), Some(Version(1)));
        cache.extend(vec![event(3, "b", 2, &large)]);
        assert_eq!(minors(cache.after(0, 3, 10)), None);
        assert_eq!(minors(cache.after(1, 3, 10)), Some(vec![2, 3]));
        cache.extend(vec![event(4, "c", 4, "{}")]);
        assert_eq!(minors(cache.after(1, 4, 10)), Some(vec![2, 3]), "a page is bounded in bytes");
        assert_eq!(cache.version(&stream("a")), None);
        assert_eq!(cache.version(&stream("b")), Some(Version(2)));
        cache.extend((5..=5_000).map(|minor| event(minor, "c", minor, "{}")).collect());
        assert_eq!(cache.version(&stream("b")), None);
        let kept = cache.after(5_000 - EVENTS_MAX as u64, 5_000, usize::MAX);
        assert_eq!(kept.map(|events| events.len()), Some(EVENTS_MAX));
    }
}
