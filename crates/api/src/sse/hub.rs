//! One reader of the log for all watchers.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Bytes;
use stateward_domain::envelope::Recorded;
use stateward_domain::id::Position;
use stateward_engine::Engine;
use tokio::sync::{Semaphore, broadcast};

use crate::dto::event::EventView;

/// Events that a watcher may be behind before it has to reconnect.
const BUFFER: usize = 4_096;
/// Watchers at most.
const WATCHERS_MAX: usize = 4_096;
/// Events read at a time.
const PAGE: usize = 500;
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

/// Hands out what is new in the log.
pub(crate) struct Hub {
    frames: broadcast::Sender<Arc<Frame>>,
    pub(crate) places: Arc<Semaphore>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let places = Arc::new(Semaphore::new(WATCHERS_MAX));
        Self { frames: broadcast::Sender::new(BUFFER), places }
    }

    /// Everything that is read from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<Frame>> {
        self.frames.subscribe()
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
                    for event in events {
                        from = event.position;
                        if let Some(frame) = Frame::new(event) {
                            // Nobody watches: then nobody misses it.
                            let _ = self.frames.send(Arc::new(frame));
                        }
                    }
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
