//! The event stream of one watcher.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::Stream;
use stateward_domain::id::Position;
use stateward_domain::ports::event_store::{PAGE_BYTES_MAX, may_have_more};
use stateward_engine::access::AccessChanges;
use tokio::sync::watch;

use super::Filter;
use super::batch::{PIECE_BYTES, render};
use super::hub::{Hub, NotBuffered, WatcherSlot};
use crate::app_state::AppState;
use crate::auth::Caller;
use crate::fair_semaphore::{FairPermit, units};

/// Interval of comments, which keep proxies from closing a quiet stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events read at a time while catching up.
const PAGE_EVENTS: usize = 200;
const COMMENT: &[u8] = b": still here\n\n";
const RECONNECT: &[u8] = b"retry: 1000\nevent: reconnect\ndata: {}\n\n";

struct Watcher {
    app: AppState,
    caller: Caller,
    access: AccessChanges,
    filter: Filter,
    moved: watch::Receiver<Position>,
    /// The last position that was sent or skipped.
    seen: Position,
    /// Whether missed events are still read from the log.
    behind: bool,
    /// Bytes of the batch after `seen` that were sent already.
    sent: usize,
    /// Events that were read from the log for this watcher alone, and the memory that they take.
    waiting: VecDeque<Bytes>,
    memory: Option<FairPermit>,
    ends: bool,
    _slot: WatcherSlot,
}

/// The events after `after`, until the caller's token becomes invalid; `None` if there are too many watchers.
pub(crate) fn watch(
    app: &AppState,
    caller: Caller,
    filter: Filter,
    after: Position,
) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + use<>> {
    let hub: &Arc<Hub> = &app.hub;
    let slot = hub.acquire_slot(caller.token())?;
    let watcher = Watcher {
        app: app.clone(),
        access: app.engine.access().changes(),
        caller,
        filter,
        // Subscribed before the log is read: events in between are then seen twice, and skipped once.
        moved: hub.subscribe(),
        seen: after,
        behind: true,
        sent: 0,
        waiting: VecDeque::from([Bytes::from_static(b": welcome\n\n")]),
        memory: None,
        ends: false,
        _slot: slot,
    };
    Some(futures_util::stream::unfold(watcher, |mut watcher| async {
        let piece = watcher.next_piece().await?;
        Some((Ok(piece), watcher))
    }))
}

impl Watcher {
    /// The next bytes to send; `None` = the end.
    async fn next_piece(&mut self) -> Option<Bytes> {
        loop {
            if !self.caller.is_still_valid(&self.app.engine) {
                return None;
            }
            if let Some(piece) = self.next_waiting() {
                return Some(piece);
            }
            if self.ends {
                return None;
            }
            if self.behind {
                self.catch_up().await;
            } else if let Some(piece) = self.follow().await {
                return Some(piece);
            }
        }
    }

    fn next_waiting(&mut self) -> Option<Bytes> {
        let Some(mut piece) = self.waiting.pop_front() else {
            self.memory = None;
            return None;
        };
        if piece.len() > PIECE_BYTES {
            self.waiting.push_front(piece.split_off(PIECE_BYTES));
        }
        Some(piece)
    }

    /// Switches to the buffer if it is complete after `seen`; otherwise reads a page of the log, in turn with other
    /// watchers.
    async fn catch_up(&mut self) {
        if self.app.hub.next(self.seen).is_ok() {
            self.behind = false;
            return;
        }
        let limits = Arc::clone(&self.app.limits);
        let memory = tokio::select! {
            memory = limits.catching_up.wait(self.caller.token(), units(PAGE_BYTES_MAX)) => memory,
            () = self.app.engine.stopped() => None,
        };
        let Some(mut memory) = memory else { return self.end_with_reconnect() };
        let Ok(page) = self.app.engine.log().read_log(self.seen, PAGE_EVENTS).await else {
            return self.end_with_reconnect();
        };
        self.behind = may_have_more(&page.events, PAGE_EVENTS);
        self.seen = page.through;
        for event in page.events {
            // Only events that match are rendered, because often most do not.
            if self.filter.fits(&event) {
                self.waiting.extend(render(&event));
            }
        }
        memory.keep(units(self.waiting.iter().map(Bytes::len).sum()));
        self.memory = Some(memory);
    }

    /// The next published piece; `None` after any other event.
    async fn follow(&mut self) -> Option<Bytes> {
        // Before the buffer is read, so that a later publication notifies.
        self.moved.mark_unchanged();
        match self.next_published() {
            Ok(Some(piece)) => return Some(piece),
            // The rest of a batch that was partly sent was dropped. The client comes back with the last complete event.
            Err(_) if self.sent > 0 => {
                self.ends = true;
                return None;
            }
            // Nothing was published since this watcher subscribed, or there was no watcher then: the events were in the
            // log already, and were read there.
            Ok(None) | Err(NotBuffered::Nothing) => {}
            Err(NotBuffered::TooOld) => {
                self.end_with_reconnect();
                return None;
            }
        }
        tokio::select! {
            moved = self.moved.changed() => {
                // An error means that the hub is gone.
                if moved.is_err() {
                    self.end_with_reconnect();
                }
            }
            // The token is checked before anything else is sent.
            () = self.access.next() => {}
            () = tokio::time::sleep(HEARTBEAT) => {
                self.waiting.push_back(Bytes::from_static(COMMENT));
            }
            () = self.app.engine.stopped() => self.end_with_reconnect(),
        }
        None
    }

    /// The next piece of published events that match; `None` if there is none. A watcher keeps only its position, so
    /// that one that does not read holds no more than the piece.
    fn next_published(&mut self) -> Result<Option<Bytes>, NotBuffered> {
        while let Some(batch) = self.app.hub.next(self.seen)? {
            if let Some(piece) = batch.piece(&self.filter, self.seen, self.sent) {
                self.sent += piece.len();
                return Ok(Some(piece));
            }
            self.seen = self.seen.furthest(batch.last);
            self.sent = 0;
        }
        Ok(None)
    }

    /// Ends the stream of a watcher that is too slow, or of a server that stops: the client comes back with its last
    /// position.
    fn end_with_reconnect(&mut self) {
        self.waiting.push_back(Bytes::from_static(RECONNECT));
        self.ends = true;
    }
}
