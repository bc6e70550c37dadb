//! One reader of the log for all watchers.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_web::web::Bytes;
use stateward_domain::envelope::Recorded;
use stateward_domain::id::Position;
use stateward_engine::Engine;
use tokio::sync::{Semaphore, broadcast};

use crate::dto::event::EventView;

/// Batches that a watcher may be behind before it has to reconnect: some megabytes for all watchers together.
const BUFFER: usize = 64;
/// Watchers at most.
const WATCHERS_MAX: usize = 4_096;
/// Events read and handed out at a time.
const PAGE: usize = 500;
/// Rest after each handout, so that what comes meanwhile is handed out together: waking a thousand watchers costs
/// more than what they are woken for. The first event after a quiet time is not held up.
const REST: Duration = Duration::from_millis(10);
/// After a failure of the log.
const RECOVERY: Duration = Duration::from_millis(500);

/// An event, ready to be sent.
pub(crate) struct Frame {
    pub(crate) event: Recorded,
    pub(crate) bytes: Bytes,
}

impl Frame {
    /// Renders `event`; `None` for one whose payload is no JSON, which is reported where it is rendered.
    pub(crate) fn new(event: Recorded) -> Option<Self> {
        let view = EventView::try_from(&event).ok()?;
        let data = serde_json::to_string(&view).ok()?;
        let text = format!("id: {}\nevent: {}\ndata: {data}\n\n", event.position, event.event_type);
        Some(Self { event, bytes: Bytes::from(text) })
    }
}

/// Events that were read together.
pub(crate) type Batch = Arc<[Frame]>;

/// The batches that were handed out last, so that many who come back at once do not all read the log.
#[derive(Default)]
struct Recent {
    /// Nothing after this position is missing; `None` before the first read.
    after: Option<Position>,
    batches: VecDeque<Batch>,
}

/// Hands out what is new in the log.
pub(crate) struct Hub {
    frames: broadcast::Sender<Batch>,
    recent: RwLock<Recent>,
    pub(crate) places: Arc<Semaphore>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let places = Arc::new(Semaphore::new(WATCHERS_MAX));
        Self { frames: broadcast::Sender::new(BUFFER), recent: RwLock::default(), places }
    }

    /// Everything that is read from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Batch> {
        self.frames.subscribe()
    }

    /// Everything after `seen` that was handed out; `None` when that is no longer all there.
    pub(crate) fn since(&self, seen: Position) -> Option<Vec<Batch>> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        recent.after.filter(|after| *after <= seen)?;
        let newer = |batch: &&Batch| batch.last().is_some_and(|frame| frame.event.position > seen);
        Some(recent.batches.iter().filter(newer).cloned().collect())
    }

    fn hand_out(&self, after: Position, events: Vec<Recorded>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        // Nobody watches: nothing is rendered. Whoever comes after this finds nothing here, and reads the log.
        if self.frames.receiver_count() == 0 {
            *recent = Recent::default();
            return;
        }
        let batch: Batch = events.into_iter().filter_map(Frame::new).collect();
        recent.after.get_or_insert(after);
        if recent.batches.len() >= BUFFER
            && let Some(oldest) = recent.batches.pop_front()
        {
            recent.after = oldest.last().map(|frame| frame.event.position).or(recent.after);
        }
        recent.batches.push_back(Arc::clone(&batch));
        // Under the lock: who subscribes, then asks what was handed out, misses nothing in between.
        // An error means that the last one left just now.
        let _ = self.frames.send(batch);
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
                    let after = from;
                    from = events.last().map_or(from, |event| event.position);
                    self.hand_out(after, events);
                    tokio::time::sleep(REST).await;
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
