//! Those who wait for an entity to change, such as a request with `Prefer: wait`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stateward_domain::id::EntityId;
use tokio::sync::watch;

/// Wakes those who wait for one entity without disturbing the others. Cheap to clone.
#[derive(Clone, Default)]
pub struct Waiters {
    channels: Arc<Mutex<HashMap<EntityId, watch::Sender<u64>>>>,
}

/// One who waits; forgotten when dropped.
pub struct Waiter {
    entity: EntityId,
    all: Waiters,
    changes: watch::Receiver<u64>,
}

impl Waiters {
    /// Begins to wait: every change from here on is noticed.
    #[must_use]
    pub fn wait_for(&self, entity: EntityId) -> Waiter {
        let changes =
            self.channels().entry(entity).or_insert_with(|| watch::Sender::new(0)).subscribe();
        Waiter { entity, all: self.clone(), changes }
    }

    /// The entity changed.
    pub fn changed(&self, entity: EntityId) {
        if let Some(channel) = self.channels().get(&entity) {
            channel.send_modify(|count| *count += 1);
        }
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<EntityId, watch::Sender<u64>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Resolves at the next change since the last call, at once if there was one.
    pub async fn changed(&mut self) {
        // The sender lives in the map as long as this waiter does; an error cannot happen.
        let _ = self.changes.changed().await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut channels = self.all.channels();
        // This receiver still counts itself.
        if channels.get(&self.entity).is_some_and(|channel| channel.receiver_count() <= 1) {
            channels.remove(&self.entity);
        }
    }
}
