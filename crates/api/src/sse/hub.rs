//! One reader of the log for all watchers, and what it read last.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use stateward_domain::envelope::Recorded;
use stateward_domain::id::{Position, TokenId};
use stateward_engine::Engine;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::batch::Batch;

/// Bytes and batches that are kept: a watcher that is further behind has to reconnect.
const BUFFER_BYTES: usize = 16 * 1024 * 1024;
const BUFFER_BATCHES: usize = 256;
/// Watchers at most, and of one issued token.
const WATCHERS_MAX: usize = 4_096;
const WATCHERS_PER_TOKEN: usize = 256;
/// Events read and handed out at a time.
const PAGE_EVENTS: usize = 500;
/// Rest after each handout, so that what comes meanwhile is handed out together: waking many watchers costs more than
/// what they are woken for. The first event after a quiet time is not held up.
const HANDOUT_PAUSE: Duration = Duration::from_millis(10);
/// Longer by this for each watcher: a thousand of them are woken sixteen times a second.
const HANDOUT_PAUSE_PER_WATCHER: Duration = Duration::from_micros(50);
/// After a failure of the log.
const RETRY_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// What was handed out last.
#[derive(Default)]
struct RecentBatches {
    /// Nothing behind this position is missing; `None` = nobody watched.
    after: Option<Position>,
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

impl RecentBatches {
    fn push(&mut self, after: Position, batch: Arc<Batch>) {
        self.after.get_or_insert(after);
        self.bytes += batch.size();
        self.batches.push_back(batch);
        // The newest stays, however large it is: it is in memory anyhow.
        while self.batches.len() > 1
            && (self.bytes > BUFFER_BYTES || self.batches.len() > BUFFER_BATCHES)
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.size();
            self.after = Some(oldest.last);
        }
    }
}

/// Why what follows a position is not in memory.
pub(super) enum NotBuffered {
    /// Nothing is kept, because nobody watched a moment ago.
    Nothing,
    /// It was kept, and is no more.
    TooOld,
}

/// Hands out what is new in the log.
pub(crate) struct Hub {
    recent: RwLock<RecentBatches>,
    /// The last event that was handed out: a hint to look.
    moved: watch::Sender<Position>,
    slots: Arc<Semaphore>,
    by_token: Mutex<HashMap<TokenId, usize>>,
}

/// A watcher's place, free again when dropped.
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

    /// A place for one more watcher; `None` when there are too many, or too many of this token.
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

    /// Rung whenever something was handed out. From then on everything is kept for a while.
    pub(super) fn subscribe(&self) -> watch::Receiver<Position> {
        self.moved.subscribe()
    }

    /// The batch behind `seen`; `Ok(None)` when there is nothing newer.
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

    fn publish(&self, after: Position, events: &[Recorded]) {
        let last = events.last().map_or(after, |event| event.position);
        {
            let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
            // Nobody watches: nothing is rendered. Whoever comes after this finds nothing here, and reads the log.
            if self.moved.receiver_count() == 0 {
                *recent = RecentBatches::default();
            } else {
                recent.push(after, Arc::new(Batch::new(after, events)));
            }
        }
        self.moved.send_replace(last);
    }

    fn handout_pause(&self) -> Duration {
        let watchers = u32::try_from(self.moved.receiver_count()).unwrap_or(u32::MAX);
        HANDOUT_PAUSE + HANDOUT_PAUSE_PER_WATCHER * watchers
    }

    /// Reads the log from `from` on, until the engine stops.
    pub(crate) async fn run(&self, engine: &Engine, mut from: Position) {
        let stopped = engine.stopped();
        tokio::pin!(stopped);
        loop {
            match engine.log().read_log(from, PAGE_EVENTS).await {
                Ok(events) if events.is_empty() => tokio::select! {
                    () = engine.log().changed_after(from) => {}
                    () = &mut stopped => return,
                },
                Ok(events) => {
                    self.publish(from, &events);
                    from = events.last().map_or(from, |event| event.position);
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
