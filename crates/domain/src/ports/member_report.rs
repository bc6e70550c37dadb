//! What a process reports with its heartbeat beside its description: what all of them decide on together.
//!
//! Stored as JSON. A later version adds members with defaults: an older one reads a newer one's report, and the reverse.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{BackendName, Version};

/// The report of one process. A process of a version without reports has the default one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemberReport {
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
    /// Whether the backend said who it is, and accepts the credentials that the process has.
    pub usable: bool,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The form that other versions read; it only grows.
    #[test]
    fn a_report_has_its_pinned_form_and_one_of_another_version_is_read() {
        let report = MemberReport {
            backends: [(
                BackendName::from("b"),
                BackendReport {
                    observations: Observations { confirmed: Version(3), observed: 9, absent: 1 },
                    calls: Calls { failures: 2, answered: true },
                    usable: true,
                },
            )]
            .into(),
            reload: Some(ReloadOutcome { version: Version(7), error: None }),
            observe_only: Some(ObserveOnlyCause::Argument),
        };
        let text = concat!(
            r#"{"backends":{"b":{"observations":{"confirmed":3,"observed":9,"absent":1},"#,
            r#""calls":{"failures":2,"answered":true},"usable":true}},"#,
            r#""reload":{"version":7},"observe_only":"argument"}"#
        );
        assert_eq!(serde_json::to_string(&report).expect("plain data"), text);
        let read = |text: &str| serde_json::from_str::<MemberReport>(text).expect("a report");
        assert_eq!((read(text), read("{}")), (report, MemberReport::default()));
        assert_eq!(serde_json::to_string(&MemberReport::default()).expect("plain data"), "{}");
        let later = read(r#"{"backends":{"b":{"new":1}},"observe_only":"new","new":{}}"#);
        assert_eq!(later.backends[&BackendName::from("b")], BackendReport::default());
        assert_eq!(later.observe_only, Some(ObserveOnlyCause::Unknown));
    }
}
