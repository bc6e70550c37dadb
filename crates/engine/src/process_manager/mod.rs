//! Process managers: one dispatcher per backend leases queued entities and runs a round for each.
//!
//! - `dispatcher`, `lease`, `lease_keeper`: which entities run, and how long a worker may act on one
//! - `round`: reload, observe, plan, execute one action; `observe` and `execute` are its I/O
//! - `plan`: what a round does next, as pure functions; `retry`: what follows a failure
//! - `resolve`: references as values, and whether dependents remain
//! - `ownership`: which entity manages an object; `observation_baseline`: which observations count for mass absence
//! - `backend_record`, `health_check`: the stream of a backend, its identity and its health
//! - `unavailable_backend`: blocks entities of unavailable backends; `stray_sweep`: finds objects without an entity
//!
//! **Architecture invariant:** a dispatcher learns of work from the queue alone. Wake-ups and timers only make it read
//! the queue earlier; nothing is lost with them.

pub mod lease;
pub mod lease_keeper;

mod backend_record;
mod dependency_cycles;
mod dispatcher;
mod execute;
mod health_check;
pub(crate) mod implicit_dependencies;
mod observation_baseline;
mod observe;
mod ownership;
mod plan;
mod resolve;
mod retry;
mod round;
mod stray_sweep;
mod unavailable_backend;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use stateward_domain::entity::Entity;
use stateward_domain::id::{KindName, Position};
use stateward_domain::ports::driver::Driver;
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::sync_queue::SyncQueue;
use stateward_domain::time::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admission::compiled_schemas::Kinds;
use crate::backends::{Backend, Backends};
use crate::clock::ClockAndIds;
use crate::commands::Commands;
use crate::commands::control_streams::ControlStreams;
use crate::entity_repository::EntityRepository;
use crate::error::QueryError;
use crate::membership::Membership;
use crate::process_manager::lease::LeaseTimes;
use crate::process_manager::lease_keeper::LeaseKeeper;
use crate::projections::runner::{self, ProjectionProgress};
use crate::secrets::Secrets;

/// Pause before a task that panicked is restarted.
const PANIC_BACKOFF: Duration = Duration::from_secs(1);
/// How long a round waits for the executor to catch up; then it is retried later.
const EXECUTOR_LAG_MAX: Duration = Duration::from_secs(5);

/// A log that lost nothing.
pub(crate) const NEVER_CUT: i64 = i64::MIN;

/// State that all process managers share.
pub struct Shared {
    /// The event log.
    pub log: Arc<dyn EventStore>,
    /// Records results.
    pub commands: Commands,
    /// Folded entities.
    pub entities: EntityRepository,
    /// Work and leases.
    pub queue: Arc<dyn SyncQueue>,
    /// Streams of the backends.
    pub control: ControlStreams,
    /// Kinds with their schemas.
    pub kinds: Arc<Kinds>,
    /// Values of secrets.
    pub secrets: Arc<Secrets>,
    /// Notified when a backend refuses our credentials: the configuration may have new ones.
    pub reload_wanted: Notify,
    /// Clock, ids and randomness.
    pub clock: ClockAndIds,
    /// How long leases last.
    pub lease_times: LeaseTimes,
    /// Renews the leases of running rounds.
    pub lease_keeper: LeaseKeeper,
    /// This process among those that share the store.
    pub membership: Arc<Membership>,
    /// Time between sweeps for objects without an entity.
    pub sweep_interval: Duration,
    /// Set = only observe: nothing is changed on any backend before a person allows it.
    pub observe_only: Arc<AtomicBool>,
    /// The newest time at which the log was cut, in microseconds; the smallest number = never.
    pub log_cut: AtomicI64,
    /// Progress of this process's executor.
    pub executor: watch::Sender<ProjectionProgress>,
    /// Cancelled to stop everything.
    pub shutdown: CancellationToken,
}

impl Shared {
    /// Resolves once the queue includes all events up to `position`.
    ///
    /// # Errors
    /// [`QueryError::Store`] when the executor does not get there in time: it stopped, or is far behind.
    pub(crate) async fn wait_for_executor(&self, position: Position) -> Result<(), QueryError> {
        let reached = runner::reached(&self.executor, position, self.queue.advanced_past(position));
        let reached = tokio::time::timeout(EXECUTOR_LAG_MAX, reached).await;
        reached.map_err(|_| QueryError::Unavailable("the queue is behind the log".to_owned()))
    }

    /// The newest time at which the log was cut: it was restored or copied, or a failover lost its end. Of what was
    /// declared before, events may be missing that had effects. `None` = it has all.
    pub(crate) fn log_cut_at(&self) -> Option<Timestamp> {
        let at = self.log_cut.load(Ordering::Acquire);
        (at != NEVER_CUT).then_some(Timestamp(at))
    }

    /// Whether an object of `entity` may exist though the log knows no intent to create it.
    pub(crate) fn may_lack_intent(&self, entity: &Entity) -> bool {
        plan::search_result::may_lack_intent(entity, self.log_cut_at())
    }

    /// The log was cut at `at`, if that is not known yet. Idempotent.
    pub(crate) fn note_log_cut(&self, at: Timestamp) {
        self.log_cut.fetch_max(at.0, Ordering::AcqRel);
    }

    /// Forbids changes of backends in this process because of the restore hold; running calls go on. Idempotent.
    pub(crate) fn forbid_changes(&self) {
        self.membership.note_restore_hold(true);
        self.observe_only.store(true, Ordering::Release);
        self.membership.report_now();
    }

    /// Ends observe-only in this process, and makes the snoozed work of `backends` due. Idempotent.
    pub(crate) async fn allow_changes(&self, backends: &Backends) {
        self.membership.note_restore_hold(false);
        if self.observe_only.swap(false, Ordering::AcqRel) {
            self.membership.report_now();
            for backend in backends.all().values() {
                self.resume_work(backend).await;
            }
        }
    }

    /// Whether no new round may start on `backend`: the process stops, or the backend is retired.
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

/// Runs the process managers of all `backends`, including those that are configured later, until the shared token is
/// cancelled and every round has ended.
pub async fn run(shared: Arc<Shared>, backends: Backends) {
    // Before the first round, so that no round changes an object that another entity manages.
    if let Err(error) = ownership::record_contests(&shared).await {
        tracing::error!(%error, "contests for objects were not recorded");
    }
    let mut keeper = JoinSet::new();
    keeper.spawn(keep_leases(Arc::clone(&shared)));
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
        // Supervisors of removed backends end by themselves.
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
    // Leases are renewed until the last round has ended.
    keeper.shutdown().await;
}

/// Renews leases, again after a panic. Never returns; ends by being aborted.
async fn keep_leases(shared: Arc<Shared>) {
    loop {
        let shared = Arc::clone(&shared);
        let mut keeper = JoinSet::new();
        keeper.spawn(async move {
            let Shared { lease_keeper, queue, clock, lease_times, .. } = &*shared;
            lease_keeper.run(&**queue, clock, *lease_times).await;
        });
        if let Some(Err(error)) = keeper.join_next().await {
            tracing::error!(%error, "the renewal of leases panicked, and is restarted");
        }
        tokio::time::sleep(PANIC_BACKOFF).await;
    }
}

/// Runs the tasks of one backend until it is retired. Rounds under the configuration `before` end first, so that the
/// limits of both never add up.
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

/// Runs `task` in a task of its own and restarts it when it panics, so that no backend is left without a process
/// manager.
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

/// Names of the kinds of a driver.
pub(crate) fn kind_names(driver: &dyn Driver) -> Vec<KindName> {
    driver.kinds().iter().map(|kind| kind.name.clone()).collect()
}
