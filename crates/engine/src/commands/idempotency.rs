//! Idempotency keys: the first request with a key, and permits that serialise requests with the same key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stateward_domain::entity::claims::{self, Claim, ClaimKey};
use stateward_domain::envelope::Envelope;
use stateward_domain::ports::event_store::{EventStore, Holder};
use tokio::sync::OwnedMutexGuard;

use crate::error::CommandError;

type Keys = HashMap<ClaimKey, Arc<tokio::sync::Mutex<()>>>;

/// Keys of the requests that run in this process.
#[derive(Default)]
pub(crate) struct IdempotencyPermits(Arc<Mutex<Keys>>);

/// Permission to carry out a request with an idempotency key; other requests with the same key wait until it is
/// dropped.
///
/// The log alone decides which request is the first. Permits only prevent that effects outside of the log (a test of a
/// backend, a rebuild) run twice at once.
pub struct IdempotencyPermit {
    key: ClaimKey,
    request: Arc<tokio::sync::Mutex<()>>,
    keys: Arc<Mutex<Keys>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl IdempotencyPermits {
    pub(crate) async fn acquire(&self, key: ClaimKey) -> IdempotencyPermit {
        let request = Arc::clone(lock(&self.0).entry(key.clone()).or_default());
        let keys = Arc::clone(&self.0);
        // Created before it waits, so that dropping a waiter cleans up as well.
        let mut permit = IdempotencyPermit { key, request, keys, guard: None };
        permit.guard = Some(Arc::clone(&permit.request).lock_owned().await);
        permit
    }
}

impl Drop for IdempotencyPermit {
    fn drop(&mut self) {
        self.guard = None;
        let mut keys = lock(&self.keys);
        // Two references, the map's and this one: no request waits, and none can start to while the map is locked.
        if Arc::strong_count(&self.request) == 2 {
            keys.remove(&self.key);
        }
    }
}

fn lock(keys: &Mutex<Keys>) -> MutexGuard<'_, Keys> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first request with the idempotency key of `envelope`; `None` = this is the first, or it has no key.
///
/// # Errors
/// [`CommandError::KeyReused`] when the first one was a different request, [`CommandError::Query`].
pub(crate) async fn first_request(
    log: &dyn EventStore,
    envelope: &Envelope,
) -> Result<Option<Holder>, CommandError> {
    let Some(Claim::Take { key, value, .. }) = claims::of_request(envelope, 0) else {
        return Ok(None);
    };
    match log.holder(&key).await? {
        Some(holder) if holder.value != value => Err(CommandError::KeyReused),
        holder => Ok(holder),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn one_key_is_one_permit_and_leaves_nothing_behind() {
        let mut context = Context::from_waker(Waker::noop());
        let permits = IdempotencyPermits::default();
        let key = || ClaimKey("idempotency/x/y/z".to_owned());
        let first = permits.acquire(key()).await;
        let other = permits.acquire(ClaimKey("idempotency/x/y/other".to_owned())).await;
        {
            let mut second = pin!(permits.acquire(key()));
            assert!(second.as_mut().poll(&mut context).is_pending(), "it waits for the first");
            drop(first);
            assert!(second.as_mut().poll(&mut context).is_ready());
        }
        let third = permits.acquire(key()).await;
        {
            let mut gives_up = pin!(permits.acquire(key()));
            assert!(gives_up.as_mut().poll(&mut context).is_pending());
            drop(third);
        }
        drop(other);
        assert!(lock(&permits.0).is_empty());
    }
}
