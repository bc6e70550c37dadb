//! One reader of the log for all watchers, and what it read last.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use stateward_domain::envelope::Recorded;
use stateward_domain::id::Position;
use stateward_engine::Engine;
use tokio::sync::{Semaphore, watch};

use super::batch::Batch;

/// Bytes and batches that are kept: a watcher that is further behind has to reconnect.
const BUFFER_BYTES: usize = 16 * 1024 * 1024;
const BUFFER_BATCHES: usize = 256;
/// Watchers at most.
const WATCHERS_MAX: usize = 4_096;
/// Events read and handed out at a time.
const PAGE: usize = 500;
/// Rest after each handout, so that what comes meanwhile is handed out together: waking many watchers costs more than
/// what they are woken for. The first event after a quiet time is not held up.
const REST: Duration = Duration::from_millis(10);
/// Longer by this for each watcher: a thousand of them are woken sixteen times a second.
const REST_PER_WATCHER: Duration = Duration::from_micros(50);
/// After a failure of the log.
const RECOVERY: Duration = Duration::from_millis(500);

/// What was handed out last.
#[derive(Default)]
struct Recent {
    /// Nothing behind this position is missing; `None` = nobody watched.
    after: Option<Position>,
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
}

impl Recent {
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

/// Hands out what is new in the log.
pub(crate) struct Hub {
    recent: RwLock<Recent>,
    /// The last event that was handed out: a hint to look.
    moved: watch::Sender<Position>,
    pub(super) places: Arc<Semaphore>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let places = Arc::new(Semaphore::new(WATCHERS_MAX));
        Self { recent: RwLock::default(), moved: watch::Sender::new(Position::START), places }
    }

    /// Rung whenever something was handed out. From then on everything is kept for a while.
    pub(super) fn subscribe(&self) -> watch::Receiver<Position> {
        self.moved.subscribe()
    }

    /// Everything behind `seen` that was handed out; `None` when that is no longer, or not yet, all there.
    pub(super) fn since(&self, seen: Position) -> Option<Vec<Arc<Batch>>> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        recent.after.filter(|after| *after <= seen)?;
        let newest_first = recent.batches.iter().rev().take_while(|batch| batch.last > seen);
        let mut batches: Vec<_> = newest_first.cloned().collect();
        batches.reverse();
        Some(batches)
    }

    fn hand_out(&self, after: Position, events: &[Recorded]) {
        let last = events.last().map_or(after, |event| event.position);
        {
            let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
            // Nobody watches: nothing is rendered. Whoever comes after this finds nothing here, and reads the log.
            if self.moved.receiver_count() == 0 {
                *recent = Recent::default();
            } else {
                recent.push(after, Arc::new(Batch::new(after, events)));
            }
        }
        self.moved.send_replace(last);
    }

    fn rest(&self) -> Duration {
        let watchers = u32::try_from(self.moved.receiver_count()).unwrap_or(u32::MAX);
        REST + REST_PER_WATCHER * watchers
    }

    /// Reads the log from `from` on, until the engine stops.
    pub(crate) async fn run(&self, engine: &Engine, mut from: Position) {
        let stopped = engine.stopped();
        tokio::pin!(stopped);
        loop {
            match engine.log().read_log(from, PAGE).await {
                Ok(events) if events.is_empty() => tokio::select! {
                    () = engine.log().changed_after(from) => {}
                    () = &mut stopped => return,
                },
                Ok(events) => {
                    self.hand_out(from, &events);
                    from = events.last().map_or(from, |event| event.position);
                    tokio::time::sleep(self.rest()).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "watchers wait for the log");
                    tokio::select! {
                        () = tokio::time::sleep(RECOVERY) => {}
                        () = &mut stopped => return,
                    }
                }
            }
        }
    }
}
