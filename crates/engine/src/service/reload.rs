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
use crate::error::Error;
use crate::service::configuration::Configuration;

/// Minimum time between reloads that a backend caused: one that refuses our credentials keeps being called.
const RELOAD_PAUSE: Duration = Duration::from_secs(5);

/// What a new configuration changed, by backend.
pub type BackendChanges = BTreeMap<BackendName, BackendChange>;

impl Engine {
    /// Reloads the configuration and all secrets. Changed backends are connected again, the others are kept.
    ///
    /// # Errors
    /// [`Error::BadConfiguration`]; [`Error::BackendInUse`] and [`Error::InUse`] when the new configuration removes
    /// something that still has entities; [`Error::Unavailable`]. The present configuration stays in force.
    pub async fn reload(&self, envelope: &Envelope) -> Result<BackendChanges, Error> {
        let _one_at_a_time = self.inner.reloading.lock().await;
        let request = envelope;
        // The idempotency key stands for the whole reload; the first of several removals would take it.
        let envelope = &Envelope { idempotency: None, ..envelope.clone() };
        let read = self.inner.source.read().await.map_err(Error::BadConfiguration)?;
        self.refuse_removal_of_used(&read).await?;
        let Configuration { backends, namespaces, secrets } = read;
        let shared = &self.inner.shared;
        let other_secrets = shared.secrets.replace(secrets);
        self.access().configure(namespaces);
        let changes = self.inner.backends.replace(backends);
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
        if request.actor.kind == Actor::SYSTEM {
            Ok(changes)
        } else {
            self.record_reload(request, changes).await
        }
    }

    /// Records what a user's reload changed; for a repeated request, returns what the first one changed.
    async fn record_reload(
        &self,
        envelope: &Envelope,
        changes: BackendChanges,
    ) -> Result<BackendChanges, Error> {
        let at = self.clock().now();
        let event = SystemEvent::ConfigurationReloaded { at, backends: changes.clone() };
        let stream = StreamId::system();
        let record = |_: &System| Ok(vec![event.clone()]);
        let outcome = self.inner.shared.control.change(&stream, envelope, record).await?;
        match outcome.repeats {
            None => Ok(changes),
            Some(version) => self.reloaded_at(version).await,
        }
    }

    /// What the reload changed that is recorded at `version` of the system stream.
    ///
    /// # Errors
    /// [`Error::NotFound`] when that event is no reload, [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn reloaded_at(&self, version: Version) -> Result<BackendChanges, Error> {
        let event = self.inner.shared.control.event::<System>(&StreamId::system(), version).await?;
        match event {
            SystemEvent::ConfigurationReloaded { backends, .. } => Ok(backends),
            _ => Err(Error::NotFound),
        }
    }

    async fn refuse_removal_of_used(&self, read: &Configuration) -> Result<(), Error> {
        let head = self.log().head().await?;
        if !self.caught_up(head, CATCH_UP_TIMEOUT).await {
            return Err(Error::Unavailable("the lists are behind".to_owned()));
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
                return Err(Error::BackendInUse { name: name.clone(), count });
            }
        }
        self.refuse_removal_of_used_namespaces(read).await
    }

    async fn refuse_removal_of_used_namespaces(&self, read: &Configuration) -> Result<(), Error> {
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
                return Err(Error::InUse { count: entities as u64 });
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
