//! Limits of the connections of a process.

use std::time::Duration;

/// Limits of the connections of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections, at most; the one that listens for notifications is not among them.
    pub connections: u32,
    /// How long a call waits for a connection, also while there is no primary.
    pub acquire: Duration,
    /// How long a statement may take. One that appends is not ended then: its caller learns that the outcome is unknown.
    pub statement: Duration,
    /// Whether a further connection listens for notifications of other processes; without it, what they append is found
    /// by polls of 50 ms to 1 s.
    pub listen: bool,
    /// How long a server of an older timeline has to be the only primary, with every other host a standby, before it is
    /// asked whether the newer history is lost.
    pub forked: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 12,
            acquire: Duration::from_secs(3),
            statement: Duration::from_secs(10),
            listen: true,
            forked: Duration::from_secs(30),
        }
    }
}
