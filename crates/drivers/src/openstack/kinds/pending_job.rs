//! Pending work of the cloud: the handle of `Pending`, which any process has to be able to resume.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::{ExternalId, KindName, OwnerKey};
use stateward_domain::ports::driver::{ObjectRef, Outcome};

/// The purpose of the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    Create,
    Update,
    Delete,
    Action(String),
}

/// The state of the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::openstack) struct PendingJob {
    pub(in crate::openstack) target: ObjectRef,
    pub(super) phase: Phase,
    /// Fields to be changed once the cloud has finished its current work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<String>,
    /// The part of the desired state that `fields` need.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) spec: Value,
    /// What was observed of `fields` when the change was planned. `Null` in a handle of an older version: then nothing is
    /// unplugged, and the next plan is made from a new observation.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(super) observed: Value,
}

impl PendingJob {
    pub(super) fn new(kind: &str, id: &str, owner_key: &OwnerKey, phase: Phase) -> Self {
        let target = ObjectRef {
            kind: KindName::from(kind),
            external_id: ExternalId(id.to_owned()),
            owner_key: owner_key.clone(),
        };
        Self { target, phase, fields: Vec::new(), spec: Value::Null, observed: Value::Null }
    }

    pub(in crate::openstack) fn from_handle(handle: &Value) -> Result<Self, Failure> {
        Self::deserialize(handle).map_err(|_| {
            let message = "the handle is none of this driver";
            Failure::harmless(ErrorClass::Bug, "bad_handle", message)
        })
    }

    /// The outcome that polls this job again after `poll_after_ms`.
    pub(super) fn pending(&self, poll_after_ms: u64) -> Outcome {
        Outcome::Pending { handle: json!(self), poll_after_ms }
    }

    pub(super) fn id(&self) -> &str {
        self.target.external_id.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_comes_back_as_the_same_job() {
        let key = OwnerKey("x-1".to_owned());
        let mut job =
            PendingJob::new("openstack.volume", "v", &key, Phase::Action("revert".to_owned()));
        job.fields = vec!["/size".to_owned()];
        job.spec = json!({"size": 2});
        job.observed = json!({"size": 1});
        let Outcome::Pending { handle, .. } = job.pending(500) else { panic!("pending") };
        assert_eq!(PendingJob::from_handle(&handle).unwrap(), job);
        assert_eq!(PendingJob::from_handle(&json!({"job": 7})).unwrap_err().code, "bad_handle");
    }
}
