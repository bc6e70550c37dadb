//! Backends at work: each with its driver and what says whether work may begin, replaced as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use stateward_domain::id::{BackendName, KindName, Namespace};
use stateward_domain::kind::KindSpec;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::backends::availability::Availability;
use crate::backends::mass_absence::MassAbsenceDetector;
use crate::backends::redacting::RedactingDriver;
use crate::backends::{BackendChange, BackendSettings};
use crate::secrets::Secrets;

/// A backend at work.
pub struct Backend {
    /// As configured.
    pub settings: BackendSettings,
    /// Whether work may begin.
    pub availability: Availability,
    /// Rung when there may be something to lease.
    pub wakeup: Notify,
    /// Whether too much is gone at once.
    pub mass_absence: MassAbsenceDetector,
    /// Objects that carry an owner key of ours and belong to no entity here, when they were last looked for.
    pub unknown_objects: AtomicU64,
    /// Set when another configuration took its place: nothing new begins here.
    pub(crate) retired: CancellationToken,
    rate: Option<DefaultDirectRateLimiter>,
}

impl Backend {
    fn new(settings: BackendSettings, secrets: &Arc<Secrets>) -> Self {
        let (inner, secrets) = (settings.driver, Arc::clone(secrets));
        let driver = Arc::new(RedactingDriver { inner, secrets });
        let settings = BackendSettings { driver, ..settings };
        let rate =
            settings.rate_per_second.map(|rate| RateLimiter::direct(Quota::per_second(rate)));
        let availability = Availability::new(settings.breaker.failures);
        let (wakeup, mass_absence, retired) =
            (Notify::new(), MassAbsenceDetector::default(), CancellationToken::new());
        let unknown_objects = AtomicU64::new(0);
        Self { settings, availability, wakeup, mass_absence, unknown_objects, retired, rate }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &BackendName {
        &self.settings.name
    }

    /// Waits until the configured rate lets another call go out.
    pub async fn wait_for_rate_limit(&self) {
        if let Some(rate) = &self.rate {
            rate.until_ready().await;
        }
    }

    /// The kind called `name`, if the driver has it and the configuration lets it be used.
    #[must_use]
    pub fn kind(&self, name: &KindName) -> Option<&KindSpec> {
        let allowed = self.settings.kinds.as_ref().is_none_or(|kinds| {
            kinds.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(prefix) => name.as_str().starts_with(prefix),
                None => name.as_str() == pattern,
            })
        });
        self.settings.driver.kinds().iter().find(|kind| allowed && kind.name == *name)
    }

    /// Whether entities of `kind` in `namespace` may live here.
    #[must_use]
    pub fn serves(&self, namespace: &Namespace, kind: &KindName) -> bool {
        let names = self.settings.namespaces.as_ref();
        names.is_none_or(|names| names.contains(namespace)) && self.kind(kind).is_some()
    }
}

/// Backends by name, as they are configured at one moment.
pub type BackendsByName = Arc<BTreeMap<BackendName, Arc<Backend>>>;

/// All configured backends; a new configuration takes the place of the old one as a whole. Cheap to clone.
#[derive(Clone, Default)]
pub struct Backends {
    by_name: Arc<watch::Sender<BackendsByName>>,
    secrets: Arc<Secrets>,
}

impl Backends {
    /// Backends with these settings, whose answers hold none of `secrets`.
    #[must_use]
    pub fn new(settings: impl IntoIterator<Item = BackendSettings>, secrets: Arc<Secrets>) -> Self {
        let backends = Self { secrets, ..Self::default() };
        backends.replace(settings);
        backends
    }

    /// The backend called `name`; `None` when none is configured (any more).
    #[must_use]
    pub fn get(&self, name: &BackendName) -> Option<Arc<Backend>> {
        self.by_name.borrow().get(name).cloned()
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> BackendsByName {
        Arc::clone(&self.by_name.borrow())
    }

    /// Rings when another configuration took the place of this one.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BackendsByName> {
        self.by_name.subscribe()
    }

    /// Those that serve `kind` in `namespace`.
    #[must_use]
    pub fn candidates(&self, namespace: &Namespace, kind: &KindName) -> Vec<Arc<Backend>> {
        let all = self.all();
        let candidates = all.values().filter(|backend| backend.serves(namespace, kind));
        candidates.cloned().collect()
    }

    /// Puts a new configuration in the place of the old one. Whatever has the same fingerprint goes on as it was, with
    /// its connection; the others are retired.
    pub(crate) fn replace(
        &self,
        settings: impl IntoIterator<Item = BackendSettings>,
    ) -> BTreeMap<BackendName, BackendChange> {
        let before = self.all();
        let mut changes: BTreeMap<_, _> =
            before.keys().map(|name| (name.clone(), BackendChange::Removed)).collect();
        let mut after = BTreeMap::new();
        for settings in settings {
            let name = settings.name.clone();
            let same = |known: &&Arc<Backend>| known.settings.fingerprint == settings.fingerprint;
            let (change, backend) = match before.get(&name) {
                None => (BackendChange::Added, Arc::new(Backend::new(settings, &self.secrets))),
                Some(known) if same(&known) => (BackendChange::Unchanged, Arc::clone(known)),
                Some(_) => {
                    (BackendChange::Changed, Arc::new(Backend::new(settings, &self.secrets)))
                }
            };
            changes.insert(name.clone(), change);
            after.insert(name, backend);
        }
        self.by_name.send_replace(Arc::new(after));
        for (name, change) in &changes {
            if matches!(change, BackendChange::Changed | BackendChange::Removed)
                && let Some(backend) = before.get(name)
            {
                backend.retired.cancel();
            }
        }
        changes
    }
}
