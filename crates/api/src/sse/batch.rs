//! Events that were read together, rendered once, however many watch and whatever they want of them.

use std::sync::{Mutex, PoisonError};

use actix_web::web::{Bytes, BytesMut};
use stateward_domain::envelope::Recorded;
use stateward_domain::id::{Namespace, Position};

use super::Filter;
use crate::dto::event::EventView;

/// Filters whose selection is kept with a batch. Most watchers want the same; whoever is one of few is served from
/// the frames.
const SELECTIONS_MAX: usize = 4;

/// An event, ready to be sent, with what filters ask of it.
pub(super) struct Frame {
    pub(super) position: Position,
    pub(super) event_type: String,
    pub(super) stream: String,
    pub(super) namespace: Namespace,
    bytes: Bytes,
}

impl Frame {
    /// Renders `event`; `None` for one whose payload is no JSON, which is reported where it is rendered.
    fn new(event: &Recorded) -> Option<Self> {
        Some(Self {
            position: event.position,
            event_type: event.event_type.clone(),
            stream: event.stream.to_string(),
            namespace: event.envelope().namespace,
            bytes: render(event)?,
        })
    }
}

/// `event` as it is sent; `None` for one whose payload is no JSON.
pub(super) fn render(event: &Recorded) -> Option<Bytes> {
    let view = EventView::try_from(event).ok()?;
    let data = serde_json::to_string(&view).ok()?;
    let text = format!("id: {}\nevent: {}\ndata: {data}\n\n", event.position, event.event_type);
    Some(Bytes::from(text))
}

/// Consecutive events of the log.
pub(crate) struct Batch {
    frames: Vec<Frame>,
    /// The batch begins right behind this position.
    after: Position,
    /// Its last event.
    pub(super) last: Position,
    selections: Mutex<Vec<(Filter, Bytes)>>,
}

impl Batch {
    /// The events that follow `after`.
    pub(super) fn new(after: Position, events: &[Recorded]) -> Self {
        let last = events.last().map_or(after, |event| event.position);
        let frames = events.iter().filter_map(Frame::new).collect();
        Self { frames, after, last, selections: Mutex::default() }
    }

    /// Bytes that it holds, without those of kept selections, which are at most [`SELECTIONS_MAX`] times as many.
    pub(super) fn size(&self) -> usize {
        self.frames.iter().map(|frame| frame.bytes.len()).sum()
    }

    /// Everything behind `seen` that `filter` lets through: in one piece that is shared by all who want the same, or,
    /// when too many want different things, as pieces that are shared with the batch. No watcher has bytes of its own.
    pub(super) fn selection(&self, filter: &Filter, seen: Position) -> Vec<Bytes> {
        if seen > self.after {
            return self.pieces(filter, seen);
        }
        let mut kept = self.selections.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter().find(|(known, _)| known == filter).map(|(_, bytes)| bytes.clone());
        let bytes = match known {
            Some(bytes) => bytes,
            None if kept.len() < SELECTIONS_MAX => {
                let mut bytes = BytesMut::new();
                self.pieces(filter, seen).iter().for_each(|piece| bytes.extend_from_slice(piece));
                let bytes = bytes.freeze();
                kept.push((filter.clone(), bytes.clone()));
                bytes
            }
            None => return self.pieces(filter, seen),
        };
        if bytes.is_empty() { Vec::new() } else { vec![bytes] }
    }

    fn pieces(&self, filter: &Filter, seen: Position) -> Vec<Bytes> {
        let newer = self.frames.iter().filter(|frame| frame.position > seen);
        newer.filter(|frame| filter.fits_frame(frame)).map(|frame| frame.bytes.clone()).collect()
    }
}
