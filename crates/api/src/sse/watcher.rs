//! What one watcher is sent.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::Stream;
use stateward_domain::id::Position;
use stateward_engine::access::AccessChanges;
use tokio::sync::watch;

use super::batch::render;
use super::hub::{NotKept, Place};
use super::{Filter, Hub};
use crate::app::App;
use crate::auth::Caller;

/// A comment so often, that proxies do not take a quiet stream for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events read at a time while catching up.
const PAGE: usize = 200;
const COMMENT: &[u8] = b": still here\n\n";
const RECONNECT: &[u8] = b"retry: 1000\nevent: reconnect\ndata: {}\n\n";

struct Watcher {
    app: App,
    caller: Caller,
    access: AccessChanges,
    filter: Filter,
    moved: watch::Receiver<Position>,
    /// The last event that was sent or passed over.
    seen: Position,
    /// Still reading what was missed.
    behind: bool,
    waiting: VecDeque<Bytes>,
    ends: bool,
    _place: Place,
}

/// The events behind `after`, as they come, as long as the caller's token is valid; `None` when too many watch.
pub(crate) fn watch(
    app: &App,
    caller: Caller,
    filter: Filter,
    after: Position,
) -> Option<impl Stream<Item = Result<Bytes, Infallible>> + use<>> {
    let hub: &Arc<Hub> = &app.hub;
    let place = hub.place(caller.token())?;
    let watcher = Watcher {
        app: app.clone(),
        access: app.engine.access().changes(),
        caller,
        filter,
        // Before the log is read: what comes in between is then seen twice, and passed over once.
        moved: hub.subscribe(),
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
        loop {
            if !self.caller.is_let_in(&self.app) {
                return None;
            }
            if let Some(piece) = self.waiting.pop_front() {
                return Some(piece);
            }
            if self.ends {
                return None;
            }
            if self.behind {
                self.catch_up().await;
            } else {
                self.follow().await;
            }
        }
    }

    /// Takes what was missed from memory if it is still all there, else a page of it from the log.
    async fn catch_up(&mut self) {
        if self.take().is_ok() {
            self.behind = false;
            return;
        }
        let Ok(events) = self.app.engine.log().read_log(self.seen, PAGE).await else {
            return self.send_away();
        };
        self.behind = events.len() == PAGE;
        for event in events {
            self.seen = event.position;
            // Most of what was missed is often not wanted: only what is, is rendered.
            if self.filter.fits(&event) {
                self.waiting.extend(render(&event));
            }
        }
    }

    async fn follow(&mut self) {
        // Before the look: what is handed out after it rings.
        self.moved.mark_unchanged();
        match self.take() {
            Ok(()) if !self.waiting.is_empty() => return,
            // Nothing was handed out since this watcher came, or nobody was seen to watch when it was: then it was in
            // the log already, and read.
            Ok(()) | Err(NotKept::Nothing) => {}
            Err(NotKept::TooOld) => return self.send_away(),
        }
        tokio::select! {
            moved = self.moved.changed() => {
                // An error means that the hub is gone.
                if moved.is_err() {
                    self.send_away();
                }
            }
            // Whether the token is still valid is asked before anything else is sent.
            () = self.access.next() => {}
            () = tokio::time::sleep(HEARTBEAT) => {
                self.waiting.push_back(Bytes::from_static(COMMENT));
            }
            () = self.app.engine.stopped() => self.send_away(),
        }
    }

    /// Takes the next batch of which something is wanted; nothing is waiting afterwards when there is none. One at a
    /// time, so that a watcher that does not read holds little.
    fn take(&mut self) -> Result<(), NotKept> {
        while let Some(batch) = self.app.hub.next(self.seen)? {
            self.waiting.extend(batch.selection(&self.filter, self.seen));
            self.seen = self.seen.max(batch.last);
            if !self.waiting.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Too slow, or the server ends: the watcher comes back with the last position that it saw.
    fn send_away(&mut self) {
        self.waiting.push_back(Bytes::from_static(RECONNECT));
        self.ends = true;
    }
}
