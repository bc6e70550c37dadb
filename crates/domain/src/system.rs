//! Control events of the control plane as a whole: actions of persons, as one stream.

use std::collections::BTreeMap;

use cqrs_es::DomainEvent;
use serde::{Deserialize, Serialize};

use crate::id::{BackendName, Namespace, Position, Version};
use crate::time::Timestamp;

/// Effect of a new configuration on one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendChange {
    /// It was added.
    Added,
    /// It was reconnected with changed settings.
    Changed,
    /// It was removed.
    Removed,
    /// It is unchanged.
    Unchanged,
}

/// One fact about the control plane itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SystemEvent {
    /// A person lifted the restore hold: changes of backends may begin.
    Unfrozen {
        /// When.
        at: Timestamp,
    },
    /// The log was exported; the actor is in the envelope.
    AuditExported {
        /// When.
        at: Timestamp,
        /// Events behind this position.
        after: Position,
        /// The last exported position.
        until: Position,
        /// Namespace filter; empty = all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        namespaces: Vec<Namespace>,
        /// Event type filter; empty = all.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        types: Vec<String>,
        /// Number of exported events.
        count: u64,
    },
    /// A person reloaded the configuration.
    ConfigurationReloaded {
        /// When.
        at: Timestamp,
        /// Its effect on each backend.
        backends: BTreeMap<BackendName, BackendChange>,
    },
    /// A request with an idempotency key was carried out and left nothing else in the log: its claim is in the
    /// envelope.
    RequestRecorded {
        /// When.
        at: Timestamp,
    },
}

impl SystemEvent {
    /// Whether this version can decode the stored type at that schema version.
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

/// The folded state of the control plane's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Number of folded events.
    pub version: Version,
}

impl System {
    /// Counts `event`. No decision depends on these events.
    pub fn evolve(&mut self, _event: &SystemEvent) {
        self.version = self.version.next();
    }
}
