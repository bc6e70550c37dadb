//! The stage of an object, as a poll of pending work finds it.

use jiff::SignedDuration;
use serde_json::{Value, json};
use stateward_domain::failure::Failure;
use stateward_domain::ports::driver::ObjectRef;

use super::idle_time::idle_longer_than;
use super::pending_job::{PendingJob, Phase};
use super::{Kind, Stage};
use crate::openstack::client::{CallClient, ErrorKind};

/// An object is stuck after this time: a broken message queue can lose a request and leave the object in transition for
/// ever.
const STUCK_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Pending work on `target`.
pub(super) fn job_for(target: &ObjectRef, phase: Phase) -> PendingJob {
    PendingJob::new(target.kind.as_str(), target.external_id.as_str(), &target.owner_key, phase)
}

/// The stage of the object and its row; `None` = it does not exist.
pub(super) async fn poll_stage(
    kind: &dyn Kind,
    client: CallClient<'_>,
    job: &PendingJob,
) -> Result<Option<(Stage, Value)>, Failure> {
    let (row, now) = match kind.get(client, job.id()).await {
        Ok((row, now)) => (row, now),
        Err(error) if error.proves_absence_of(job.id()) => return Ok(None),
        // The job is polled again: this reply proves nothing about the object.
        Err(error) if error.kind == ErrorKind::NotFound => {
            return Err(error.with_kind(ErrorKind::Transient).into());
        }
        Err(error) => return Err(error.into()),
    };
    let attributes = json!(kind.attributes(&row));
    // Of a part that moves, the object's own last change says nothing.
    if let Some(stage) = kind.poll_hook(client, job, &attributes).await? {
        return Ok(Some((stage, row)));
    }
    let stage = kind.stage(&attributes);
    let stage = if stage == Stage::Working && idle_longer_than(&row, now, STUCK_AFTER) {
        let status = row["status"].as_str().unwrap_or("unknown");
        Stage::Failed(format!("{status} for more than an hour; it needs an administrator"))
    } else {
        stage
    };
    Ok(Some((stage, row)))
}
