//! Requests that carry an idempotency key: asked for before anything else, and one after the other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stateward_domain::entity::claims::ClaimKey;
use tokio::sync::OwnedMutexGuard;

type Keys = HashMap<ClaimKey, Arc<tokio::sync::Mutex<()>>>;

/// The keys whose requests are under way in this process.
#[derive(Default)]
pub(crate) struct Turns(Arc<Mutex<Keys>>);

/// The right to carry out a request under its key; others under the same key wait until it is dropped.
///
/// The log alone decides which of several is the first. Turns keep what has effects beside the log (a test of a
/// backend, a rebuild) from being done twice at once.
pub struct Turn {
    key: ClaimKey,
    lock: Arc<tokio::sync::Mutex<()>>,
    keys: Arc<Mutex<Keys>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    pub(crate) async fn take(&self, key: ClaimKey) -> Turn {
        let lock = Arc::clone(locked(&self.0).entry(key.clone()).or_default());
        let keys = Arc::clone(&self.0);
        // Made before it waits: one that gives up waiting tidies up as well.
        let mut turn = Turn { key, lock, keys, guard: None };
        turn.guard = Some(Arc::clone(&turn.lock).lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut keys = locked(&self.keys);
        // The map's and ours: nobody else waits, and nobody can begin to while the map is locked.
        if Arc::strong_count(&self.lock) == 2 {
            keys.remove(&self.key);
        }
    }
}

fn locked(keys: &Mutex<Keys>) -> MutexGuard<'_, Keys> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn one_key_is_one_turn_and_leaves_nothing_behind() {
        let mut context = Context::from_waker(Waker::noop());
        let turns = Turns::default();
        let key = || ClaimKey("idempotency/x/y/z".to_owned());
        let first = turns.take(key()).await;
        let other = turns.take(ClaimKey("idempotency/x/y/other".to_owned())).await;
        {
            let mut second = pin!(turns.take(key()));
            assert!(second.as_mut().poll(&mut context).is_pending(), "it waits for the first");
            drop(first);
            assert!(second.as_mut().poll(&mut context).is_ready());
        }
        let third = turns.take(key()).await;
        {
            let mut gives_up = pin!(turns.take(key()));
            assert!(gives_up.as_mut().poll(&mut context).is_pending());
            drop(third);
        }
        drop(other);
        assert!(locked(&turns.0).is_empty());
    }
}
