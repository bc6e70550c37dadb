//! The facade: everything that an interface asks of the engine, and the tasks that make it go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stateward_domain::backend::{Backend as Record, BackendEvent, Pause};
use stateward_domain::entity::Entity;
use stateward_domain::envelope::Envelope;
use stateward_domain::id::{BackendName, EntityId, OperationId, Position, Version};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::event_store::EventStore;
use stateward_domain::ports::read_model::{Quarantined, ReadModel, Views};
use stateward_domain::ports::sync_queue::SyncQueue;
use stateward_domain::time::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backends::gate::Closed;
use crate::backends::records::Records;
use crate::backends::{Backend, BackendSettings, Backends};
use crate::commands::Commands;
use crate::entities::Entities;
use crate::error::Error;
use crate::executor::Executor;
use crate::kinds::{BadSchema, Kinds};
use crate::process_manager::lease::LeaseTimes;
use crate::process_manager::{self, Shared};
use crate::runner::{self, Progress, Projection};
use crate::sources::Sources;
use crate::waiters::Waiters;

/// Idempotency claims are kept at least this long.
const CLAIM_AGE: Duration = Duration::from_hours(192);
/// Between two rounds of forgetting.
const CLAIM_SWEEP: Duration = Duration::from_hours(1);

/// What the engine is made of.
pub struct Parts {
    /// The log.
    pub log: Arc<dyn EventStore>,
    /// Queue and leases.
    pub queue: Arc<dyn SyncQueue>,
    /// The read model, its writing side.
    pub model: Arc<dyn ReadModel>,
    /// Its reading side.
    pub views: Arc<dyn Views>,
    /// Every kind that this process knows, also those of drivers that no backend uses.
    pub kinds: Vec<KindSpec>,
    /// Configured backends.
    pub backends: Vec<BackendSettings>,
    /// Time, ids, chance.
    pub sources: Sources,
    /// Knobs.
    pub options: Options,
}

/// Knobs of the engine.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long leases last.
    pub lease_times: LeaseTimes,
    /// Between looks for objects that match no entity.
    pub sweep_interval: Duration,
    /// Only look: nothing is changed on any backend.
    pub observe_only: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lease_times: LeaseTimes::default(),
            sweep_interval: Duration::from_mins(10),
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
    views: Arc<dyn Views>,
    model: Arc<dyn ReadModel>,
    executor_progress: watch::Sender<Progress>,
    model_progress: watch::Sender<Progress>,
}

/// How one projection stands.
#[derive(Clone, Debug)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub progress: Progress,
    /// Streams that it set aside.
    pub quarantined: Vec<Quarantined>,
}

/// How one backend stands.
pub struct BackendStatus {
    /// The backend.
    pub backend: Arc<Backend>,
    /// Why nothing is done; `None` = it is.
    pub closed: Option<Closed>,
    /// Whether a person stopped changes.
    pub paused: bool,
}

impl Engine {
    /// Puts the parts together; nothing runs before [`run`](Self::run).
    ///
    /// # Errors
    /// A kind whose schema is not valid.
    pub fn new(parts: Parts) -> Result<Self, BadSchema> {
        let kinds = Arc::new(Kinds::compile(parts.kinds)?);
        let entities = Entities::new(Arc::clone(&parts.log), Arc::clone(&parts.views));
        let waiters = Waiters::default();
        let commands = Commands::new(
            Arc::clone(&parts.log),
            entities.clone(),
            parts.sources.clone(),
            waiters.clone(),
        );
        let shared = Shared {
            records: Records::new(Arc::clone(&parts.log), parts.sources.clone()),
            log: parts.log,
            commands,
            entities,
            queue: parts.queue,
            kinds,
            sources: parts.sources,
            lease_times: parts.options.lease_times,
            sweep_interval: parts.options.sweep_interval,
            frozen: AtomicBool::new(parts.options.observe_only),
            shutdown: CancellationToken::new(),
        };
        let inner = Inner {
            shared: Arc::new(shared),
            backends: Backends::new(parts.backends),
            waiters,
            views: parts.views,
            model: parts.model,
            executor_progress: watch::Sender::new(Progress::default()),
            model_progress: watch::Sender::new(Progress::default()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs projections and process managers until [`stop`](Self::stop); running rounds end first.
    pub async fn run(&self) {
        let shared = &self.inner.shared;
        let projections = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let executor = Executor::new(
            Arc::clone(&shared.queue),
            shared.entities.clone(),
            self.inner.backends.clone(),
        );
        self.project(&mut tasks, executor, &self.inner.executor_progress, &projections);
        let model = Arc::clone(&self.inner.model);
        self.project(&mut tasks, model, &self.inner.model_progress, &projections);
        tasks.spawn(forget_claims(Arc::clone(&shared.log), shared.shutdown.clone()));
        process_manager::run(Arc::clone(shared), self.inner.backends.clone()).await;
        projections.cancel();
        while tasks.join_next().await.is_some() {}
    }

    fn project(
        &self,
        tasks: &mut JoinSet<()>,
        projection: impl Projection + 'static,
        progress: &watch::Sender<Progress>,
        shutdown: &CancellationToken,
    ) {
        let log = Arc::clone(&self.inner.shared.log);
        tasks.spawn(runner::run(log, projection, progress.clone(), shutdown.clone()));
    }

    /// Tells everything to end: no further round begins.
    pub fn stop(&self) {
        self.inner.shared.shutdown.cancel();
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

    /// The log.
    #[must_use]
    pub fn log(&self) -> &dyn EventStore {
        &*self.inner.shared.log
    }

    /// Time, ids, chance.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.inner.shared.sources
    }

    /// The entity as everything in the log makes it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was never declared, [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn entity(&self, id: EntityId) -> Result<Arc<Entity>, Error> {
        let entity = self.inner.shared.entities.fresh(id).await?;
        if entity.exists() { Ok(entity) } else { Err(Error::NotFound) }
    }

    /// Folds at other moments.
    #[must_use]
    pub fn entities(&self) -> &Entities {
        &self.inner.shared.entities
    }

    /// Waits until `operation` of `entity` has ended; false when it had not after `within`.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn ended(
        &self,
        entity: EntityId,
        operation: OperationId,
        within: Duration,
    ) -> Result<bool, Error> {
        let mut waiter = self.inner.waiters.wait_for(entity);
        let deadline = tokio::time::Instant::now() + within;
        loop {
            if self.entity(entity).await?.operation(operation).is_none() {
                return Ok(true);
            }
            tokio::select! {
                () = waiter.changed() => {}
                () = tokio::time::sleep_until(deadline) => return Ok(false),
                () = self.inner.shared.shutdown.cancelled() => return Ok(false),
            }
        }
    }

    /// Waits until the read model has taken everything up to `position`; false when it had not after `within`.
    pub async fn caught_up(&self, position: Position, within: Duration) -> bool {
        let mut progress = self.inner.model_progress.subscribe();
        let reached = progress.wait_for(|progress| progress.position >= position);
        tokio::time::timeout(within, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    /// How the projections stand.
    pub async fn projections(&self) -> Vec<ProjectionStatus> {
        let quarantined = self.inner.model.quarantined().await.unwrap_or_default();
        vec![
            ProjectionStatus {
                name: Executor::NAME,
                progress: self.inner.executor_progress.borrow().clone(),
                quarantined: Vec::new(),
            },
            ProjectionStatus {
                name: self.inner.model.name(),
                progress: self.inner.model_progress.borrow().clone(),
                quarantined,
            },
        ]
    }

    /// How the backends stand.
    #[must_use]
    pub fn backend_statuses(&self) -> Vec<BackendStatus> {
        let now = self.sources().now();
        let status = |backend: &Arc<Backend>| BackendStatus {
            backend: Arc::clone(backend),
            closed: backend.gate.closed(now),
            paused: backend.gate.paused(now),
        };
        self.inner.backends.iter().map(status).collect()
    }

    /// What the log knows of a backend.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`], [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn backend_record(&self, name: &BackendName) -> Result<Record, Error> {
        self.backend(name)?;
        self.inner.shared.records.load(name).await
    }

    /// A person confirms what a backend is and holds, and lets changes go on.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`], [`Error::Unavailable`] also when the backend does not answer.
    pub async fn unpark(&self, name: &BackendName, envelope: &Envelope) -> Result<(), Error> {
        self.inner.shared.unpark(self.backend(name)?, envelope).await
    }

    /// A person stops changes on a backend; `until` `None` = until somebody lets them go on.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`], [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn pause_backend(
        &self,
        name: &BackendName,
        until: Option<Timestamp>,
        envelope: &Envelope,
    ) -> Result<(), Error> {
        let backend = self.backend(name)?;
        let at = self.sources().now();
        let record = self.inner.shared.records.change(name, envelope, |record| {
            let paused = record.paused == Some(Pause { until });
            if paused { Vec::new() } else { vec![BackendEvent::Paused { at, until }] }
        });
        backend.gate.record(&record.await?);
        Ok(())
    }

    /// Asks a backend whether it is well, at once.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`]; [`Error::Unavailable`] with what it answered.
    pub async fn test_backend(&self, name: &BackendName) -> Result<(), Error> {
        let backend = self.backend(name)?;
        let shared = &self.inner.shared;
        let context = shared.probe_context(backend);
        let health = backend.settings.driver.health(&context).await;
        health.map_err(|failure| Error::Unavailable(failure.to_string()))?;
        backend.gate.recovered();
        shared.identify(backend).await;
        backend.bell.notify_one();
        Ok(())
    }

    pub(crate) fn backend(&self, name: &BackendName) -> Result<&Arc<Backend>, Error> {
        self.inner.backends.get(name).ok_or_else(|| Error::UnknownBackend(name.clone()))
    }

    /// Whether nothing is changed on any backend before a person says so.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.inner.shared.frozen.load(Ordering::Acquire)
    }

    /// Replays a projection from the start: the queue in place, because no one reads it but the dispatchers,
    /// who then find work a moment later; the read model beside the live one.
    ///
    /// # Errors
    /// [`Error::NotFound`] for another name, [`Error::Unavailable`].
    pub async fn rebuild(&self, projection: &str) -> Result<(), Error> {
        if projection == Executor::NAME {
            let reset = self.inner.shared.queue.reset().await;
            return reset.map_err(|error| Error::Unavailable(error.to_string()));
        }
        if projection != self.inner.model.name() {
            return Err(Error::NotFound);
        }
        let beside: Arc<dyn ReadModel> = Arc::from(self.inner.model.begin_rebuild().await?);
        loop {
            let from = beside.checkpoint().await?;
            let events = self.log().read_log(from, runner::BATCH).await?;
            match events.last() {
                Some(last) => ReadModel::apply(&*beside, from, last.position, &events).await?,
                None if self.inner.model.swap().await? => return Ok(()),
                // The live one has moved on: so has the log.
                None => {}
            }
        }
    }

    /// Replays the streams that the read model set aside; those that still cannot be applied stay there.
    ///
    /// # Errors
    /// [`Error::NotFound`] for another projection, [`Error::Unavailable`].
    pub async fn retry_quarantined(&self, projection: &str) -> Result<(), Error> {
        if projection != self.inner.model.name() {
            return Err(Error::NotFound);
        }
        for entry in self.inner.model.quarantined().await? {
            let Some((category, id)) = entry.stream.split_once('/') else { continue };
            let stream = stateward_domain::envelope::StreamId {
                category: category.to_owned(),
                id: id.to_owned(),
            };
            let events = self.log().read_stream(&stream, Version::default(), usize::MAX).await?;
            if let Err(error) = self.inner.model.retry(&entry.stream, &events).await {
                tracing::warn!(stream = entry.stream, %error, "the stream stays set aside");
            }
        }
        Ok(())
    }
}

async fn forget_claims(log: Arc<dyn EventStore>, shutdown: CancellationToken) {
    loop {
        if let Err(error) = log.forget_claims_older_than(CLAIM_AGE).await {
            tracing::warn!(%error, "old idempotency claims were not forgotten");
        }
        tokio::select! {
            () = tokio::time::sleep(CLAIM_SWEEP) => {}
            () = shutdown.cancelled() => return,
        }
    }
}
