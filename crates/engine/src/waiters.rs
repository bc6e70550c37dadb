//! Waiting for an entity to change, for example for a request with `Prefer: wait`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stateward_domain::id::{EntityId, Version};
use tokio::sync::watch;

/// Wakes waiters of one entity without waking those of others. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waiters {
    channels: Arc<Mutex<HashMap<EntityId, watch::Sender<Version>>>>,
}

/// A waiter for one entity; deregistered when dropped.
pub struct Waiter {
    entity: EntityId,
    all: Waiters,
    changes: watch::Receiver<Version>,
}

impl Waiters {
    /// Registers a waiter: it sees every change from now on.
    #[must_use]
    pub fn wait_for(&self, entity: EntityId) -> Waiter {
        let changes = self.channels().entry(entity).or_default().subscribe();
        Waiter { entity, all: self.clone(), changes }
    }

    /// Wakes the waiters of the entity, whose stream has reached `version`. A version that they were woken for before
    /// wakes none: the process that appends an event, and its follower of the log, both report it.
    pub fn changed(&self, entity: EntityId, version: Version) {
        if let Some(channel) = self.channels().get(&entity) {
            channel.send_if_modified(|known| {
                let newer = version > *known;
                *known = version.max(*known);
                newer
            });
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<EntityId, watch::Sender<Version>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Resolves at the next change since the last call; at once if there was one.
    pub async fn changed(&mut self) {
        // The sender stays in the map as long as this waiter exists, so this never fails.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut channels = self.all.channels();
        // This waiter's receiver is still counted.
        if channels.get(&self.entity).is_some_and(|channel| channel.receiver_count() <= 1) {
            channels.remove(&self.entity);
        }
    }
}
