//! Settings of backends, as far as the engine has to know them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stateward_domain::id::{BackendName, Namespace};
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::Driver;

/// How failed tries are repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Wait after the first failure; doubles with each further one.
    pub first: Duration,
    /// Longest wait.
    pub max: Duration,
    /// Failures in a row before the entity is erred; `None` = the kind's own number.
    pub budget: Option<u32>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_mins(5), budget: None }
    }
}

/// When a backend that only fails is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerPolicy {
    /// Calls that fail in a row before it opens.
    pub failures: u32,
    /// Time between looks whether the backend is well again; also for parked ones.
    pub probe_interval: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 20, probe_interval: Duration::from_secs(30) }
    }
}

/// What the engine has to know of a configured backend.
#[derive(Clone)]
pub struct BackendSettings {
    /// Key in the configuration.
    pub name: BackendName,
    /// Name of the driver.
    pub driver_name: String,
    /// Digest of the configuration as it is written, for the log: it holds no secret.
    pub digest: String,
    /// Changes with anything that matters, also with a secret's value: never leaves this process.
    pub fingerprint: String,
    /// The connection.
    pub driver: Arc<dyn Driver>,
    /// Namespaces that may use it; `None` = all.
    pub namespaces: Option<Vec<Namespace>>,
    /// Kinds that it serves, a trailing `*` stands for anything; `None` = all of its driver.
    pub kinds: Option<Vec<String>>,
    /// Time between looks at an entity that has no work.
    pub drift_interval: Duration,
    /// Rounds at a time.
    pub concurrency: usize,
    /// Calls a second; `None` = as many as come.
    pub rate_per_second: Option<NonZeroU32>,
    /// Longest time of one call.
    pub call_timeout: Duration,
    /// What happens when an object is gone; `None` = as the kind says.
    pub on_lost: Option<OnLost>,
    /// Repetition of failed tries.
    pub retry: RetryPolicy,
    /// Protection of a backend that only fails.
    pub breaker: BreakerPolicy,
}

impl BackendSettings {
    /// Settings with the defaults of interface and field.
    #[must_use]
    pub fn new(name: &str, driver_name: &str, driver: Arc<dyn Driver>) -> Self {
        Self {
            name: BackendName::from(name),
            driver_name: driver_name.to_owned(),
            digest: String::new(),
            fingerprint: String::new(),
            driver,
            namespaces: None,
            kinds: None,
            drift_interval: Duration::from_mins(10),
            concurrency: 16,
            rate_per_second: None,
            call_timeout: Duration::from_secs(20),
            on_lost: None,
            retry: RetryPolicy::default(),
            breaker: BreakerPolicy::default(),
        }
    }
}
