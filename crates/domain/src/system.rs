//! Control events of the control plane as a whole: actions of persons, as one stream.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control_event::stored_names_of_control_events;
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
    /// The log was restored, imported or copied: nothing is changed on any backend before a person allows it.
    Frozen {
        /// When.
        at: Timestamp,
        /// The epoch of the log that began so; `None` = the mark of the store is of no epoch, or an older version
        /// recorded this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        epoch: Option<u32>,
    },
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

stored_names_of_control_events! {
    SystemEvent in "system":
    Frozen => "frozen";
    Unfrozen => "unfrozen";
    AuditExported => "audit_exported";
    ConfigurationReloaded => "configuration_reloaded";
    RequestRecorded => "request_recorded";
}

/// The folded state of the control plane's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// Number of folded events.
    pub version: Version,
    /// Whether the restore hold is set: changes of backends are forbidden until a person lifts it.
    pub frozen: bool,
    /// When the hold was set last; `None` = never. Events of before may be missing that had effects.
    pub frozen_at: Option<Timestamp>,
    /// The epoch for which the hold was set last; `None` = none is known.
    pub frozen_epoch: Option<u32>,
}

impl System {
    /// Folds `event`.
    pub fn evolve(&mut self, event: &SystemEvent) {
        self.version = self.version.next();
        match event {
            SystemEvent::Frozen { at, epoch } => {
                self.frozen = true;
                self.frozen_at = Some(*at);
                self.frozen_epoch = *epoch;
            }
            SystemEvent::Unfrozen { .. } => self.frozen = false,
            SystemEvent::AuditExported { .. }
            | SystemEvent::ConfigurationReloaded { .. }
            | SystemEvent::RequestRecorded { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hold_is_set_until_a_person_lifts_it() {
        let at = Timestamp(1);
        let (frozen, unfrozen) =
            (SystemEvent::Frozen { at, epoch: None }, SystemEvent::Unfrozen { at });
        let later = SystemEvent::Frozen { at: Timestamp(2), epoch: Some(7) };
        let other = SystemEvent::RequestRecorded { at };
        let first = (Some(at), None);
        for (events, held, (frozen_at, frozen_epoch)) in [
            (vec![], false, (None, None)),
            (vec![&unfrozen], false, (None, None)),
            (vec![&frozen, &other], true, first),
            (vec![&frozen, &frozen, &unfrozen], false, first),
            (vec![&frozen, &unfrozen, &other, &frozen], true, first),
            (vec![&frozen, &unfrozen, &later, &unfrozen], false, (Some(Timestamp(2)), Some(7))),
        ] {
            let mut system = System::default();
            for event in &events {
                system.evolve(event);
            }
            let version = Version(events.len() as u64);
            let expected = System { version, frozen: held, frozen_at, frozen_epoch };
            assert_eq!(system, expected, "{events:?}");
        }
    }
}
