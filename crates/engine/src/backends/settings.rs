//! Settings of a backend, as far as the engine needs them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stateward_domain::id::{BackendName, Namespace};
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::Driver;

/// Backoff of failed attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Wait after the first failure; doubles with each further one.
    pub first: Duration,
    /// Maximum wait.
    pub max: Duration,
    /// Failures in a row after which the entity is erred; `None` = the kind's default.
    pub budget: Option<u32>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_mins(5), budget: None }
    }
}

/// When the circuit breaker opens, and how often health is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerPolicy {
    /// Failed calls in a row after which the breaker opens.
    pub failures: u32,
    /// Time between health checks of a backend that is unavailable, also of a parked one.
    pub probe_interval: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 20, probe_interval: Duration::from_secs(30) }
    }
}

/// Settings of a configured backend.
#[derive(Clone)]
pub struct BackendSettings {
    /// Key in the configuration.
    pub name: BackendName,
    /// Name of the driver.
    pub driver_name: String,
    /// Digest of the configuration as written, for the log: it contains no secret.
    pub digest: String,
    /// Changes with every relevant setting, also with a secret's value, so it never leaves this process.
    pub fingerprint: String,
    /// The driver, connected.
    pub driver: Arc<dyn Driver>,
    /// Namespaces that may use it; `None` = all.
    pub namespaces: Option<Vec<Namespace>>,
    /// Kinds that it serves, where a trailing `*` matches any suffix; `None` = all kinds of its driver.
    pub kinds: Option<Vec<String>>,
    /// Time between observations of an entity that has no work.
    pub drift_interval: Duration,
    /// Maximum concurrent rounds.
    pub concurrency: usize,
    /// Maximum calls per second; `None` = unlimited.
    pub rate_per_second: Option<NonZeroU32>,
    /// Timeout of one call.
    pub call_timeout: Duration,
    /// What to do when an object is lost; `None` = the kind's default.
    pub on_lost: Option<OnLost>,
    /// Backoff of failed attempts.
    pub retry: RetryPolicy,
    /// Circuit breaker.
    pub breaker: BreakerPolicy,
}

impl BackendSettings {
    /// Settings with all defaults.
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
