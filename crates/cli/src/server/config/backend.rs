//! `[backends.NAME]`: the engine's keys, and the driver's own.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use stateward_domain::id::Namespace;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::Driver;
use stateward_engine::backends::{BackendSettings, BreakerPolicy, RetryPolicy};

use super::duration;

/// Settings of drivers that are paths.
const PATH_SETTINGS: &[&str] = &["root", "clouds_file", "cacert"];
/// Default drift interval of the `local` driver: its observations are cheap.
const LOCAL_DRIFT_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BackendConfig {
    pub(crate) driver: String,
    #[serde(default)]
    namespaces: Option<Vec<String>>,
    #[serde(default)]
    kinds: Option<Vec<String>>,
    #[serde(default, deserialize_with = "duration::optional")]
    drift_interval: Option<Duration>,
    #[serde(default)]
    concurrency: Option<usize>,
    /// Calls a second.
    #[serde(default)]
    rate: Option<NonZeroU32>,
    #[serde(default, deserialize_with = "duration::optional")]
    call_timeout: Option<Duration>,
    #[serde(default)]
    on_lost: Option<OnLost>,
    #[serde(default)]
    retry: RetryConfig,
    #[serde(default)]
    breaker: BreakerConfig,
    /// The driver's keys; the driver refuses unknown ones.
    #[serde(flatten)]
    pub(crate) settings: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryConfig {
    #[serde(deserialize_with = "duration::optional")]
    first: Option<Duration>,
    #[serde(deserialize_with = "duration::optional")]
    max: Option<Duration>,
    budget: Option<u32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BreakerConfig {
    failures: Option<u32>,
    #[serde(deserialize_with = "duration::optional")]
    probe_interval: Option<Duration>,
}

impl BackendConfig {
    /// A backend with default settings.
    pub(crate) fn new(driver: &str, settings: Map<String, Value>) -> Self {
        Self {
            driver: driver.to_owned(),
            namespaces: None,
            kinds: None,
            drift_interval: None,
            concurrency: None,
            rate: None,
            call_timeout: None,
            on_lost: None,
            retry: RetryConfig::default(),
            breaker: BreakerConfig::default(),
            settings,
        }
    }

    /// The configuration as a deterministic text without values of secrets, for its digest.
    pub(crate) fn text(&self) -> String {
        format!("{self:?}")
    }

    pub(super) fn relative_to(&mut self, base: &Path) {
        for name in PATH_SETTINGS {
            if let Some(Value::String(path)) = self.settings.get_mut(*name) {
                *path = base.join(&*path).display().to_string();
            }
        }
    }

    /// The engine's settings of this backend.
    pub(crate) fn settings(
        &self,
        name: &str,
        driver: std::sync::Arc<dyn Driver>,
    ) -> BackendSettings {
        let defaults = BackendSettings::new(name, &self.driver, driver);
        let (retry, breaker) = (RetryPolicy::default(), BreakerPolicy::default());
        let local = self.driver == "local";
        let drift = if local { LOCAL_DRIFT_INTERVAL } else { defaults.drift_interval };
        let names = |names: &Vec<String>| names.iter().map(|n| Namespace::from(&**n)).collect();
        BackendSettings {
            namespaces: self.namespaces.as_ref().map(names),
            kinds: self.kinds.clone(),
            drift_interval: self.drift_interval.unwrap_or(drift),
            concurrency: self.concurrency.unwrap_or(defaults.concurrency).max(1),
            rate_per_second: self.rate,
            call_timeout: self.call_timeout.unwrap_or(defaults.call_timeout),
            on_lost: self.on_lost,
            retry: RetryPolicy {
                first: self.retry.first.unwrap_or(retry.first),
                max: self.retry.max.unwrap_or(retry.max),
                budget: self.retry.budget,
            },
            breaker: BreakerPolicy {
                failures: self.breaker.failures.unwrap_or(breaker.failures),
                probe_interval: self.breaker.probe_interval.unwrap_or(breaker.probe_interval),
            },
            ..defaults
        }
    }
}
