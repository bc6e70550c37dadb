//! What Cinder's kinds share: the mark is metadata, work takes a while, and a reason is a message.

use serde_json::{Map, Value, json};
use stateward_domain::id::OwnerKey;

use super::kind_meta::{ActionMeta, NO_INPUT};
use super::pending_job::Phase;
use super::{PendingJob, Stage};
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key::{self, PROPERTY};
use crate::openstack::service::Service;

/// Keys of metadata that Cinder and Nova write by themselves.
const CLOUD_KEYS: &[&str] = &["readonly", "attached_mode"];
/// Messages looked at for a reason.
const MESSAGES_MAX: &str = "50";

/// How a status stands.
pub(super) fn stage(attributes: &Value, settled: &[&str], failed: &[&str]) -> Stage {
    let status = attributes["status"].as_str().unwrap_or_default();
    if settled.contains(&status) {
        Stage::Settled
    } else if failed.contains(&status) || status.starts_with("error") {
        Stage::Failed(status.to_owned())
    } else {
        Stage::Working
    }
}

/// The user's part of the metadata.
pub(super) fn user_metadata(metadata: &Value) -> Value {
    let mut users = metadata.as_object().cloned().unwrap_or_default();
    users.retain(|key, _| key != PROPERTY && !CLOUD_KEYS.contains(&key.as_str()));
    Value::Object(users)
}

/// The whole metadata: the user's part and the mark.
pub(super) fn with_owner_key(users: Option<&Value>, key: &OwnerKey) -> Value {
    let mut metadata: Map<_, _> = users.and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.insert(PROPERTY.to_owned(), Value::from(owner_key::encode(key)));
    Value::Object(metadata)
}

/// Rows with the mark. A cloud that does not let members filter answers 400: then all are read.
pub(super) async fn search(
    client: CallClient<'_>,
    list: &[&str],
    rows: &str,
    key: &OwnerKey,
) -> Result<Vec<Value>, ApiError> {
    let all = Request::get(Service::Volume, list);
    let filter = json!({ PROPERTY: owner_key::encode(key) }).to_string().replace('"', "'");
    let filtered = all.clone().query("metadata", &filter);
    match client.rows(filtered, rows, Pagination::Links).await {
        Err(error) if error.kind == ErrorKind::Invalid => {
            client.rows(all, rows, Pagination::Links).await
        }
        outcome => outcome,
    }
}

/// The verb of what holds a volume as it was. Asked for again, it gives back the same.
pub(super) const RESTORE: ActionMeta =
    ActionMeta { name: "restore", input: NO_INPUT, idempotent: true };

/// Asks for a volume as a snapshot of it has it: the newest of its snapshots, of a volume that nobody uses.
pub(super) async fn revert(
    client: CallClient<'_>,
    of: &str,
    snapshot: &str,
) -> Result<(), ApiError> {
    volume_action(client, of, "revert", json!({ "snapshot_id": snapshot })).await
}

/// Asks Cinder to do something with a volume.
pub(super) async fn volume_action(
    client: CallClient<'_>,
    id: &str,
    action: &str,
    input: Value,
) -> Result<(), ApiError> {
    let path = ["volumes", id, "action"];
    client.send(Request::post(Service::Volume, &path, json!({ action: input }))).await.map(drop)
}

/// How far the volumes are that are being given back what they held: the worst of them.
pub(super) async fn revert_stage(
    client: CallClient<'_>,
    volumes: &[&str],
) -> Result<Stage, ApiError> {
    let mut all = Stage::Settled;
    for id in volumes {
        let reply = client.send(Request::get(Service::Volume, &["volumes", id])).await?;
        match stage(&reply.body["volume"], &["available", "in-use"], &[]) {
            Stage::Settled => {}
            Stage::Working => all = Stage::Working,
            failed @ Stage::Failed(_) => return Ok(failed),
        }
    }
    Ok(all)
}

/// Whether it is a restoration that the cloud works on.
pub(super) fn is_restore(job: &PendingJob) -> bool {
    matches!(&job.phase, Phase::Action(action) if action == RESTORE.name)
}

/// What Cinder says about an object that failed: the newest message.
pub(super) async fn failure_reason(client: CallClient<'_>, id: &str) -> Option<String> {
    let request = Request::get(Service::Volume, &["messages"]).query("limit", MESSAGES_MAX);
    let reply = client.send(request).await.ok()?;
    let mut messages = reply.body["messages"].as_array()?.iter();
    let message = messages.find(|message| message["resource_uuid"] == *id)?;
    message["user_message"].as_str().map(str::to_owned)
}
