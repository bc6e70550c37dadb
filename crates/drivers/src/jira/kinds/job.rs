//! Pending work: the handle of `Pending`, which any process has to be able to resume.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stateward_domain::document::{self, Limits};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::KindName;
use stateward_domain::ports::driver::{Outcome, Update};

/// Work that is not over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::jira) struct Job {
    pub(in crate::jira) kind: KindName,
    /// External id of the object.
    pub(super) id: String,
    pub(super) work: Work,
    /// Polls so far.
    #[serde(default)]
    pub(super) polls: u32,
}

/// What is pending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    /// An issue on its way to a status, one hop at a time.
    Transition {
        /// The desired state, as far as transitions ask for it.
        spec: Value,
        /// Ids of the statuses that it was in.
        visited: Vec<String>,
    },
    /// A change that JIRA's limit on the writes of one issue delays.
    Update(Box<Update>),
    /// A link that was created and is not shown yet.
    NewLink {
        /// The desired state, which identifies it.
        spec: Value,
    },
    /// An asynchronous deletion.
    Task {
        /// Id of JIRA's task.
        task: String,
    },
}

impl Job {
    pub(super) fn new(kind: &str, id: &str, work: Work) -> Self {
        Self { kind: KindName::from(kind), id: id.to_owned(), work, polls: 0 }
    }

    /// Decodes a handle.
    ///
    /// # Errors
    /// `Bug` for a handle that this driver never gave.
    pub(in crate::jira) fn from_handle(handle: &Value) -> Result<Self, Failure> {
        serde_json::from_value(handle.clone()).map_err(|_| {
            Failure::harmless(ErrorClass::Bug, "bad_handle", "the handle is of no pending work")
        })
    }

    /// Whether the handle is small enough to be kept in the log.
    pub(super) fn fits(&self) -> bool {
        let handle = serde_json::to_value(self).unwrap_or_default();
        document::measure(&handle, &Limits::HANDLE).is_ok()
    }

    /// The work goes on; it is polled in `poll_after_ms`.
    pub(super) fn pending(mut self, poll_after_ms: u64) -> Outcome {
        self.polls += 1;
        let handle = serde_json::to_value(&self).unwrap_or_default();
        Outcome::Pending { handle, poll_after_ms }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_handle_comes_back_as_the_work() {
        let work =
            Work::Transition { spec: json!({"status": "Done"}), visited: vec!["1".to_owned()] };
        let job = Job::new("jira.issue", "10000", work);
        let Outcome::Pending { handle, .. } = job.clone().pending(10) else { panic!("pending") };
        let again = Job::from_handle(&handle).unwrap();
        assert_eq!(again, Job { polls: 1, ..job });
        assert!(Job::from_handle(&json!({"id": 1})).is_err());
        assert!(again.fits());
        let long = Work::NewLink { spec: json!("x".repeat(100_000)) };
        assert!(!Job::new("jira.issue", "10000", long).fits());
    }
}
