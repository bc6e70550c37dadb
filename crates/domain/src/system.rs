//! What persons do to the control plane as a whole, as one stream of control events.

use std::collections::BTreeMap;

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::id::{BackendName, Namespace, Position, Version};
use crate::time::Timestamp;

/// What a new configuration means for one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendChange {
    /// It is new.
    Added,
    /// It is connected anew.
    Changed,
    /// It is gone.
    Removed,
    /// It goes on as it was.
    Unchanged,
}

/// One fact about the control plane itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemEvent {
    /// A person looked, and let changes of backends begin.
    Unfrozen {
        /// When.
        at: Timestamp,
    },
    /// Somebody took a copy of the log; who is in the envelope.
    AuditExported {
        /// When.
        at: Timestamp,
        /// Only what comes after it.
        after: Position,
        /// The last position that is in it.
        until: Position,
        /// Namespaces asked for; empty = all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        namespaces: Vec<Namespace>,
        /// Types asked for; empty = all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        types: Vec<String>,
        /// How many events that is.
        count: u64,
    },
    /// A person had the configuration read anew.
    ConfigurationReloaded {
        /// When.
        at: Timestamp,
        /// What that meant for each backend.
        backends: BTreeMap<BackendName, BackendChange>,
    },
    /// A request under an idempotency key was carried out that left nothing else in the log: its claim is in the
    /// envelope.
    RequestRecorded {
        /// When.
        at: Timestamp,
    },
}

impl SystemEvent {
    /// Whether this version can read the stored type at that schema version.
    #[must_use]
    pub fn known(event_type: &str, schema_version: u32) -> bool {
        let names = [
            "system.unfrozen",
            "system.audit_exported",
            "system.configuration_reloaded",
            "system.request_recorded",
        ];
        schema_version == 1 && names.contains(&event_type)
    }
}

impl DomainEvent for SystemEvent {
    fn event_type(&self) -> String {
        match self {
            Self::Unfrozen { .. } => "system.unfrozen",
            Self::AuditExported { .. } => "system.audit_exported",
            Self::ConfigurationReloaded { .. } => "system.configuration_reloaded",
            Self::RequestRecorded { .. } => "system.request_recorded",
        }
        .to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

/// What the log knows of the control plane itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Number of folded events.
    pub version: Version,
}

impl System {
    /// Folds `event` into the state: nothing is decided by it, it is history.
    pub fn evolve(&mut self, _event: &SystemEvent) {
        self.version = self.version.next();
    }
}
