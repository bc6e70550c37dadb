//! Process managers: one dispatcher per backend leases queued entities and runs a round for each.
//!
//! - `lease`: the hold on an entity, and the engine's side of driver calls
//! - `round`: one round's steps; `look` sees, `converge` chooses the next step, `change` takes it, `resume`
//!   carries on what began earlier, `retry` says what follows a failure
//! - `observed`: which looks count when much is gone at once
//! - `secret`: values on their way to the driver; `clean_up`: what late workers left behind
//! - `ownership`: whose an object is
//! - `probe`: which world a backend is, and whether it is well
//! - `stranded`: entities whose backend is gone or closed; `sweep`: objects that match no entity
//!
//! **Architecture invariant:** a dispatcher learns of work from the queue alone. Bells and timers only make it
//! look sooner; none carries information that would be lost with it.

pub mod lease;

mod backend_record;
mod clean_up;
mod context;
mod converge;
mod dispatcher;
mod execute;
mod health_check;
mod observation_baseline;
mod observe;
mod ownership;
mod reference;
mod report;
mod resume;
mod retry;
mod round;
mod stray_sweep;
mod unavailable_backend;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use stateward_domain::id::Position;
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::sync_queue::SyncQueue;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admission::kinds::Kinds;
use crate::backends::{Backend, Backends};
use crate::clock::ClockAndIds;
use crate::commands::Commands;
use crate::commands::control_streams::ControlStreams;
use crate::entity_repository::EntityRepository;
use crate::error::Error;
use crate::process_manager::lease::LeaseTimes;
use crate::projections::runner::ProjectionProgress;
use crate::secrets::Secrets;

/// Before a process manager that panicked begins anew.
const PANIC_BACKOFF: Duration = Duration::from_secs(1);
/// How long a round waits for the executor; then it comes back later.
const EXECUTOR_LAG_MAX: Duration = Duration::from_secs(5);

/// What all process managers share.
pub struct Shared {
    /// The log, for its head.
    pub log: Arc<dyn EventStore>,
    /// Where results go.
    pub commands: Commands,
    /// Where entities come from.
    pub entities: EntityRepository,
    /// Where work comes from.
    pub queue: Arc<dyn SyncQueue>,
    /// Streams of the backends.
    pub control: ControlStreams,
    /// Schemas.
    pub kinds: Arc<Kinds>,
    /// What write-only fields refer to.
    pub secrets: Arc<Secrets>,
    /// Rung when a backend refuses our credentials: there may be new ones.
    pub reload_wanted: Notify,
    /// Time, ids, chance.
    pub clock: ClockAndIds,
    /// How long leases last.
    pub lease_times: LeaseTimes,
    /// Between looks for objects that match no entity.
    pub sweep_interval: Duration,
    /// Set = only look: nothing is changed on any backend before a person says so.
    pub observe_only: AtomicBool,
    /// How far the queue is.
    pub executor: watch::Sender<ProjectionProgress>,
    /// Ends everything.
    pub shutdown: CancellationToken,
}

impl Shared {
    /// Resolves once the queue holds everything up to `position`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when that takes long: the executor stopped, or is far behind.
    pub(crate) async fn wait_for_executor(&self, position: Position) -> Result<(), Error> {
        let mut progress = self.executor.subscribe();
        let reached = progress.wait_for(|progress| progress.position >= position);
        match tokio::time::timeout(EXECUTOR_LAG_MAX, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                Err(Error::Unavailable("the queue is behind the log".to_owned()))
            }
        }
    }

    /// Whether nothing new begins on `backend`: everything ends, or another configuration took its place.
    pub(crate) fn is_stopping(&self, backend: &Backend) -> bool {
        self.shutdown.is_cancelled() || backend.retired.is_cancelled()
    }

    /// Resolves when [`is_stopping`](Self::is_stopping) becomes true.
    pub(crate) async fn stopping(&self, backend: &Backend) {
        tokio::select! {
            () = self.shutdown.cancelled() => {}
            () = backend.retired.cancelled() => {}
        }
    }
}

/// Runs the process managers of all `backends`, also of those that are configured later, until the shared token is
/// cancelled and every round ended.
pub async fn run(shared: Arc<Shared>, backends: Backends) {
    // Before the first round, so that none changes what another entity manages.
    if let Err(error) = ownership::record_contests(&shared).await {
        tracing::error!(%error, "contests for objects were not recorded");
    }
    let blocker = tokio::spawn(unavailable_backend::run(Arc::clone(&shared), backends.clone()));
    let mut changes = backends.subscribe();
    let mut supervisors: BTreeMap<_, (Arc<Backend>, JoinHandle<()>)> = BTreeMap::new();
    while !shared.shutdown.is_cancelled() {
        let now = Arc::clone(&changes.borrow_and_update());
        for (name, backend) in &*now {
            if supervisors.get(name).is_some_and(|(known, _)| Arc::ptr_eq(known, backend)) {
                continue;
            }
            let before = supervisors.remove(name).map(|(_, supervisor)| supervisor);
            let supervisor =
                tokio::spawn(supervise(Arc::clone(&shared), Arc::clone(backend), before));
            supervisors.insert(name.clone(), (Arc::clone(backend), supervisor));
        }
        // Those of removed backends end by themselves.
        supervisors
            .retain(|name, (_, supervisor)| now.contains_key(name) || !supervisor.is_finished());
        tokio::select! {
            _ = changes.changed() => {}
            () = shared.shutdown.cancelled() => {}
        }
    }
    let supervisors = supervisors.into_values().map(|(_, supervisor)| supervisor);
    for task in supervisors.chain([blocker]) {
        if let Err(error) = task.await {
            tracing::error!(%error, "a process manager panicked");
        }
    }
}

/// Looks after one backend until it is retired. Rounds that run on what was configured `before` end first, so that the
/// limits of the two are never added up.
async fn supervise(shared: Arc<Shared>, backend: Arc<Backend>, before: Option<JoinHandle<()>>) {
    if let Some(before) = before
        && let Err(error) = before.await
    {
        tracing::error!(%error, "a process manager panicked");
    }
    tokio::join!(
        restart_on_panic(&shared, &backend, dispatcher::run),
        restart_on_panic(&shared, &backend, health_check::run),
        restart_on_panic(&shared, &backend, stray_sweep::run),
    );
}

/// Runs `task` as a task of its own, and begins it anew when it panics: a backend is never left alone unnoticed.
async fn restart_on_panic<F>(
    shared: &Arc<Shared>,
    backend: &Arc<Backend>,
    task: fn(Arc<Shared>, Arc<Backend>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    while let Err(error) = tokio::spawn(task(Arc::clone(shared), Arc::clone(backend))).await {
        tracing::error!(backend = %backend.name(), %error, "a process manager panicked, and begins anew");
        tokio::select! {
            () = tokio::time::sleep(PANIC_BACKOFF) => {}
            () = shared.stopping(backend) => return,
        }
    }
}
