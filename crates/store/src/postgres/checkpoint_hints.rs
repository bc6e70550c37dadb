//! Hints that a checkpoint of the queue or of a read model moved in another process: notifications, beside polling.
//!
//! One waiter of a process reads the checkpoint for all that wait for it, when a notification came, else now and then.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stateward_domain::id::Position;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::Instant;

use super::views_db::ViewsDb;
use crate::shared::hints::KnownCheckpoint;

/// Pause between two reads of a checkpoint that is waited for, with and without notifications.
const POLL_LISTENING: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);

/// What a process notifies others of, and what it hears from them.
#[derive(Default)]
pub(super) struct CheckpointHints {
    /// Notified when this process moved a checkpoint.
    pub(super) moved: Notify,
    /// Counts what may be moves by other processes.
    heard: watch::Sender<u64>,
    listening: AtomicBool,
}

impl CheckpointHints {
    /// Another process may have moved a checkpoint.
    pub(super) fn hear(&self) {
        self.heard.send_modify(|heard| *heard += 1);
    }

    /// Whether notifications of other processes arrive.
    pub(super) fn set_listening(&self, listening: bool) {
        self.listening.store(listening, Ordering::Relaxed);
        self.hear();
    }

    fn poll(&self) -> Duration {
        if self.listening.load(Ordering::Relaxed) { POLL_LISTENING } else { POLL }
    }
}

/// The last read of a checkpoint.
struct LastRead {
    at: Instant,
    /// What was heard before it.
    heard: u64,
}

/// A checkpoint that any process may move, as this process knows it.
pub(super) struct SharedCheckpoint {
    name: &'static str,
    known: KnownCheckpoint,
    /// Held by the waiter that reads for all; `None` = not read yet.
    last_read: Mutex<Option<LastRead>>,
}

impl SharedCheckpoint {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, known: KnownCheckpoint::default(), last_read: Mutex::default() }
    }

    /// This process moved it.
    pub(super) fn moved(&self, db: &ViewsDb, to: Position) {
        self.known.set(to);
        db.database.checkpoint_hints().moved.notify_one();
    }

    /// Resolves once the checkpoint includes `position`.
    pub(super) async fn reached(&self, db: &ViewsDb, position: Position, others: impl Fn() + Send) {
        let stored = Box::pin(async { db.checkpoint(self.name).await.ok() });
        tokio::select! {
            biased;
            () = self.known.reached(position, stored) => {}
            never = self.follow(db, others) => match never {},
        }
    }

    /// Reads the checkpoint for all waiters of this process, and calls `others` when another process moved it; until
    /// it is dropped.
    pub(super) async fn follow(&self, db: &ViewsDb, others: impl Fn() + Send) -> Infallible {
        let hints = db.database.checkpoint_hints();
        let mut last_read = self.last_read.lock().await;
        let mut heard = hints.heard.subscribe();
        loop {
            if let Some(LastRead { at, heard: before }) = &*last_read {
                let (next, before) = (*at + hints.poll(), *before);
                tokio::select! {
                    _ = heard.wait_for(|heard| *heard != before) => {}
                    () = tokio::time::sleep_until(next) => {}
                }
            }
            let (known, heard) = (self.known.get(), *heard.borrow());
            if let Ok(stored) = Box::pin(db.checkpoint(self.name)).await
                && self.known.replace(known, stored)
            {
                others();
            }
            *last_read = Some(LastRead { at: Instant::now(), heard });
        }
    }
}
