//! The hub: it reads the log once for all watchers, and buffers the latest events.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use stateward_domain::id::{Position, TokenId};
use stateward_domain::ports::event_store::LogPage;
use stateward_engine::Engine;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::batch::Batch;

/// Size of the buffer: a watcher that is further behind has to reconnect.
const BUFFER_BYTES: usize = 16 * 1024 * 1024;
const BUFFER_BATCHES: usize = 256;
/// Maximum number of watchers: in total, and of one issued token.
const WATCHERS_MAX: usize = 4_096;
const WATCHERS_PER_TOKEN: usize = 256;
/// Events that are read and published at a time.
const PAGE_EVENTS: usize = 500;
/// Pause after each batch, so that events that come meanwhile form one batch: waking many watchers costs more than the
/// events themselves. The first event after a quiet time is not delayed.
const HANDOUT_PAUSE: Duration = Duration::from_millis(10);
/// Added to the pause for each watcher: a thousand of them are woken sixteen times a second.
const HANDOUT_PAUSE_PER_WATCHER: Duration = Duration::from_micros(50);
/// Pause after a failure of the log.
const RETRY_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// The buffer of published events.
#[derive(Default)]
struct RecentBatches {
    /// The buffer is complete after this position; `None` = there was no watcher.
    after: Option<Position>,
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

impl RecentBatches {
    fn push(&mut self, after: Position, batch: Arc<Batch>) {
        self.after.get_or_insert(after);
        self.bytes += batch.size();
        self.batches.push_back(batch);
        // The newest batch stays, whatever its size: it is in memory anyway.
        while self.batches.len() > 1
            && (self.bytes > BUFFER_BYTES || self.batches.len() > BUFFER_BATCHES)
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.size();
            self.after = Some(oldest.last);
        }
    }
}

/// Why the events after a position are not buffered.
pub(super) enum NotBuffered {
    /// The buffer is empty, because there was no watcher.
    Nothing,
    /// They were dropped from the buffer.
    TooOld,
}

/// Publishes new events of the log to watchers.
pub(crate) struct Hub {
    recent: RwLock<RecentBatches>,
    /// The last published position: a wake-up hint.
    moved: watch::Sender<Position>,
    slots: Arc<Semaphore>,
    by_token: Mutex<HashMap<TokenId, usize>>,
}

/// A watcher's slot; released when dropped.
pub(super) struct WatcherSlot {
    hub: Arc<Hub>,
    token: Option<TokenId>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for WatcherSlot {
    fn drop(&mut self) {
        let Some(token) = self.token else { return };
        let mut by_token = self.hub.by_token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_token.get_mut(&token) {
            *count -= 1;
            if *count == 0 {
                by_token.remove(&token);
            }
        }
    }
}

impl Hub {
    pub(crate) fn new() -> Self {
        let slots = Arc::new(Semaphore::new(WATCHERS_MAX));
        let moved = watch::Sender::new(Position::START);
        Self { recent: RwLock::default(), moved, slots, by_token: Mutex::default() }
    }

    /// A slot for one more watcher; `None` if there are too many, in total or of this token.
    pub(super) fn acquire_slot(self: &Arc<Self>, token: Option<TokenId>) -> Option<WatcherSlot> {
        let permit = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        if let Some(token) = token {
            let mut by_token = self.by_token.lock().unwrap_or_else(PoisonError::into_inner);
            let count = by_token.entry(token).or_default();
            if *count >= WATCHERS_PER_TOKEN {
                return None;
            }
            *count += 1;
        }
        Some(WatcherSlot { hub: Arc::clone(self), token, _permit: permit })
    }

    /// Notified after each publication. From now on events are buffered.
    pub(super) fn subscribe(&self) -> watch::Receiver<Position> {
        self.moved.subscribe()
    }

    /// The batch after `seen`; `Ok(None)` if there is nothing newer.
    pub(super) fn next(&self, seen: Position) -> Result<Option<Arc<Batch>>, NotBuffered> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        match recent.after {
            None => Err(NotBuffered::Nothing),
            Some(after) if after > seen => Err(NotBuffered::TooOld),
            Some(_) => {
                let next = recent.batches.partition_point(|batch| batch.last <= seen);
                Ok(recent.batches.get(next).cloned())
            }
        }
    }

    fn publish(&self, after: Position, page: &LogPage) {
        let last = page.through;
        {
            let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
            // Without watchers nothing is rendered. A later watcher finds an empty buffer, and reads the log.
            if self.moved.receiver_count() == 0 {
                *recent = RecentBatches::default();
            } else {
                recent.push(after, Arc::new(Batch::new(after, page)));
            }
        }
        self.moved.send_replace(last);
    }

    fn handout_pause(&self) -> Duration {
        let watchers = u32::try_from(self.moved.receiver_count()).unwrap_or(u32::MAX);
        HANDOUT_PAUSE + HANDOUT_PAUSE_PER_WATCHER * watchers
    }

    /// Publishes the log after `from`, until the engine stops.
    pub(crate) async fn run(&self, engine: &Engine, mut from: Position) {
        let stopped = engine.stopped();
        tokio::pin!(stopped);
        loop {
            match engine.log().read_log(from, PAGE_EVENTS).await {
                Ok(page) if page.through == from => tokio::select! {
                    () = engine.log().changed_after(from) => {}
                    () = &mut stopped => return,
                },
                Ok(page) => {
                    self.publish(from, &page);
                    from = page.through;
                    tokio::time::sleep(self.handout_pause()).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "watchers wait for the log");
                    tokio::select! {
                        () = tokio::time::sleep(RETRY_AFTER_FAILURE) => {}
                        () = &mut stopped => return,
                    }
                }
            }
        }
    }
}
