//! The registry of running backends; a new configuration replaces all of them at once.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use stateward_domain::id::{BackendName, KindName, Namespace};
use stateward_domain::kind::KindSpec;
use stateward_domain::ports::member_report::BackendReport;
use stateward_domain::time::Moment;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::backends::availability::Availability;
use crate::backends::mass_absence::MassAbsenceDetector;
use crate::backends::redacting::RedactingDriver;
use crate::backends::{BackendChange, BackendSettings};
use crate::secrets::Secrets;

/// A running backend.
pub struct Backend {
    /// As configured.
    pub settings: BackendSettings,
    /// Circuit breaker, throttling, parking and pausing.
    pub availability: Availability,
    /// Wakes the dispatcher when there may be something to lease. A hint only: it may be lost.
    pub wakeup: Notify,
    /// Detects that too many objects are absent at once.
    pub mass_absence: MassAbsenceDetector,
    /// Objects found by the last sweep that carry an owner key of this installation but belong to no entity here.
    pub unknown_objects: AtomicU64,
    /// Why the queue gave the dispatcher no work last time; `None` = it answered.
    queue_fault: Mutex<Option<String>>,
    /// Cancelled when a new configuration replaced this backend: no new round starts on it.
    pub(crate) retired: CancellationToken,
    rate: RwLock<Rate>,
}

/// Calls a second that this process may make.
#[derive(Clone, Default)]
struct Rate {
    /// `None` = unlimited.
    limit: Option<u32>,
    /// `None` = unlimited, or no call at all.
    limiter: Option<Arc<DefaultDirectRateLimiter>>,
}

impl Rate {
    fn of(limit: Option<u32>) -> Self {
        let limiter = limit
            .and_then(NonZeroU32::new)
            .map(|limit| Arc::new(RateLimiter::direct(Quota::per_second(limit))));
        Self { limit, limiter }
    }
}

/// Pause of a call that this process has no share of the rate for.
const NO_SHARE: Duration = Duration::from_secs(1);

impl Backend {
    fn new(settings: BackendSettings, secrets: &Arc<Secrets>) -> Self {
        let (inner, secrets) = (settings.driver, Arc::clone(secrets));
        let driver = Arc::new(RedactingDriver { inner, secrets });
        let settings = BackendSettings { driver, ..settings };
        let rate = RwLock::new(Rate::of(settings.rate_per_second.map(NonZeroU32::get)));
        let availability = Availability::new(settings.breaker.failures);
        let (wakeup, mass_absence, retired) =
            (Notify::new(), MassAbsenceDetector::default(), CancellationToken::new());
        let unknown_objects = AtomicU64::new(0);
        let queue_fault = Mutex::default();
        Self {
            settings,
            availability,
            wakeup,
            mass_absence,
            unknown_objects,
            queue_fault,
            retired,
            rate,
        }
    }

    /// What this process met on it, for the other members.
    pub(crate) fn report(&self, now: Moment) -> BackendReport {
        BackendReport {
            observations: self.mass_absence.counted(now.steady),
            calls: self.availability.calls(now),
            usable: self.availability.is_usable(),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &BackendName {
        &self.settings.name
    }

    /// Waits until this process's share of the configured rate allows another call.
    pub async fn wait_for_rate_limit(&self) {
        loop {
            let rate = self.rate.read().unwrap_or_else(PoisonError::into_inner).clone();
            match (rate.limit, rate.limiter) {
                (_, Some(limiter)) => return limiter.until_ready().await,
                (None, None) => return,
                (Some(_), None) => tokio::time::sleep(NO_SHARE).await,
            }
        }
    }

    /// Sets this process's share of the configured rate; `None` = unlimited. Idempotent. True when there was none before,
    /// and is one now.
    pub(crate) fn limit_rate(&self, limit: Option<u32>) -> bool {
        let mut rate = self.rate.write().unwrap_or_else(PoisonError::into_inner);
        let begins = rate.limit == Some(0) && limit != Some(0);
        if rate.limit != limit {
            *rate = Rate::of(limit);
        }
        begins
    }

    /// Why its dispatcher gets no work from the queue; `None` = the queue answers.
    #[must_use]
    pub fn queue_fault(&self) -> Option<String> {
        self.queue_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_queue_fault(&self, fault: Option<String>) {
        *self.queue_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    /// The kind called `name`, if the driver has it and the configuration allows it.
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

    /// Whether entities of `kind` in `namespace` may use this backend.
    #[must_use]
    pub fn serves(&self, namespace: &Namespace, kind: &KindName) -> bool {
        let names = self.settings.namespaces.as_ref();
        names.is_none_or(|names| names.contains(namespace)) && self.kind(kind).is_some()
    }
}

/// Backends by name, as configured at one moment.
pub type BackendsByName = Arc<BTreeMap<BackendName, Arc<Backend>>>;

/// All configured backends; a new configuration replaces them at once. Cheap to clone.
#[derive(Clone, Default)]
pub struct Backends {
    by_name: Arc<watch::Sender<BackendsByName>>,
    secrets: Arc<Secrets>,
}

impl Backends {
    /// Backends with these settings; `secrets` are removed from their answers.
    #[must_use]
    pub fn new(settings: impl IntoIterator<Item = BackendSettings>, secrets: Arc<Secrets>) -> Self {
        let backends = Self { secrets, ..Self::default() };
        backends.replace(settings);
        backends
    }

    /// The backend called `name`; `None` when it is not configured, or not any more.
    #[must_use]
    pub fn get(&self, name: &BackendName) -> Option<Arc<Backend>> {
        self.by_name.borrow().get(name).cloned()
    }

    /// All backends, by name.
    #[must_use]
    pub fn all(&self) -> BackendsByName {
        Arc::clone(&self.by_name.borrow())
    }

    /// Subscribes to new configurations.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BackendsByName> {
        self.by_name.subscribe()
    }

    /// Backends that serve `kind` in `namespace`.
    #[must_use]
    pub fn candidates(&self, namespace: &Namespace, kind: &KindName) -> Vec<Arc<Backend>> {
        let all = self.all();
        let candidates = all.values().filter(|backend| backend.serves(namespace, kind));
        candidates.cloned().collect()
    }

    /// Replaces the configuration. A backend whose fingerprint is unchanged is kept, with its connection; the others
    /// are retired.
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
