//! The facade of the engine: everything that an interface calls, and the tasks that run behind it.

mod audit;
mod backends;
pub mod configuration;
mod dependents;
mod entities;
mod entity_requests;
pub mod export;
mod idempotency;
mod namespaces;
mod nodes;
mod objects;
mod operations;
mod projections;
pub(crate) mod reload;
mod restore_hold;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use stateward_domain::id::{Position, Version};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::audit::{Auditor, RestoreHold};
use stateward_domain::ports::cluster::{Duty, Role};
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::health::{Check, Lag, StoreCounters, StoreHealth};
use stateward_domain::ports::projection::Projection;
use stateward_domain::ports::read_model::{ReadModel, Views};
use stateward_domain::ports::store_ports::StorePorts;
use tokio::sync::{Mutex, Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::access::AccessControl;
use crate::admission::compiled_schemas::{InvalidSchema, Kinds};
use crate::backends::Backends;
use crate::clock::ClockAndIds;
use crate::commands::Commands;
use crate::commands::appender::Appender;
use crate::commands::control_streams::ControlStreams;
use crate::commands::idempotency::IdempotencyPermits;
use crate::entity_repository::EntityRepository;
use crate::follower::{Followed, Follower};
use crate::membership::{Membership, NodeDescription};
use crate::process_manager::lease::LeaseTimes;
use crate::process_manager::lease_keeper::LeaseKeeper;
use crate::process_manager::{self, NEVER_CUT, Shared};
use crate::projections::executor::Executor;
use crate::projections::runner::{ProjectionProgress, Runner};
use crate::secrets::Secrets;
use crate::service::configuration::{Configuration, ConfigurationSource};
use crate::waiters::Waiters;

pub use crate::commands::idempotency::IdempotencyPermit;
pub use audit::VerificationPermit;
pub use backends::BackendStatus;
pub use entity_requests::{Accepted, Declaration, EntityChange, Preview, Verb};
pub use nodes::FailedReload;
pub use objects::{BackendObject, ObjectPage};
pub use operations::FollowedOperation;
pub use projections::ProjectionStatus;
pub use reload::{BackendChanges, HANGUP, Reloaded};

/// Minimum age of an idempotency claim before it is forgotten.
const CLAIM_AGE: Duration = Duration::from_hours(192);
/// Time between two scans for old claims.
const CLAIM_SWEEP: Duration = Duration::from_hours(1);

/// Everything that an engine is built from.
pub struct Parts {
    /// The store.
    pub store: StorePorts,
    /// Every kind that this process knows, including kinds of drivers that no backend uses.
    pub kinds: Vec<KindSpec>,
    /// The configuration to start with.
    pub configuration: Configuration,
    /// The source that the configuration is reloaded from.
    pub source: Arc<dyn ConfigurationSource>,
    /// Clock, ids and randomness.
    pub clock: ClockAndIds,
    /// What this process is called among those that share the store, and what it runs.
    pub node: NodeDescription,
    /// Options.
    pub options: Options,
}

/// Options of the engine.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long leases last.
    pub lease_times: LeaseTimes,
    /// Time between sweeps for objects without an entity.
    pub sweep_interval: Duration,
    /// Only observe: nothing is changed on any backend.
    pub observe_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease_times: LeaseTimes::default(),
            sweep_interval: Duration::from_mins(1),
            observe_only: false,
        }
    }
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) backends: Backends,
    pub(crate) waiters: Waiters,
    access: Arc<AccessControl>,
    views: Arc<dyn Views>,
    idempotency_permits: IdempotencyPermits,
    pub(crate) executor: Arc<Executor>,
    source: Arc<dyn ConfigurationSource>,
    /// One reload at a time; the version of the system stream with the last one that this process carried out.
    reloading: Mutex<Version>,
    /// The version of the system stream with the last reload that any process recorded.
    reloaded: watch::Sender<Version>,
    /// The version of the last such reload that this process is done with, successfully or not.
    reload_done: watch::Sender<Version>,
    /// One rebuild at a time.
    rebuilding: Mutex<()>,
    models: Vec<RunningModel>,
    auditor: Arc<dyn Auditor>,
    restore_hold: Arc<dyn RestoreHold>,
    health: Arc<dyn StoreHealth>,
    /// One verification at a time.
    verification_permits: Arc<Semaphore>,
}

/// A read model and its progress.
struct RunningModel {
    model: Arc<dyn ReadModel>,
    progress: watch::Sender<ProjectionProgress>,
}

impl Engine {
    /// Builds the engine; nothing runs before [`run`](Self::run).
    ///
    /// # Errors
    /// A kind whose schema is not valid.
    pub fn new(parts: Parts) -> Result<Self, InvalidSchema> {
        let kinds = Arc::new(Kinds::compile(parts.kinds)?);
        let store = parts.store;
        let entities = EntityRepository::new(Arc::clone(&store.log), Arc::clone(&store.views));
        let waiters = Waiters::default();
        let appender = Appender::new(Arc::clone(&store.log), Arc::clone(&store.cluster));
        let commands = Commands::new(
            Arc::clone(&store.log),
            appender.clone(),
            entities.clone(),
            parts.clock.clone(),
            waiters.clone(),
        );
        let control = ControlStreams::new(Arc::clone(&store.log), appender, parts.clock.clone());
        let Configuration { backends, namespaces, secrets } = parts.configuration;
        let access = AccessControl::new(control.clone(), parts.clock.clone(), namespaces);
        let known = Arc::new(Secrets::default());
        known.replace(secrets);
        let observe_only = Arc::new(AtomicBool::new(parts.options.observe_only));
        let (node, flag) = (parts.node, Arc::clone(&observe_only));
        let backends = Backends::new(backends, Arc::clone(&known));
        let clock = parts.clock.clone();
        let membership = Membership::new(store.cluster, node, flag, clock, backends.clone());
        let shared = Shared {
            membership: Arc::new(membership),
            control,
            log: store.log,
            commands,
            entities,
            queue: store.queue,
            kinds,
            secrets: known,
            reload_wanted: Notify::new(),
            clock: parts.clock,
            lease_times: parts.options.lease_times,
            lease_keeper: LeaseKeeper::default(),
            sweep_interval: parts.options.sweep_interval,
            observe_only,
            log_cut: AtomicI64::new(NEVER_CUT),
            executor: watch::Sender::new(ProjectionProgress::default()),
            shutdown: CancellationToken::new(),
        };
        let model = |model| RunningModel {
            model,
            progress: watch::Sender::new(ProjectionProgress::default()),
        };
        // No call before the members are known that have a part of the rate.
        shared.membership.limit_rates();
        let executor = Executor::new(Arc::clone(&shared.queue), shared.entities.clone());
        let inner = Inner {
            shared: Arc::new(shared),
            backends,
            executor: Arc::new(executor),
            waiters,
            access: Arc::new(access),
            views: store.views,
            idempotency_permits: IdempotencyPermits::default(),
            source: parts.source,
            reloading: Mutex::default(),
            reloaded: watch::Sender::default(),
            reload_done: watch::Sender::default(),
            rebuilding: Mutex::default(),
            models: store.models.into_iter().map(model).collect(),
            auditor: store.auditor,
            restore_hold: store.restore_hold,
            health: store.health,
            verification_permits: Arc::new(Semaphore::new(1)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs projections and process managers until [`stop`](Self::stop) is called and running rounds have ended.
    pub async fn run(&self) {
        let shared = &self.inner.shared;
        // Before the first round: it must not act on a backend that is parked.
        let follower = Follower::begin(self.followed()).await;
        // Until the last round has ended: it needs the projections, and its lease a member that lives.
        let ended = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let executor = Arc::clone(&self.inner.executor);
        self.spawn_projection(&mut tasks, executor, &shared.executor, &ended);
        for RunningModel { model, progress } in &self.inner.models {
            self.spawn_projection(&mut tasks, model.clone(), progress, &ended);
        }
        let membership = Arc::clone(&shared.membership);
        let token = ended.clone();
        let access = Arc::clone(&self.inner.access);
        tasks.spawn(async move {
            tokio::select! {
                () = membership.run(token) => {}
                () = membership.confirm(&access), if membership.is_shared() => {}
            }
        });
        // Until the end: a process that drains still obeys pauses, and reports what is in force.
        tasks.spawn(follower.run(ended.clone()));
        tasks.spawn(reload::reload_on_demand(self.clone()));
        tasks.spawn(reload::reload_as_recorded(self.clone()));
        if shared.membership.role() == Role::Api {
            shared.shutdown.cancelled().await;
        } else {
            tasks.spawn(forget_claims(Arc::clone(shared)));
            process_manager::run(Arc::clone(shared), self.inner.backends.clone()).await;
        }
        ended.cancel();
        while tasks.join_next().await.is_some() {}
        shared.membership.leave().await;
    }

    /// This process among those that share the store.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.inner.shared.membership
    }

    pub(crate) fn followed(&self) -> Followed {
        let inner = &self.inner;
        Followed {
            shared: Arc::clone(&inner.shared),
            backends: inner.backends.clone(),
            access: Arc::clone(&inner.access),
            waiters: inner.waiters.clone(),
            reloaded: inner.reloaded.clone(),
            reload_done: inner.reload_done.clone(),
        }
    }

    fn spawn_projection(
        &self,
        tasks: &mut JoinSet<()>,
        projection: Arc<dyn Projection>,
        progress: &watch::Sender<ProjectionProgress>,
        shutdown: &CancellationToken,
    ) {
        let shared = &self.inner.shared;
        let (log, membership) = (Arc::clone(&shared.log), Arc::clone(&shared.membership));
        let (progress, shutdown) = (progress.clone(), shutdown.clone());
        tasks.spawn(Runner { log, projection, progress, membership, shutdown }.run());
    }

    /// Starts the shutdown: no further round starts.
    pub fn stop(&self) {
        self.inner.shared.shutdown.cancel();
    }

    /// Resolves when the shutdown has started.
    pub async fn stopped(&self) {
        self.inner.shared.shutdown.cancelled().await;
    }

    /// Namespaces and tokens.
    #[must_use]
    pub fn access(&self) -> &AccessControl {
        &self.inner.access
    }

    /// Kinds with their schemas.
    #[must_use]
    pub fn kinds(&self) -> &Kinds {
        &self.inner.shared.kinds
    }

    /// Configured backends.
    #[must_use]
    pub fn backends(&self) -> &Backends {
        &self.inner.backends
    }

    /// The reading side of the read model.
    #[must_use]
    pub fn views(&self) -> &dyn Views {
        &*self.inner.views
    }

    /// The event log.
    #[must_use]
    pub fn log(&self) -> &dyn EventStore {
        &*self.inner.shared.log
    }

    /// What the store knows about its own state.
    pub async fn store_health(&self) -> Vec<Check> {
        self.inner.health.health().await
    }

    /// For how long an append in flight has kept readers of the log from events behind it; zero = none does.
    #[must_use]
    pub fn log_held_back(&self) -> Duration {
        self.inner.health.log_held_back()
    }

    /// See [`StoreHealth::lag`].
    pub async fn store_lag(&self, position: Position, head: Position) -> Option<Lag> {
        self.inner.health.lag(position, head).await
    }

    /// See [`StoreHealth::counters`].
    #[must_use]
    pub fn store_counters(&self) -> Option<StoreCounters> {
        self.inner.health.counters()
    }

    /// Clock, ids and randomness.
    #[must_use]
    pub fn clock(&self) -> &ClockAndIds {
        &self.inner.shared.clock
    }

    /// Folded entities, also of earlier versions.
    #[must_use]
    pub fn entities(&self) -> &EntityRepository {
        &self.inner.shared.entities
    }

    /// Whether changes of backends are forbidden until a person allows them.
    #[must_use]
    pub fn is_observe_only(&self) -> bool {
        self.inner.shared.observe_only.load(Ordering::Acquire)
    }
}

async fn forget_claims(shared: Arc<Shared>) {
    loop {
        if shared.membership.holds(&Duty::ForgetClaims).await
            && let Err(error) = shared.log.forget_claims_older_than(CLAIM_AGE).await
        {
            tracing::warn!(%error, "old idempotency claims were not forgotten");
        }
        tokio::select! {
            () = tokio::time::sleep(CLAIM_SWEEP) => {}
            () = shared.shutdown.cancelled() => return,
        }
    }
}
