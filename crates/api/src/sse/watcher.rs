//! What one watcher is sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, BytesMut};
use futures_util::Stream;
use stateward_domain::id::Position;
use stateward_engine::Engine;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::hub::{Batch, Frame};
use super::{Filter, Hub};
use crate::app::App;

/// A comment so often, that proxies do not take a quiet stream for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events read at a time while catching up.
const PAGE: usize = 200;
/// Bytes that are put together into one piece.
const PIECE_BYTES: usize = 64 * 1024;
const COMMENT: &[u8] = b": still here\n\n";
const RECONNECT: &[u8] = b"retry: 1000\nevent: reconnect\ndata: {}\n\n";

struct Watcher {
    engine: Engine,
    hub: Arc<Hub>,
    frames: Receiver<Batch>,
    filter: Filter,
    /// The last event that was sent or passed over.
    seen: Position,
    /// Still reading what was missed.
    behind: bool,
    waiting: VecDeque<Bytes>,
    ends: bool,
    _place: OwnedSemaphorePermit,
}

/// The events after `after`, as they come; `None` when too many watch.
pub(crate) fn watch(
    app: &App,
    filter: Filter,
    after: Position,
) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + use<>> {
    let hub: &Arc<Hub> = &app.hub;
    let place = Arc::clone(&hub.places).try_acquire_owned().ok()?;
    let watcher = Watcher {
        engine: app.engine.clone(),
        hub: Arc::clone(hub),
        // Before the log is read: what comes in between is then seen twice, and passed over once.
        frames: hub.subscribe(),
        filter,
        seen: after,
        behind: true,
        waiting: VecDeque::from([Bytes::from_static(b": welcome\n\n")]),
        ends: false,
        _place: place,
    };
    Some(futures_util::stream::unfold(watcher, |mut watcher| async {
        let piece = watcher.piece().await?;
        Some((Ok(piece), watcher))
    }))
}

impl Watcher {
    /// The next bytes to send; `None` = the end.
    async fn piece(&mut self) -> Option<Bytes> {
        while self.waiting.is_empty() {
            if self.ends {
                return None;
            }
            if self.behind {
                self.catch_up().await;
            } else {
                self.follow().await;
            }
        }
        let mut piece = BytesMut::new();
        while piece.len() < PIECE_BYTES {
            let Some(bytes) = self.waiting.pop_front() else { break };
            piece.extend_from_slice(&bytes);
        }
        Some(piece.freeze())
    }

    async fn catch_up(&mut self) {
        if let Some(batches) = self.hub.since(self.seen) {
            self.behind = false;
            for batch in &batches {
                self.take(batch);
            }
            return;
        }
        let Ok(events) = self.engine.log().read_log(self.seen, PAGE).await else {
            return self.send_away();
        };
        self.behind = events.len() == PAGE;
        for event in events {
            self.seen = event.position;
            // Most of what was missed is often not wanted: only what is, is rendered.
            if self.filter.fits(&event) {
                self.waiting.extend(Frame::new(event).map(|frame| frame.bytes));
            }
        }
    }

    async fn follow(&mut self) {
        tokio::select! {
            batch = self.frames.recv() => match batch {
                Ok(batch) => self.take(&batch),
                Err(RecvError::Lagged(_)) => return self.send_away(),
                Err(RecvError::Closed) => return self.ends = true,
            },
            () = tokio::time::sleep(HEARTBEAT) => {
                return self.waiting.push_back(Bytes::from_static(COMMENT));
            }
            () = self.engine.stopped() => return self.send_away(),
        }
        // What is there already goes into the same piece.
        while self.waiting.len() < PAGE {
            match self.frames.try_recv() {
                Ok(batch) => self.take(&batch),
                Err(TryRecvError::Lagged(_)) => return self.send_away(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn take(&mut self, batch: &[Frame]) {
        for frame in batch.iter().filter(|frame| frame.event.position > self.seen) {
            if self.filter.fits(&frame.event) {
                self.waiting.push_back(frame.bytes.clone());
            }
        }
        let last = batch.last().map_or(self.seen, |frame| frame.event.position);
        self.seen = self.seen.max(last);
    }

    /// Too slow, or the server ends: the watcher comes back with the last position that it saw.
    fn send_away(&mut self) {
        self.waiting.push_back(Bytes::from_static(RECONNECT));
        self.ends = true;
    }
}
