//! What a process notifies others of when it moved a checkpoint of the queue or of a read model, and what it hears from
//! them. Only hints, beside polling.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};

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

    /// Counts what was heard.
    pub(super) fn heard(&self) -> watch::Receiver<u64> {
        self.heard.subscribe()
    }

    /// Pause between two reads of a checkpoint that is waited for.
    pub(super) fn poll(&self) -> Duration {
        if self.listening.load(Ordering::Relaxed) { POLL_LISTENING } else { POLL }
    }
}
