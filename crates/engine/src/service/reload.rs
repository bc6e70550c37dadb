//! Reloading the configuration: as a whole or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use stateward_domain::backend::BackendEvent;
use stateward_domain::envelope::{Actor, Envelope, StreamId};
use stateward_domain::id::{BackendName, Namespace, Version};
use stateward_domain::ports::read_model::EntityFilter;
use stateward_domain::system::{System, SystemEvent};

use super::Engine;
use super::projections::CATCH_UP_TIMEOUT;
use crate::backends::{BackendChange, BackendSettings};
use crate::error::{CommandError, ControlError, QueryError};
use crate::service::configuration::Configuration;

/// Minimum time between reloads that a backend caused: one that refuses our credentials keeps being called.
const RELOAD_PAUSE: Duration = Duration::from_secs(5);

/// Actor of a reload that a signal asked for.
pub const HANGUP: &str = "sighup";

/// What a new configuration changed, by backend.
pub type BackendChanges = BTreeMap<BackendName, BackendChange>;

/// A reload that this process carried out.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// What it changed here.
    pub backends: BackendChanges,
    /// Version of the system stream that records it, so that every process reloads; `None` = it is this process's alone.
    pub version: Option<Version>,
}

impl Engine {
    /// Reloads the configuration and all secrets. Changed backends are connected again, the others are kept.
    ///
    /// # Errors
    /// [`ControlError::BadConfiguration`]; [`ControlError::BackendInUse`] and [`ControlError::InUse`] when the new
    /// configuration removes something that still has entities; [`QueryError::Store`]. The present configuration stays
    /// in force.
    pub async fn reload(&self, envelope: &Envelope) -> Result<Reloaded, ControlError> {
        let mut last = self.inner.reloading.lock().await;
        let request = envelope;
        // The idempotency key stands for the whole reload; the first of several removals would take it.
        let envelope = &Envelope { idempotency: None, ..envelope.clone() };
        let (changes, other_secrets) = self.apply_configuration().await?;
        let shared = &self.inner.shared;
        let at = shared.clock.now();
        for (name, change) in &changes {
            match (change, self.inner.backends.get(name)) {
                // The new configuration is in force; an event that cannot be recorded now does not revert it.
                (BackendChange::Removed, _) => {
                    let removed = |_: &_| vec![BackendEvent::Removed { at }];
                    if let Err(error) = shared.append_backend_events(name, envelope, removed).await
                    {
                        tracing::error!(backend = %name, %error, "its removal is not recorded");
                    }
                }
                // Entities that wait for a secret or for credentials are tried again at once.
                (BackendChange::Changed, Some(backend)) => shared.reopen(&backend).await,
                (_, Some(backend)) if other_secrets => shared.reopen(&backend).await,
                _ => {}
            }
        }
        // Each process of a shared store reads its own files, whichever of them got the signal.
        let hangup = request.actor.id == HANGUP && self.membership().is_shared();
        if request.actor.kind == Actor::SYSTEM && !hangup {
            Ok(Reloaded { backends: changes, version: None })
        } else {
            self.record_reload(request, changes, &mut last).await
        }
    }

    /// Reads the configuration and puts it in force here, or leaves the present one in force; the changes, and whether
    /// any secret changed.
    async fn apply_configuration(&self) -> Result<(BackendChanges, bool), ControlError> {
        let read = self.inner.source.read().await.map_err(ControlError::BadConfiguration)?;
        self.refuse_removal_of_used(&read).await?;
        let Configuration { backends, namespaces, secrets } = read;
        let other_secrets = self.inner.shared.secrets.replace(secrets);
        self.access().configure(namespaces);
        let changes = self.inner.backends.replace(backends);
        // The rate of a new backend is the configured one until here.
        self.membership().limit_rates();
        self.membership().report_now();
        Ok((changes, other_secrets))
    }

    /// Reloads because another process recorded a reload at `version` of the system stream. Does nothing for one that
    /// this process carried out, and records nothing: the other process did.
    async fn reload_recorded(&self, version: Version) -> Result<(), ControlError> {
        let mut last = self.inner.reloading.lock().await;
        if *last >= version {
            return Ok(());
        }
        let (changes, other_secrets) = self.apply_configuration().await?;
        *last = version;
        tracing::info!("another process reloaded the configuration, and so did this one");
        for (name, change) in &changes {
            if (other_secrets || *change == BackendChange::Changed)
                && let Some(backend) = self.inner.backends.get(name)
            {
                self.inner.shared.resume_work(&backend).await;
            }
        }
        Ok(())
    }

    /// Records what a user's reload changed, with its version in `last`; for a repeated request, returns what the first
    /// one changed.
    async fn record_reload(
        &self,
        envelope: &Envelope,
        changes: BackendChanges,
        last: &mut Version,
    ) -> Result<Reloaded, ControlError> {
        let at = self.clock().now();
        let event = SystemEvent::ConfigurationReloaded { at, backends: changes.clone() };
        let stream = StreamId::system();
        let record = |_: &System| Ok::<_, CommandError>(vec![event.clone()]);
        let outcome = self.inner.shared.control.change(&stream, envelope, record).await?;
        match outcome.repeats {
            None => {
                let version = outcome.state.version;
                *last = version;
                self.membership().note_reload(version, None);
                Ok(Reloaded { backends: changes, version: Some(version) })
            }
            Some(version) => Ok(self.reloaded_at(version).await?),
        }
    }

    /// The reload that is recorded at `version` of the system stream.
    ///
    /// # Errors
    /// [`QueryError::NotFound`] when that event is no reload, [`QueryError::Store`], [`QueryError::Unreadable`].
    pub async fn reloaded_at(&self, version: Version) -> Result<Reloaded, QueryError> {
        let event = self.inner.shared.control.event::<System>(&StreamId::system(), version).await?;
        match event {
            SystemEvent::ConfigurationReloaded { backends, .. } => {
                Ok(Reloaded { backends, version: Some(version) })
            }
            _ => Err(QueryError::NotFound),
        }
    }

    async fn refuse_removal_of_used(&self, read: &Configuration) -> Result<(), ControlError> {
        let head = self.log().head().await?;
        if !self.caught_up(head, CATCH_UP_TIMEOUT).await {
            return Err(QueryError::Unavailable("the lists are behind".to_owned()).into());
        }
        let configured = |name: &BackendName| {
            read.backends.iter().any(|settings: &BackendSettings| settings.name == *name)
        };
        let all = self.inner.backends.all();
        let counts = self.views().counts().await?;
        if let Some(name) = all.keys().find(|name| !configured(name)) {
            let there = counts.iter().filter(|entry| entry.backend == *name);
            let count: u64 = there.map(|entry| entry.count).sum();
            if count > 0 {
                return Err(ControlError::BackendInUse { name: name.clone(), count });
            }
        }
        self.refuse_removal_of_used_namespaces(read).await
    }

    async fn refuse_removal_of_used_namespaces(
        &self,
        read: &Configuration,
    ) -> Result<(), ControlError> {
        let created = |name: &Namespace| self.access().is_created(name);
        let default = Namespace::from(crate::access::DEFAULT_NAMESPACE);
        let before = self.access().configured();
        let kept = |name: &&Namespace| {
            **name == default || read.namespaces.contains_key(*name) || created(name)
        };
        for name in before.keys().filter(|name| !kept(name)) {
            let namespaces = Some(vec![name.clone()]);
            let filter = EntityFilter { namespaces, ..EntityFilter::default() };
            let entities = self.views().entities(&filter, 1_000, None).await?.items.len();
            if entities > 0 {
                return Err(ControlError::InUse { count: entities as u64 });
            }
        }
        Ok(())
    }
}

/// Reloads the configuration whenever a backend refused our credentials, until the engine stops.
pub(super) async fn reload_on_demand(engine: Engine) {
    let shared = &engine.inner.shared;
    loop {
        tokio::select! {
            () = shared.reload_wanted.notified() => {}
            () = shared.shutdown.cancelled() => return,
        }
        let envelope = Envelope::system("reload", Namespace::default());
        match engine.reload(&envelope).await {
            Ok(_) => tracing::info!("credentials were refused: the configuration was read anew"),
            Err(error) => tracing::warn!(%error, "the configuration was not read anew"),
        }
        tokio::select! {
            () = tokio::time::sleep(RELOAD_PAUSE) => {}
            () = shared.shutdown.cancelled() => return,
        }
    }
}

/// Reloads the configuration whenever another process recorded that it did, until the engine stops. A configuration
/// that this process cannot read or must not apply leaves the present one in force, until the next reload.
pub(crate) async fn reload_as_recorded(engine: Engine) {
    let mut reloaded = engine.inner.reloaded.subscribe();
    loop {
        tokio::select! {
            _ = reloaded.changed() => {}
            () = engine.stopped() => return,
        }
        let version = *reloaded.borrow_and_update();
        match engine.reload_recorded(version).await {
            Ok(()) => engine.membership().note_reload(version, None),
            Err(error) => {
                tracing::error!(%error, "another process reloaded the configuration; this one could not");
                engine.membership().note_reload(version, Some(error.to_string()));
            }
        }
        engine.inner.reload_done.send_replace(version);
    }
}
