//! A store in memory: it keeps every promise of the ports but durability.
//!
//! - `log`: the event log, with faults on request; `queue`: the sync queue with its leases; `views`: the read models
//! - `audit`: verification, checkpoints and exports

mod audit;
mod log;
mod queue;
mod views;

use std::sync::Arc;

use stateward_domain::time::LogClock;

pub use audit::MemoryAuditor;
pub use log::{InjectedFault, MemoryLog};
pub use queue::MemoryQueue;
pub use views::MemoryViews;

/// A store in memory. Dropping it loses everything.
pub struct Store {
    /// The event log.
    pub log: Arc<MemoryLog>,
    /// The sync queue with its leases.
    pub queue: Arc<MemoryQueue>,
    /// The read models `entities` and `operations`, for writing and for queries.
    pub entities: Arc<MemoryViews>,
    /// Audits all of them.
    pub audit: Arc<MemoryAuditor>,
}

impl Store {
    /// An empty store that takes its times from `clock`.
    #[must_use]
    pub fn new(clock: impl Into<LogClock>) -> Self {
        let clock = clock.into();
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let queue = Arc::new(MemoryQueue::new(clock.clone()));
        let entities = Arc::<MemoryViews>::default();
        let parts = (Arc::clone(&log), Arc::clone(&queue), Arc::clone(&entities));
        let audit = Arc::new(MemoryAuditor::new(parts, clock));
        Self { log, queue, entities, audit }
    }
}
