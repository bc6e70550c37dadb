//! The newest events that a process has seen, by which it finds out whether a database that it met again still has them.
//!
//! Invariant: the newest event and all that were seen in the minute before it are in here, up to a bound. Commit order is
//! not position order: an older event can be lost where the newest one survived.

use std::collections::BTreeMap;

use stateward_domain::envelope::Recorded;
use stateward_domain::time::Timestamp;
use uuid::Uuid;

use crate::hash::Hash;

/// Time that is remembered, in microseconds.
const SPAN: i64 = 60_000_000;
/// Events that are remembered, at most.
const EVENTS_MAX: usize = 32_768;

/// An event as it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenEvent {
    pub(super) position: u64,
    pub(super) id: Uuid,
    pub(super) hash: Hash,
    pub(super) recorded_at: Timestamp,
}

impl SeenEvent {
    pub(super) const fn of(event: &Recorded) -> Self {
        Self {
            position: event.position.minor,
            id: event.id.0,
            hash: event.hash,
            recorded_at: event.recorded_at,
        }
    }
}

/// What a comparison found missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LostEvents {
    /// Number of remembered events that are gone.
    pub(super) count: u64,
    /// Whether more than a minute may be gone.
    pub(super) over_a_minute: bool,
}

/// The newest events by position, and one from before the minute, if there was one.
#[derive(Debug, Default)]
pub(super) struct Tail {
    events: BTreeMap<u64, SeenEvent>,
    newest: i64,
    /// Whether the bound dropped an event of the last minute.
    cut: bool,
}

impl Tail {
    pub(super) fn remember(&mut self, event: SeenEvent) {
        self.newest = self.newest.max(event.recorded_at.0);
        self.events.insert(event.position, event);
        loop {
            let mut oldest = self.events.values();
            let (Some(first), Some(second)) = (oldest.next(), oldest.next()) else { return };
            let (first, aged) = (first.position, self.is_aged(second));
            if !aged && self.events.len() <= EVENTS_MAX {
                return;
            }
            self.cut = !aged;
            self.events.remove(&first);
        }
    }

    fn is_aged(&self, event: &SeenEvent) -> bool {
        event.recorded_at.0 < self.newest.saturating_sub(SPAN)
    }

    /// All remembered events, by position.
    pub(super) fn events(&self) -> Vec<SeenEvent> {
        self.events.values().copied().collect()
    }

    /// What it means that these positions are gone; `None` = all is there.
    pub(super) fn lost(&self, gone: &[u64]) -> Option<LostEvents> {
        let gone: Vec<_> = gone.iter().filter_map(|position| self.events.get(position)).collect();
        let first = self.events.values().next();
        let cut = self.cut && first.is_some_and(|first| gone.contains(&first));
        let over_a_minute = cut || gone.iter().any(|event| self.is_aged(event));
        (!gone.is_empty()).then_some(LostEvents { count: gone.len() as u64, over_a_minute })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn seen(position: u64, seconds: i64) -> SeenEvent {
        SeenEvent {
            position,
            id: Uuid::from_u128(position.into()),
            hash: [0; 32],
            recorded_at: Timestamp(seconds * SECOND),
        }
    }

    fn tail(events: &[(u64, i64)]) -> Tail {
        let mut tail = Tail::default();
        for (position, seconds) in events {
            tail.remember(seen(*position, *seconds));
        }
        tail
    }

    #[test]
    fn a_minute_before_the_newest_event_is_remembered_and_one_event_before_that() {
        let positions =
            |tail: &Tail| tail.events().iter().map(|seen| seen.position).collect::<Vec<_>>();
        assert_eq!(positions(&tail(&[(1, 0), (2, 10), (3, 60), (4, 65)])), [1, 2, 3, 4]);
        assert_eq!(positions(&tail(&[(1, 0), (2, 10), (3, 60), (4, 100)])), [2, 3, 4]);
        // An event that became visible later has its place.
        assert_eq!(positions(&tail(&[(1, 0), (4, 50), (3, 49)])), [1, 3, 4]);
        let many: Vec<_> = (1..=EVENTS_MAX as u64 + 5).map(|position| (position, 0)).collect();
        assert_eq!(tail(&many).events().len(), EVENTS_MAX);
    }

    #[test]
    fn what_is_gone_is_counted_and_measured() {
        let all = tail(&[(1, 0), (2, 100), (3, 130), (4, 150)]);
        for (gone, expected) in [
            (&[][..], None),
            (&[9], None),
            (&[4], Some((1, false))),
            (&[2], Some((1, false))),
            (&[2, 3, 4], Some((3, false))),
            (&[1, 2, 3, 4], Some((4, true))),
        ] {
            let lost = all.lost(gone).map(|lost| (lost.count, lost.over_a_minute));
            assert_eq!(lost, expected, "{gone:?}");
        }
        let many: Vec<_> = (1..=EVENTS_MAX as u64 + 5).map(|position| (position, 0)).collect();
        assert!(tail(&many).lost(&[6]).unwrap().over_a_minute, "the bound hides how much");
        assert!(!tail(&many).lost(&[7]).unwrap().over_a_minute);
    }
}
