//! The newest events in memory: readers that follow the log closely do not read the file.

use std::collections::{HashMap, VecDeque};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::Version;
use stateward_domain::ports::event_store::page_length;

/// Events kept, at most; several deliveries.
const EVENTS_MAX: usize = 4_096;
/// Bytes of payload and metadata kept at most.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The newest events. The writer adds them after each commit, before it publishes the new head.
#[derive(Default)]
pub(crate) struct LogCache {
    inner: RwLock<CachedEvents>,
}

#[derive(Default)]
struct CachedEvents {
    /// With consecutive positions.
    events: VecDeque<Recorded>,
    bytes: usize,
    /// Newest version among `events` for each of their streams.
    versions: HashMap<StreamId, Version>,
}

impl LogCache {
    /// Adds committed events.
    pub(crate) fn extend(&self, committed: Vec<Recorded>) {
        let mut inner = self.write();
        for event in committed {
            let last = inner.events.back().map(|last| last.position.minor);
            if last.is_some_and(|last| last + 1 != event.position.minor) {
                *inner = CachedEvents::default();
            }
            inner.bytes += event.size();
            inner.versions.insert(event.stream.clone(), event.version);
            inner.events.push_back(event);
        }
        while inner.events.len() > EVENTS_MAX || inner.bytes > BYTES_MAX {
            let Some(oldest) = inner.events.pop_front() else { return };
            inner.bytes -= oldest.size();
            if inner.versions.get(&oldest.stream) == Some(&oldest.version) {
                inner.versions.remove(&oldest.stream);
            }
        }
    }

    /// Up to `limit` events behind `after` and not behind `visible`; `None` when the first of them is not cached any
    /// more.
    pub(crate) fn after(&self, after: u64, visible: u64, limit: usize) -> Option<Vec<Recorded>> {
        if after >= visible {
            return Some(Vec::new());
        }
        let inner = self.read();
        let first = inner.events.front()?.position.minor;
        let skipped = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        let count = usize::try_from(visible - after).unwrap_or(usize::MAX).min(limit);
        let events = inner.events.iter().skip(skipped).take(count);
        let length = page_length(events.clone().map(Recorded::size));
        Some(events.take(length).cloned().collect())
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
