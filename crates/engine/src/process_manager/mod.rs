//! Process managers: one dispatcher per backend leases queued entities and runs a round for each.
//!
//! - `lease`: the hold on an entity, and the engine's side of driver calls
//! - `round`: one round's steps; `look` sees, `converge` chooses the next step, `change` takes it, `resume`
//!   carries on what began earlier, `retry` says what follows a failure
//! - `probe`: which world a backend is, and whether it is well
//! - `stranded`: entities whose backend is gone or closed; `sweep`: objects that match no entity
//!
//! **Architecture invariant:** a dispatcher learns of work from the queue alone. Bells and timers only make it
//! look sooner; none carries information that would be lost with it.

pub mod lease;

mod change;
mod converge;
mod dispatcher;
mod look;
mod probe;
mod resume;
mod retry;
mod round;
mod stranded;
mod sweep;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::sync_queue::SyncQueue;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backends::Backends;
use crate::commands::Commands;
use crate::control::ControlStreams;
use crate::entities::Entities;
use crate::kinds::Kinds;
use crate::process_manager::lease::LeaseTimes;
use crate::sources::Sources;

/// What all process managers share.
pub struct Shared {
    /// The log, for its head.
    pub log: Arc<dyn EventStore>,
    /// Where results go.
    pub commands: Commands,
    /// Where entities come from.
    pub entities: Entities,
    /// Where work comes from.
    pub queue: Arc<dyn SyncQueue>,
    /// Streams of the backends.
    pub control: ControlStreams,
    /// Schemas.
    pub kinds: Arc<Kinds>,
    /// Time, ids, chance.
    pub sources: Sources,
    /// How long leases last.
    pub lease_times: LeaseTimes,
    /// Between looks for objects that match no entity.
    pub sweep_interval: Duration,
    /// Set = only look: nothing is changed on any backend before a person says so.
    pub frozen: AtomicBool,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

/// Runs the process managers of all `backends` until the shared token is cancelled and every round ended.
pub async fn run(shared: Arc<Shared>, backends: Backends) {
    let mut tasks = JoinSet::new();
    for backend in backends.iter() {
        tasks.spawn(dispatcher::run(Arc::clone(&shared), Arc::clone(backend)));
        tasks.spawn(probe::run(Arc::clone(&shared), Arc::clone(backend)));
        tasks.spawn(sweep::run(Arc::clone(&shared), Arc::clone(backend)));
    }
    tasks.spawn(stranded::run(shared, backends));
    while tasks.join_next().await.is_some() {}
}
