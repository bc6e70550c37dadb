//! What a store knows about its own state.

use std::time::Duration;

use async_trait::async_trait;

use crate::id::Position;
use crate::time::Timestamp;

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

/// How far a position is behind the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Events behind the position, counted up to [`Lag::EVENTS_MAX`] where positions are no numbers of events.
    pub events: u64,
    /// When the event at the position was recorded; `None` = not known.
    pub since: Option<Timestamp>,
}

impl Lag {
    /// Events that are counted, at most.
    pub const EVENTS_MAX: u64 = 100_000;
}

/// What a process did since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounters {
    /// Batches of appends that it committed.
    pub batches: u64,
    /// Events in them.
    pub batch_events: u64,
    /// Times that it met a primary on another timeline than before.
    pub failovers: u64,
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

    /// How far `position`, of an event, is behind the log that ends at `head`: the same in every process. Answers within a
    /// second; `None` = the store did not. Read-only.
    async fn lag(&self, position: Position, head: Position) -> Option<Lag> {
        Some(Lag { events: head.minor.saturating_sub(position.minor), since: None })
    }

    /// What this process did; `None` = the store counts nothing. Answers from memory.
    fn counters(&self) -> Option<StoreCounters> {
        None
    }
}
