//! A checkpoint that any process may move: one waiter of a process reads it for all that wait for it, when a notification
//! came, else now and then.

use std::convert::Infallible;

use stateward_domain::id::Position;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::views_db::ViewsDb;
use crate::shared::hints::KnownCheckpoint;

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
        let mut heard = hints.heard();
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
