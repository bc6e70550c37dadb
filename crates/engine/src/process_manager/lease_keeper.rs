//! Renews the leases of this process, all that are due with one statement.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use stateward_domain::ports::sync_queue::SyncQueue;
use tokio::sync::Notify;

use crate::clock::ClockAndIds;
use crate::process_manager::lease::{HeldLease, LeaseTimes};

/// The leases that rounds of this process hold. Their number is bounded by the backends' concurrency.
#[derive(Default)]
pub struct LeaseKeeper {
    held: Mutex<Vec<Weak<HeldLease>>>,
    taken: Notify,
}

impl LeaseKeeper {
    /// Renews `lease` until it is dropped, lost, or the process stops.
    pub(crate) fn hold(&self, lease: HeldLease) -> Arc<HeldLease> {
        let lease = Arc::new(lease);
        self.held().push(Arc::downgrade(&lease));
        self.taken.notify_one();
        lease
    }

    /// Renews each lease after a third of its duration. Never returns: what is dropped or lost meanwhile is forgotten.
    pub(crate) async fn run(&self, queue: &dyn SyncQueue, clock: &ClockAndIds, times: LeaseTimes) {
        loop {
            let Some(due) = self.live().iter().map(|lease| lease.renewal_due()).min() else {
                self.taken.notified().await;
                continue;
            };
            // Never at once, so that renewals which are due together go together.
            let wait = due.saturating_sub(clock.elapsed()).max(times.duration / 50);
            tokio::time::sleep(wait).await;
            self.renew_due(queue, clock, times.duration).await;
        }
    }

    async fn renew_due(&self, queue: &dyn SyncQueue, clock: &ClockAndIds, duration: Duration) {
        let requested_at = clock.elapsed();
        let mut due = self.live();
        due.retain(|lease| lease.renewal_due() <= requested_at);
        if due.is_empty() {
            return;
        }
        if renewal_is_suspended() {
            return due.iter().for_each(|lease| lease.renew_again_at(requested_at + duration / 3));
        }
        let keys: Vec<_> = due.iter().map(|lease| lease.key()).collect();
        match queue.renew(&keys, duration).await {
            Ok(renewed) => {
                for lease in due {
                    if renewed.contains(&lease.entity) {
                        lease.extend(requested_at);
                    } else {
                        lease.lose();
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "leases were not renewed");
                for lease in due {
                    lease.renewal_failed();
                }
            }
        }
    }

    /// Leases that are held and not lost; the others are forgotten.
    fn live(&self) -> Vec<Arc<HeldLease>> {
        let mut live = Vec::new();
        self.held().retain(|lease| match lease.upgrade().filter(|lease| !lease.is_stopped()) {
            Some(lease) => {
                live.push(lease);
                true
            }
            None => false,
        });
        live
    }

    fn held(&self) -> MutexGuard<'_, Vec<Weak<HeldLease>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fail point: a test stops renewals by setting `engine::lease::renew` to `return`, as if the process stood still.
fn renewal_is_suspended() -> bool {
    fail::fail_point!("engine::lease::renew", |_| true);
    false
}
