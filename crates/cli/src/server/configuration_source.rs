//! The engine's configuration source: connects the drivers of the configured backends, at the start and at each reload.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use async_trait::async_trait;
use secrecy::ExposeSecret;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use stateward_domain::id::Namespace;
use stateward_domain::ports::driver::Driver;
use stateward_domain::time::SteadyClock;
use stateward_engine::backends::BackendSettings;
use stateward_engine::secrets::Secret;
use stateward_engine::service::configuration::{Configuration, ConfigurationSource};

use crate::clock::SystemClock;
use crate::server::config::secret::{read, resolve, scrubbed};
use crate::server::config::{BackendConfig, Config, ConfigSource};

/// Reads the configuration file, the environment, and the files of secrets. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FileConfiguration {
    source: ConfigSource,
    /// Directory of the embedded store; the default root of files lies in it.
    directory: PathBuf,
    connected: Arc<Mutex<Connected>>,
    /// For the drivers.
    clock: Arc<dyn SteadyClock>,
}

/// Drivers by backend, with the fingerprint of the settings and secrets that they were connected with.
type Connected = BTreeMap<String, (String, Arc<dyn Driver>)>;

impl FileConfiguration {
    pub(crate) fn new(source: ConfigSource, directory: &Path) -> Self {
        Self {
            source,
            directory: directory.to_owned(),
            connected: Arc::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// The engine's configuration from `config` and the current values of the secrets.
    ///
    /// # Errors
    /// The first backend or secret that cannot be used, in one line without a secret's value.
    pub(crate) fn configuration(&self, config: &Config) -> anyhow::Result<Configuration> {
        let secrets = read(&config.secrets)?;
        let configured = config.backends.clone().unwrap_or_else(|| self.defaults());
        let connect = |(name, config): (&String, &BackendConfig)| {
            self.connect(name, config, &secrets).with_context(|| format!("backend {name}"))
        };
        let backends = configured.iter().map(connect).collect::<anyhow::Result<Vec<_>>>()?;
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        connected.retain(|name, _| configured.contains_key(name));
        drop(connected);
        let namespaces = config.namespaces.clone().into_iter();
        Ok(Configuration {
            backends,
            namespaces: namespaces.map(|(name, settings)| (Namespace(name), settings)).collect(),
            secrets,
        })
    }

    /// The backends of a configuration that has no `[backends]` section.
    fn defaults(&self) -> BTreeMap<String, BackendConfig> {
        let root = self.directory.join("managed").display().to_string();
        let local = Map::from_iter([("root".to_owned(), Value::String(root))]);
        BTreeMap::from([
            ("local".to_owned(), BackendConfig::new("local", local)),
            ("sandbox".to_owned(), BackendConfig::new("fake", Map::new())),
        ])
    }

    fn connect(
        &self,
        name: &str,
        config: &BackendConfig,
        secrets: &BTreeMap<String, Secret>,
    ) -> anyhow::Result<BackendSettings> {
        let (settings, used) = resolve(&config.settings, secrets)?;
        let digest = hexadecimal(Sha256::digest(config.text()));
        let fingerprint = used.iter().fold(Sha256::new(), |hasher, value| {
            let value = value.expose_secret();
            hasher.chain_update((value.len() as u64).to_be_bytes()).chain_update(value)
        });
        let fingerprint = hexadecimal(fingerprint.chain_update(&digest).finalize());
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let known = connected.get(name).filter(|(known, _)| *known == fingerprint);
        let driver = if let Some((_, driver)) = known {
            Arc::clone(driver)
        } else {
            let driver = stateward_drivers::connect(&config.driver, &settings, &self.clock);
            driver.map_err(|error| anyhow::anyhow!(scrubbed(&error.to_string(), &used)))?
        };
        connected.insert(name.to_owned(), (fingerprint.clone(), Arc::clone(&driver)));
        Ok(BackendSettings { digest, fingerprint, ..config.settings(name, driver) })
    }
}

#[async_trait]
impl ConfigurationSource for FileConfiguration {
    async fn read(&self) -> Result<Configuration, String> {
        let files = self.clone();
        // Files of secrets may be on a disk that blocks.
        let read = tokio::task::spawn_blocking(move || {
            let config = Config::load(&files.source)?;
            files.configuration(&config)
        });
        let read = read.await.map_err(|error| error.to_string())?;
        read.map_err(|error| format!("{error:#}").replace('\n', " "))
    }
}

fn hexadecimal(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
