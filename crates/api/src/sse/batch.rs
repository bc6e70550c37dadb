//! Events that were read together. Each is rendered once for all watchers.

use std::sync::{Mutex, PoisonError};

use actix_web::web::{Bytes, BytesMut};
use stateward_domain::envelope::Recorded;
use stateward_domain::id::{Namespace, Position};
use stateward_domain::ports::event_store::LogPage;

use super::Filter;
use crate::dto::event::EventView;

/// Filters whose result is cached with a batch. Most watchers have the same filter; others are served from the frames.
const SELECTIONS_MAX: usize = 4;

/// Bytes sent to a watcher at a time: the most that one that does not read can hold.
pub(super) const PIECE_BYTES: usize = 64 * 1024;

/// A rendered event, with the values that filters compare.
pub(super) struct Frame {
    pub(super) position: Position,
    pub(super) event_type: String,
    pub(super) stream: String,
    pub(super) namespace: Namespace,
    bytes: Bytes,
}

impl Frame {
    /// Renders `event`; `None` if its payload is no JSON, which is logged there.
    fn new(event: &Recorded) -> Option<Self> {
        Some(Self {
            position: event.position,
            event_type: event.event_type.clone(),
            stream: event.stream.to_string(),
            namespace: event.envelope().namespace,
            bytes: render(event)?,
        })
    }

    /// As [`Filter::fits`], for the rendered event.
    fn fits(&self, filter: &Filter) -> bool {
        filter.wants(&self.event_type, || self.stream.clone())
            && filter.may_see(|| self.namespace.clone())
    }
}

/// The text of `event` in the stream; `None` if its payload is no JSON.
pub(super) fn render(event: &Recorded) -> Option<Bytes> {
    let view = EventView::try_from(event).ok()?;
    let data = serde_json::to_string(&view).ok()?;
    let text = format!("id: {}\nevent: {}\ndata: {data}\n\n", event.position, event.event_type);
    Some(Bytes::from(text))
}

/// Consecutive events of the log.
pub(crate) struct Batch {
    frames: Vec<Frame>,
    /// The position before the first event.
    after: Position,
    /// The position of the last event.
    pub(super) last: Position,
    selections: Mutex<Vec<(Filter, Bytes)>>,
}

impl Batch {
    /// The events that follow `after`.
    pub(super) fn new(after: Position, page: &LogPage) -> Self {
        let last = page.through;
        let frames = page.events.iter().filter_map(Frame::new).collect();
        Self { frames, after, last, selections: Mutex::default() }
    }

    /// Bytes of the frames. Cached results are not included; they take at most [`SELECTIONS_MAX`] times as much.
    pub(super) fn size(&self) -> usize {
        self.frames.iter().map(|frame| frame.bytes.len()).sum()
    }

    /// The next piece for `filter` after `seen`, of which `sent` bytes were sent; `None` = all was sent. Watchers with
    /// equal filters share one text, unless there are too many filters. No watcher holds more than the piece.
    pub(super) fn piece(&self, filter: &Filter, seen: Position, sent: usize) -> Option<Bytes> {
        if let Some(text) = self.shared(filter, seen) {
            return (sent < text.len())
                .then(|| text.slice(sent..text.len().min(sent + PIECE_BYTES)));
        }
        let (mut skipped, mut piece) = (sent, BytesMut::new());
        for frame in self.wanted(filter, seen) {
            let rest = frame.bytes.get(skipped..).unwrap_or_default();
            skipped = skipped.saturating_sub(frame.bytes.len());
            let room = PIECE_BYTES - piece.len();
            piece.extend_from_slice(&rest[..rest.len().min(room)]);
            if piece.len() == PIECE_BYTES {
                break;
            }
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }

    /// All events that match `filter`, as one shared text; `None` for a watcher that has seen a part of the batch, and
    /// if there are too many filters.
    fn shared(&self, filter: &Filter, seen: Position) -> Option<Bytes> {
        if seen > self.after {
            return None;
        }
        let mut kept = self.selections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = kept.iter().find(|(known, _)| known == filter) {
            return Some(text.clone());
        }
        if kept.len() >= SELECTIONS_MAX {
            return None;
        }
        let mut text = BytesMut::new();
        self.wanted(filter, seen).for_each(|frame| text.extend_from_slice(&frame.bytes));
        let text = text.freeze();
        kept.push((filter.clone(), text.clone()));
        Some(text)
    }

    fn wanted(&self, filter: &Filter, seen: Position) -> impl Iterator<Item = &Frame> {
        let newer = self.frames.iter().filter(move |frame| frame.position > seen);
        newer.filter(|frame| frame.fits(filter))
    }
}

#[cfg(test)]
mod tests {
    use stateward_domain::envelope::StreamId;
    use stateward_domain::id::{EventId, Version};
    use stateward_domain::time::Timestamp;

    use super::*;

    fn event(minor: u64, bytes: usize) -> Recorded {
        Recorded {
            position: Position { epoch: 1, major: 0, minor },
            stream: StreamId::access(),
            version: Version(minor),
            id: EventId::default(),
            event_type: format!("type.{}", minor % 2),
            schema_version: 1,
            recorded_at: Timestamp(5),
            payload: format!("{{\"a\":{{\"b\":\"{}\"}}}}", "x".repeat(bytes)).into(),
            metadata: "{}".into(),
            hash: [0; 32],
        }
    }

    #[test]
    fn pieces_are_small_and_make_up_what_is_wanted_whatever_others_watch() {
        let events: Vec<_> = (1..=20).map(|minor| event(minor, 1 << minor)).collect();
        let batch = Batch::new(Position::START, &LogPage::of(Position::START, events.clone()));
        for number in 0..SELECTIONS_MAX + 2 {
            // All filters differ, so that some of them are not cached.
            let filter = Filter::of_types(&["type.1", &format!("none.{number}")]);
            for seen in [Position::START, events[6].position] {
                let (mut text, mut sent) = (Vec::new(), 0);
                while let Some(piece) = batch.piece(&filter, seen, sent) {
                    assert!(piece.len() <= PIECE_BYTES);
                    sent += piece.len();
                    text.extend_from_slice(&piece);
                }
                let wanted = events.iter().filter(|event| event.position > seen);
                let wanted = wanted.filter(|event| event.event_type == "type.1");
                let whole: Vec<u8> =
                    wanted.flat_map(|event| render(event).expect("JSON")).collect();
                assert!(text == whole, "{number}: {} of {} bytes", text.len(), whole.len());
            }
        }
    }
}
