//! Reading the configuration anew: as a whole or not at all.

use std::collections::BTreeMap;
use std::time::Duration;

use stateward_domain::backend::BackendEvent;
use stateward_domain::envelope::{Actor, Envelope, StreamId};
use stateward_domain::id::{BackendName, Namespace, Version};
use stateward_domain::ports::read_model::EntityFilter;
use stateward_domain::system::{System, SystemEvent};

use super::Engine;
use crate::backends::{BackendChange, BackendSettings};
use crate::error::Error;
use crate::service::configuration::Configuration;

/// How long a decision waits for the lists that it rests on.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between readings that nobody but a backend asked for: one that refuses us is asked again and again.
const REST: Duration = Duration::from_secs(5);

/// What a new configuration changed, by backend.
pub type Reloaded = BTreeMap<BackendName, BackendChange>;

impl Engine {
    /// Reads the configuration and all secrets anew. Backends that changed are connected anew, the others go on.
    ///
    /// # Errors
    /// [`Error::BadConfiguration`], [`Error::BackendInUse`] and [`Error::InUse`] when something lives in what the new
    /// one leaves out, [`Error::Unavailable`]; then everything goes on as it was.
    pub async fn reload(&self, envelope: &Envelope) -> Result<Reloaded, Error> {
        let _one_at_a_time = self.inner.reloading.lock().await;
        let whole = envelope;
        // The key stands for all of it, and would be taken by the first of several removals.
        let envelope = &Envelope { idempotency: None, ..envelope.clone() };
        let read = self.inner.source.read().await.map_err(Error::BadConfiguration)?;
        self.nothing_is_left_behind(&read).await?;
        let Configuration { backends, namespaces, secrets } = read;
        let shared = &self.inner.shared;
        let other_secrets = shared.secrets.replace(secrets);
        self.access().configure(namespaces);
        let changes = self.inner.backends.replace(backends);
        let at = shared.clock.now();
        for (name, change) in &changes {
            match (change, self.inner.backends.get(name)) {
                // The new configuration is in force: what cannot be told of it now does not take it back.
                (BackendChange::Removed, _) => {
                    let removed = |_: &_| vec![BackendEvent::Removed { at }];
                    if let Err(error) = shared.change_backend(name, envelope, removed).await {
                        tracing::error!(backend = %name, %error, "its removal is not recorded");
                    }
                }
                // What waited for a secret, or for credentials, is looked at again at once.
                (BackendChange::Changed, Some(backend)) => shared.wake(&backend).await,
                (_, Some(backend)) if other_secrets => shared.wake(&backend).await,
                _ => {}
            }
        }
        if whole.actor.kind == Actor::SYSTEM {
            Ok(changes)
        } else {
            self.reloaded(whole, changes).await
        }
    }

    /// Records what a person's reading changed; what it was answered with, where it repeats an earlier one.
    async fn reloaded(&self, envelope: &Envelope, changes: Reloaded) -> Result<Reloaded, Error> {
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

    /// What the reading changed that is recorded at `version` of the system's stream.
    ///
    /// # Errors
    /// [`Error::NotFound`] when that is no reading, [`Error::Unavailable`], [`Error::Unreadable`].
    pub async fn reloaded_at(&self, version: Version) -> Result<Reloaded, Error> {
        let event = self.inner.shared.control.event::<System>(&StreamId::system(), version).await?;
        match event {
            SystemEvent::ConfigurationReloaded { backends, .. } => Ok(backends),
            _ => Err(Error::NotFound),
        }
    }

    async fn nothing_is_left_behind(&self, read: &Configuration) -> Result<(), Error> {
        let head = self.log().head().await?;
        if !self.caught_up(head, PATIENCE).await {
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
        self.no_namespace_is_left_behind(read).await
    }

    async fn no_namespace_is_left_behind(&self, read: &Configuration) -> Result<(), Error> {
        let made = |name: &Namespace| self.access().is_made(name);
        let default = Namespace::from(crate::access::DEFAULT_NAMESPACE);
        let before = self.access().configured();
        let kept = |name: &&Namespace| {
            **name == default || read.namespaces.contains_key(*name) || made(name)
        };
        for name in before.keys().filter(|name| !kept(name)) {
            let namespaces = Some(vec![name.clone()]);
            let filter = EntityFilter { namespaces, ..EntityFilter::default() };
            let living = self.views().entities(&filter, 1_000, None).await?.items.len();
            if living > 0 {
                return Err(Error::InUse { count: living as u64 });
            }
        }
        Ok(())
    }
}

/// Reads the configuration anew whenever a backend refused our credentials, until the engine stops.
pub(super) async fn when_wanted(engine: Engine) {
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
            () = tokio::time::sleep(REST) => {}
            () = shared.shutdown.cancelled() => return,
        }
    }
}
