//! What a process reports with its heartbeat beside its description: what all of them decide on together.
//!
//! Stored as JSON. A later version adds members with defaults: an older one reads a newer one's report, and the reverse.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{BackendName, Version};

/// The report of one process. A process of a version without reports has the default one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Backends of which there is something to report.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub backends: BTreeMap<BackendName, BackendReport>,
    /// The last reload that any process recorded and this one is done with; `None` = there was none in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadOutcome>,
    /// Why the process changes nothing on any backend; `None` = it may, or does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observe_only: Option<ObserveOnlyCause>,
}

/// Why a process changes nothing on any backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObserveOnlyCause {
    /// It was started so.
    Argument,
    /// The restore hold is set for all processes.
    RestoreHold,
    /// Only a later version knows.
    #[serde(other)]
    Unknown,
}

/// How a process carried out a recorded reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadOutcome {
    /// Version of the system stream that records it.
    pub version: Version,
    /// Why the process kept its configuration, in one line without secrets; `None` = the new one is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What one process met on one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BackendReport {
    /// Its recent observations.
    pub observations: Observations,
    /// Its calls.
    pub calls: Calls,
}

/// Observations of objects that were present before, in the window of mass-absence detection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observations {
    /// The newest confirmation of the backend's contents that is known to the process: earlier observations do not
    /// count. 0 = none.
    pub confirmed: Version,
    /// Number of observations.
    pub observed: u64,
    /// How many of them found the object absent.
    pub absent: u64,
}

/// Calls of a backend, as its circuit breaker counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calls {
    /// Failures in a row up to now.
    pub failures: u32,
    /// Whether the backend answered a call a few seconds ago.
    pub answered: bool,
}
