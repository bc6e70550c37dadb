//! An open store as its adapter hands it over: one bundle of ports, and how it ends.

use async_trait::async_trait;
use stateward_domain::ports::audit::LogLife;
use stateward_domain::ports::store_ports::StorePorts;

/// An open store.
pub struct Opened {
    /// Its ports.
    pub ports: StorePorts,
    /// The present life of its log. Under the restore hold the log was restored, imported, or is older than its recorded
    /// head: then nothing should act on backends before a person lifts the hold.
    pub life: LogLife,
    /// How it ends.
    pub lifetime: Box<dyn StoreLifetime>,
}

/// Why the process has to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The log cannot be written any more. The store may be closed in order.
    Unwritable(String),
    /// The store's files were moved. Nothing may be written or closed any more: closing a database removes its
    /// write-ahead log by path, and that path is another process's now.
    Moved(String),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Unwritable(line) | Self::Moved(line)) = self;
        f.write_str(line)
    }
}

/// The end of an open store.
#[async_trait]
pub trait StoreLifetime: Send + Sync {
    /// Resolves when the log cannot be written any more, and the process has to end.
    async fn broken(&self) -> Broken;

    /// Checks that the store may be closed.
    ///
    /// # Errors
    /// [`Broken::Moved`]: then the process has to end without closing it.
    fn in_place(&self) -> Result<(), Broken>;

    /// Writes out what is buffered and closes the store. Idempotent. The ports answer with errors after it.
    async fn close(&self);
}
