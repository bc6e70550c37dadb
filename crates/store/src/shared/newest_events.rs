//! The newest events in memory, in log order: readers that follow the log closely do not query the table.
//!
//! Invariant: every event behind `start` and up to `end` is in here, and every position up to `end` is decided, because
//! `end` is the position of an event that was read in order.

use std::collections::VecDeque;

use stateward_domain::envelope::Recorded;
use stateward_domain::ports::event_store::page_length;

/// Events kept, at most; several deliveries.
pub(super) const EVENTS_MAX: usize = 4_096;
/// Bytes of payload and metadata kept, at most.
pub(super) const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The newest events. Positions are the minor parts of those of one epoch.
#[derive(Default)]
pub(crate) struct NewestEvents {
    start: u64,
    end: u64,
    events: VecDeque<Recorded>,
    bytes: usize,
}

impl NewestEvents {
    /// None yet, of a log that was read up to `end`.
    pub(crate) fn behind(end: u64) -> Self {
        Self { start: end, end, ..Self::default() }
    }

    /// How far the log was read.
    pub(crate) const fn end(&self) -> u64 {
        self.end
    }

    /// Adds the events that follow the end. The oldest are forgotten beyond the bounds; each is passed to `forgotten`.
    pub(crate) fn extend(
        &mut self,
        read: impl IntoIterator<Item = Recorded>,
        mut forgotten: impl FnMut(Recorded),
    ) {
        for event in read {
            debug_assert!(event.position.minor > self.end, "read in order, once");
            self.end = event.position.minor;
            self.bytes += event.size();
            self.events.push_back(event);
        }
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.size();
            self.start = oldest.position.minor;
            forgotten(oldest);
        }
    }

    /// A page behind `after`; `None` when its first event may be one that is forgotten.
    pub(crate) fn after(&self, after: u64, limit: usize) -> Option<Vec<Recorded>> {
        if after < self.start {
            return None;
        }
        let first = self.events.partition_point(|event| event.position.minor <= after);
        let events = self.events.range(first..).take(limit);
        let length = page_length(events.clone().map(Recorded::size));
        Some(events.take(length).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use stateward_domain::envelope::StreamId;
    use stateward_domain::id::{EventId, Position, Version};
    use stateward_domain::time::Timestamp;

    use super::*;

    fn event(minor: u64, payload: &str) -> Recorded {
        Recorded {
            position: Position { epoch: 1, major: 0, minor },
            stream: StreamId { category: "entity".to_owned(), id: "a".to_owned() },
            version: Version(minor),
            id: EventId(uuid::Uuid::from_u128(minor.into())),
            event_type: "entity.paused".to_owned(),
            schema_version: 1,
            recorded_at: Timestamp(0),
            payload: payload.into(),
            metadata: "{}".into(),
            hash: crate::hash::GENESIS,
        }
    }

    fn minors(events: Option<Vec<Recorded>>) -> Option<Vec<u64>> {
        events.map(|events| events.iter().map(|event| event.position.minor).collect())
    }

    #[test]
    fn a_page_begins_anywhere_behind_the_start_also_between_two_events() {
        let mut newest = NewestEvents::behind(10_000);
        newest.extend([10_240, 10_241, 12_288].map(|minor| event(minor, "{}")), drop);
        assert_eq!(newest.end(), 12_288);
        for (after, limit, expected) in [
            (9_999, 9, None),
            (10_000, 9, Some(vec![10_240, 10_241, 12_288])),
            (10_000, 2, Some(vec![10_240, 10_241])),
            (10_240, 9, Some(vec![10_241, 12_288])),
            (11_000, 9, Some(vec![12_288])),
            (12_288, 9, Some(vec![])),
            (99_999, 9, Some(vec![])),
        ] {
            assert_eq!(minors(newest.after(after, limit)), expected, "{after} {limit}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_bounds() {
        let mut newest = NewestEvents::behind(0);
        let large = "x".repeat(BYTES_MAX / 2);
        newest.extend([event(1, &large), event(2, "{}"), event(3, &large)], drop);
        assert_eq!(minors(newest.after(0, 9)), None);
        assert_eq!(minors(newest.after(1, 9)), Some(vec![2, 3]));
        newest.extend((4..=5_000).map(|minor| event(minor, "{}")), drop);
        let kept = newest.after(5_000 - EVENTS_MAX as u64, usize::MAX);
        assert_eq!(kept.map(|events| events.len()), Some(EVENTS_MAX));
        assert_eq!(newest.after(5_000 - EVENTS_MAX as u64 - 1, 1), None);
    }
}
