//! Shared by Cinder's kinds: the owner key is metadata, changes are asynchronous, and failure reasons are messages.

use serde_json::{Map, Value, json};
use stateward_domain::id::OwnerKey;

use super::kind_meta::{ActionMeta, NO_INPUT};
use super::pending_job::Phase;
use super::{PendingJob, Stage};
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key::{self, PROPERTY};
use crate::openstack::service::Service;

/// Metadata keys that Cinder and Nova write themselves.
const CLOUD_KEYS: &[&str] = &["readonly", "attached_mode"];
/// Messages that are searched for a reason.
const MESSAGES_MAX: &str = "50";

/// Maps a status to a stage.
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

/// The metadata that belongs to the user.
pub(super) fn user_metadata(metadata: &Value) -> Value {
    let mut users = metadata.as_object().cloned().unwrap_or_default();
    users.retain(|key, _| key != PROPERTY && !CLOUD_KEYS.contains(&key.as_str()));
    Value::Object(users)
}

/// The user's metadata and the owner key.
pub(super) fn with_owner_key(users: Option<&Value>, key: &OwnerKey) -> Value {
    let mut metadata: Map<_, _> = users.and_then(Value::as_object).cloned().unwrap_or_default();
    metadata.insert(PROPERTY.to_owned(), Value::from(owner_key::encode(key)));
    Value::Object(metadata)
}

/// The metadata that replaces that of `row`: the user's, and the owner key that it has. Without one, none is added: the
/// object may have been adopted.
pub(super) fn replaced_metadata(users: &Value, row: &Value, ours: &OwnerKey) -> Value {
    match owner_key::from_properties(&row["metadata"]) {
        Some(there) => with_owner_key(Some(users), owner_key::kept(&there, ours)),
        None => users.clone(),
    }
}

/// The request that adds the owner key to the metadata.
pub(super) fn mark_request(collection: &str, row: &Value, key: &OwnerKey) -> Option<Request> {
    let path = [collection, row["id"].as_str()?, "metadata"];
    let body = json!({"metadata": { PROPERTY: owner_key::encode(key) }});
    Some(Request::post(Service::Volume, &path, body))
}

/// Rows with the owner key. A cloud that does not let members filter answers 400: then all rows are read.
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

/// The action of snapshots and backups that reverts volumes to them. Repeating it has the same result.
pub(super) const RESTORE: ActionMeta =
    ActionMeta { name: "restore", input: NO_INPUT, idempotent: true };

/// Reverts a volume to a snapshot. Cinder permits it for the newest snapshot only, and only while the volume is not in
/// use.
pub(super) async fn revert(
    client: CallClient<'_>,
    of: &str,
    snapshot: &str,
) -> Result<(), ApiError> {
    volume_action(client, of, "revert", json!({ "snapshot_id": snapshot })).await
}

/// Posts an action of a volume.
pub(super) async fn volume_action(
    client: CallClient<'_>,
    id: &str,
    action: &str,
    input: Value,
) -> Result<(), ApiError> {
    let path = ["volumes", id, "action"];
    client.send(Request::post(Service::Volume, &path, json!({ action: input }))).await.map(drop)
}

/// The stage of volumes that are being reverted: the worst of them.
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

/// Whether the job is a restore.
pub(super) fn is_restore(job: &PendingJob) -> bool {
    matches!(&job.phase, Phase::Action(action) if action == RESTORE.name)
}

/// The newest message of Cinder about a failed object.
pub(super) async fn failure_reason(client: CallClient<'_>, id: &str) -> Option<String> {
    let request = Request::get(Service::Volume, &["messages"]).query("limit", MESSAGES_MAX);
    let reply = client.send(request).await.ok()?;
    let mut messages = reply.body["messages"].as_array()?.iter();
    let message = messages.find(|message| message["resource_uuid"] == *id)?;
    message["user_message"].as_str().map(str::to_owned)
}
