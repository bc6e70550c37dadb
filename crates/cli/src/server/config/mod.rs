//! The configuration: defaults, overridden by the file, the environment, and flags.

mod backend;
mod duration;
mod environment;
pub(crate) mod secret;
mod source;

use stateward_store::Location;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use serde::Deserialize;
use stateward_api::Server;
use stateward_domain::access::NamespaceSettings;
use stateward_engine::admission::names;

pub(crate) use backend::BackendConfig;
pub(crate) use environment::unknown_variables;
use secret::SecretConfig;
pub(crate) use source::ConfigSource;

/// The whole configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) server: ServerConfig,
    pub(crate) store: StoreConfig,
    pub(crate) workers: WorkersConfig,
    pub(crate) namespaces: BTreeMap<String, NamespaceSettings>,
    pub(crate) secrets: BTreeMap<String, SecretConfig>,
    /// `None` = the two defaults.
    pub(crate) backends: Option<BTreeMap<String, BackendConfig>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerConfig {
    pub(crate) listen: SocketAddr,
    /// Allows other interfaces than loopback without TLS.
    pub(crate) insecure: bool,
    /// Certificate chain (PEM); needs `tls_key`.
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    pub(crate) tls_key: Option<PathBuf>,
    /// Requests a second of each issued token; the first administrator's has no such limit.
    pub(crate) rate_per_token: NonZeroU32,
    /// Requests in flight at most; probes do not count.
    pub(crate) in_flight_max: usize,
    /// Requests with `Prefer: wait` or `wait_for` that wait at the same time; half of them of one token.
    pub(crate) waiting_max: usize,
    /// The first administrator's token, for nodes that share it; `None` = of a file in the data directory.
    pub(crate) admin_token: Option<SecretConfig>,
    /// Open connections at most; a further one closes the longest idle one. Fewer where the system allows fewer files.
    pub(crate) connections_max: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8420)),
            insecure: false,
            tls_cert: None,
            tls_key: None,
            rate_per_token: NonZeroU32::new(1_000).unwrap_or(NonZeroU32::MIN),
            in_flight_max: 2_048,
            waiting_max: 1_024,
            admin_token: None,
            connections_max: Server::CONNECTIONS_MAX,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreConfig {
    /// `None` = the embedded store in the data directory.
    pub(crate) url: Option<String>,
    /// Password of the database's role.
    pub(crate) password: Option<SecretConfig>,
    /// Connections to the database at most; the one that listens is not among them.
    pub(crate) connections: NonZeroU32,
    /// Whether a connection listens for notifications; without it, other nodes' events are found by polling.
    pub(crate) listen: bool,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            connections: NonZeroU32::new(12).unwrap_or(NonZeroU32::MIN),
            listen: true,
        }
    }
}

/// Times of leases and sweeps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WorkersConfig {
    #[serde(deserialize_with = "duration::required")]
    pub(crate) lease: Duration,
    #[serde(deserialize_with = "duration::required")]
    pub(crate) lease_margin: Duration,
    #[serde(deserialize_with = "duration::required")]
    pub(crate) sweep_interval: Duration,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            lease_margin: Duration::from_secs(5),
            sweep_interval: Duration::from_mins(1),
        }
    }
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, or an invalid value, with its place.
    pub(crate) fn load(source: &ConfigSource) -> anyhow::Result<Self> {
        // Invariant: every override is applied before the check, at each reading.
        let layers = source.layer().merge(environment::layer()).merge(source.flags());
        let mut config: Self = layers.extract().context("the configuration is not valid")?;
        if let Some(base) = source.base() {
            config.relative_to(base);
        }
        config.check()?;
        Ok(config)
    }

    /// Makes the paths of a file relative to it.
    fn relative_to(&mut self, base: &Path) {
        for path in [&mut self.server.tls_cert, &mut self.server.tls_key].into_iter().flatten() {
            *path = base.join(&*path);
        }
        let own = [&mut self.store.password, &mut self.server.admin_token];
        for secret in self.secrets.values_mut().chain(own.into_iter().flatten()) {
            secret.relative_to(base);
        }
        for backend in self.backends.iter_mut().flat_map(BTreeMap::values_mut) {
            backend.relative_to(base);
        }
        if let Some(path) = self.store.url.as_deref().and_then(|url| url.strip_prefix("sqlite:")) {
            self.store.url = Some(format!("sqlite:{}", base.join(path).display()));
        }
    }

    fn check(&self) -> anyhow::Result<()> {
        let times = &self.workers;
        anyhow::ensure!(
            times.lease_margin * 2 <= times.lease,
            "workers.lease_margin is more than half of workers.lease"
        );
        if let Some(name) = self.namespaces.keys().find(|name| !names::is_name(name)) {
            anyhow::bail!("namespaces: {name:?} is no name");
        }
        for (name, secret) in &self.secrets {
            anyhow::ensure!(names::is_name(name), "secrets: {name:?} is no name");
            secret.check(&format!("secrets.{name}"))?;
        }
        for (key, secret) in [
            ("store.password", &self.store.password),
            ("server.admin_token", &self.server.admin_token),
        ] {
            secret.as_ref().map_or(Ok(()), |secret| secret.check(key))?;
        }
        for name in self.backends.iter().flat_map(BTreeMap::keys) {
            // `/v1/backends/reload` is another endpoint.
            anyhow::ensure!(
                names::is_name(name) && name != "reload",
                "backends: {name:?} is no name"
            );
        }
        anyhow::ensure!(
            self.server.in_flight_max > 0,
            "server.in_flight_max is 0: nothing would be served"
        );
        anyhow::ensure!(
            self.server.connections_max > 0,
            "server.connections_max is 0: nothing would be served"
        );
        let loopback = self.server.listen.ip().is_loopback();
        let encrypts = self.server.tls_cert.is_some();
        anyhow::ensure!(
            encrypts == self.server.tls_key.is_some(),
            "server.tls_cert and server.tls_key go together"
        );
        anyhow::ensure!(
            loopback || encrypts || self.server.insecure,
            "server.listen {} is not loopback: tokens would go over the network in the clear; set \
             server.tls_cert and server.tls_key, or server.insecure = true if something in front encrypts",
            self.server.listen
        );
        Ok(())
    }

    /// Where the store is: as `store.url` says, else the embedded one in `data`. `node`: name of this process for the
    /// database.
    pub(crate) fn location(&self, data: &Path, node: &str) -> anyhow::Result<Location> {
        let Some(url) = self.store.url.as_deref() else {
            anyhow::ensure!(
                self.store.password.is_none(),
                "store.password: the embedded store has none"
            );
            return Ok(Location::Directory(data.to_owned()));
        };
        let mut location = Location::of(url)?;
        if let Location::Database(settings) = &mut location {
            if let Some(password) = &self.store.password {
                let password = password.read().context("store.password")?;
                settings.target = settings.target.clone().with_password(password.expose_secret());
            }
            node.clone_into(&mut settings.node);
            settings.limits.connections = self.store.connections.get();
            settings.limits.listen = self.store.listen;
        }
        Ok(location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> anyhow::Result<Config> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("stateward.toml");
        std::fs::write(&file, text)?;
        Config::load(&ConfigSource::open(Some(&file))?)
    }

    #[test]
    fn a_flag_is_checked_like_what_it_overrides() {
        let load = |text: &str, listen: &str| {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("stateward.toml");
            std::fs::write(&file, text).unwrap();
            let source = ConfigSource::open(Some(&file)).unwrap();
            Config::load(&source.with_listen(Some(listen.parse().unwrap())))
        };
        let error = load("", "0.0.0.0:1").expect_err("refused");
        assert!(error.to_string().contains("server.listen 0.0.0.0:1 is not loopback"), "{error:#}");
        for (text, listen) in [
            ("[server]\nlisten = \"0.0.0.0:1\"", "127.0.0.1:2"),
            ("[server]\ninsecure = true", "[::]:2"),
        ] {
            let config = load(text, listen).expect("what the flag says is fine");
            assert_eq!(config.server.listen.to_string(), listen);
        }
    }

    #[test]
    fn unknown_keys_are_refused_with_their_name() {
        let error = load("[server]\nlisten_on = \"x\"").expect_err("refused");
        assert!(format!("{error:#}").contains("listen_on"), "{error:#}");
    }

    #[test]
    fn other_interfaces_than_loopback_need_a_word() {
        assert!(load("[server]\nlisten = \"0.0.0.0:1\"").is_err());
        assert!(load("[server]\nlisten = \"0.0.0.0:1\"\ninsecure = true").is_ok());
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = load("[backends.local]\ndriver = \"local\"\nroot = \"./managed\"").unwrap();
        let backend = &config.backends.unwrap()["local"];
        assert!(backend.settings["root"].as_str().unwrap().starts_with('/'));
    }
}
