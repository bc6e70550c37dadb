//! What can change while the process runs: backends, namespaces and secrets, read from outside as a whole.

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
    /// Configured namespaces; `default` is there in any case.
    pub namespaces: BTreeMap<Namespace, NamespaceSettings>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Secret>,
}

/// Where configurations come from.
#[async_trait]
pub trait ConfigurationSource: Send + Sync {
    /// Reads the configuration and all secrets anew. A backend whose settings are as they were is not connected anew.
    ///
    /// # Errors
    /// One line for whoever wrote it, without a secret; then everything goes on as it was.
    async fn read(&self) -> Result<Configuration, String>;
}
