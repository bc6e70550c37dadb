//! The ports of one store, as an adapter hands them over.

use std::sync::Arc;

use crate::ports::audit::{Auditor, RestoreHold};
use crate::ports::cluster::Cluster;
use crate::ports::event_store::EventStore;
use crate::ports::health::StoreHealth;
use crate::ports::read_model::{ReadModel, Views};
use crate::ports::sync_queue::SyncQueue;

/// One open store. All ports are of the same log. Cheap to clone; several engines may share one.
#[derive(Clone)]
pub struct StorePorts {
    /// The event log.
    pub log: Arc<dyn EventStore>,
    /// Queue and leases.
    pub queue: Arc<dyn SyncQueue>,
    /// Writing sides of the read models.
    pub models: Vec<Arc<dyn ReadModel>>,
    /// Reading side of the read models.
    pub views: Arc<dyn Views>,
    /// Reads the log as it is stored.
    pub auditor: Arc<dyn Auditor>,
    /// The marker of a restored store, which forbids changes.
    pub restore_hold: Arc<dyn RestoreHold>,
    /// The processes that work on the store, and their duties.
    pub cluster: Arc<dyn Cluster>,
    /// The store's own state.
    pub health: Arc<dyn StoreHealth>,
}
