//! Configuration that can change at run time: backends, namespaces and secrets, always read as a whole.

use std::collections::BTreeMap;

use async_trait::async_trait;
use stateward_domain::access::NamespaceSettings;
use stateward_domain::id::Namespace;

use crate::backends::BackendSettings;
use crate::secrets::Secret;

/// One reading of the configuration.
#[derive(Default)]
pub struct Configuration {
    /// Configured backends, connected.
    pub backends: Vec<BackendSettings>,
    /// Configured namespaces; `default` is added if it is missing.
    pub namespaces: BTreeMap<Namespace, NamespaceSettings>,
    /// Secrets, by name.
    pub secrets: BTreeMap<String, Secret>,
}

/// A source of configurations.
#[async_trait]
pub trait ConfigurationSource: Send + Sync {
    /// Reads the configuration and all secrets. A backend whose settings are unchanged is not connected again.
    ///
    /// # Errors
    /// One line for the author of the configuration, without a secret; the present configuration stays in force.
    async fn read(&self) -> Result<Configuration, String>;
}
