//! What a store knows about its own state.

use std::time::Duration;

use async_trait::async_trait;

/// One fact about the store that a person may have to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name, which begins with `store/`.
    pub name: &'static str,
    /// Whether all is well.
    pub ok: bool,
    /// What was found; `None` = nothing to add. Never a secret.
    pub detail: Option<String>,
    /// Whether a store that fails the check cannot serve requests: then the process is not ready.
    pub serious: bool,
}

impl Check {
    /// A serious check, which holds unless there is a `fault`.
    #[must_use]
    pub fn serious(name: &'static str, fault: Option<String>) -> Self {
        Self { name, ok: fault.is_none(), detail: fault, serious: true }
    }
}

/// The state of a store, asked by `/readyz` of any adapter. Any process may call it, at any time.
#[async_trait]
pub trait StoreHealth: Send + Sync {
    /// All checks, also those that hold, in a fixed order. Answers from memory, or within a second: a store that cannot
    /// be reached fails a check. Read-only.
    async fn health(&self) -> Vec<Check>;

    /// For how long an append in flight has kept readers from events behind it; zero = none does, or the store knows no
    /// such state. Answers from memory.
    fn log_held_back(&self) -> Duration {
        Duration::ZERO
    }
}
