//! `openstack.backup`: one snapshot of each volume of a server.
//!
//! The API has no such object. Its id is its encoded owner key, which every snapshot carries; so it can be found, and
//! an interrupted creation can continue. It is not consistent across volumes: the snapshots are taken one after the
//! other.

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stateward_domain::failure::Failure;
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Act, Create, ObjectRef, Search};
use std::collections::BTreeSet;

use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::pending_job::Phase;
use super::{
    ActionOutcome, Change, Kind, PendingJob, Remaining, Stage, cinder, copy_fields, to_external_id,
};
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key;
use crate::openstack::service::Service;

pub(super) struct Backup;

/// Metadata keys of each snapshot: the server, the volume, and the number of snapshots of the backup.
pub(super) const BACKUP_OF: &str = "managed_server";
const VOLUME: &str = "managed_volume";
const PARTS: &str = "managed_parts";

static META: KindMeta = KindMeta {
    name: "openstack.backup",
    summary: "Snapshots of all volumes of a server, taken one after the other.",
    schema: include_str!("backup.schema.json"),
    service: Service::Volume,
    path: "snapshots",
    list: &["snapshots", "detail"],
    row: "",
    rows: "snapshots",
    pagination: Pagination::Links,
    fields: &[fixed("server_id", Compare::Exact), mutable("name", Compare::Exact)],
    computed: &["status", "snapshots"],
    actions: &[cinder::RESTORE],
    identity: None,
    owner_key: true,
    retry_budget: 8,
    on_lost: OnLost::Ask,
};

#[async_trait]
impl Kind for Backup {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        copy_fields(&META, row)
    }

    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        row["id"].as_str().and_then(owner_key::decode)
    }

    fn stage(&self, attributes: &Value) -> Stage {
        cinder::stage(attributes, &["available", "backing-up"], &["partial"])
    }

    fn poll_ms(&self) -> Option<u64> {
        Some(500)
    }

    async fn get(
        &self,
        client: CallClient<'_>,
        id: &str,
    ) -> Result<(Value, Option<Timestamp>), ApiError> {
        let none = || {
            let message = format!("no snapshot carries the mark {id}");
            ApiError::harmless(ErrorKind::NotFound, "not_found", message)
        };
        let key = owner_key::decode(id).ok_or_else(none)?;
        let parts = parts(client, &key).await?;
        if parts.is_empty() {
            client.proves_absence(Service::Volume)?;
        }
        merge_parts(&key, &parts).map(|row| (row, None)).ok_or_else(none)
    }

    async fn search(
        &self,
        client: CallClient<'_>,
        search: &Search,
    ) -> Result<Vec<Value>, ApiError> {
        let parts = parts(client, &search.owner_key).await?;
        Ok(merge_parts(&search.owner_key, &parts).into_iter().collect())
    }

    async fn list_request(&self, _: CallClient<'_>) -> Result<Request, ApiError> {
        Ok(Request::get(Service::Volume, META.list).query("sort", "id:asc"))
    }

    /// One backup for each owner key on the page; a backup whose snapshots are on two pages is listed on both.
    async fn page(
        &self,
        client: CallClient<'_>,
        marker: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), ApiError> {
        let request = self.list_request(client).await?;
        let (rows, next) = client.page(request, META.rows, META.pagination, marker).await?;
        let mut backups: Vec<Value> = Vec::new();
        for row in rows.iter().filter(|row| row["metadata"].get(BACKUP_OF).is_some()) {
            let Some(key) = owner_key::from_properties(&row["metadata"]) else { continue };
            let same: Vec<_> = rows.iter().filter(|row| is_part(row, &key)).cloned().collect();
            let known = |backup: &Value| backup["id"] == owner_key::encode(&key);
            if !backups.iter().any(known) {
                backups.extend(merge_parts(&key, &same));
            }
        }
        Ok((backups, next))
    }

    async fn create_request(&self, _: CallClient<'_>, _: &Create) -> Result<Request, ApiError> {
        Err(ApiError::harmless(ErrorKind::Bug, "no_single_request", "a backup is made of several"))
    }

    async fn create_object(
        &self,
        client: CallClient<'_>,
        create: &Create,
    ) -> Result<Value, Failure> {
        let (key, server) = (&create.owner_key, create.spec["server_id"].as_str());
        let id = owner_key::encode(key);
        // The id is known before anything is created.
        client.context.control.record_id(&to_external_id(&id)).await?;
        take_snapshots(client, key, server.unwrap_or_default(), &create.spec["name"], &[]).await?;
        Ok(json!({ "id": id }))
    }

    async fn update_fields(
        &self,
        client: CallClient<'_>,
        change: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        let Change { target, spec, .. } = *change;
        for part in parts(client, &target.owner_key).await? {
            let path = ["snapshots", part["id"].as_str().unwrap_or_default()];
            let body = json!({"snapshot": {"name": spec["name"]}});
            client.send(Request::put(Service::Volume, &path, body)).await?;
        }
        Ok(Remaining::Nothing)
    }

    async fn remove(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<(), ApiError> {
        let Some(key) = owner_key::decode(target.external_id.as_str()) else { return Ok(()) };
        for part in parts(client, &key).await? {
            if part["status"] == "deleting" {
                continue;
            }
            let path = ["snapshots", part["id"].as_str().unwrap_or_default()];
            match client.send(Request::delete(Service::Volume, &path)).await {
                Err(error) if error.kind != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reverts one volume after the other; the cloud refuses one that is in use, or has a newer snapshot.
    async fn perform_action(
        &self,
        client: CallClient<'_>,
        act: &Act,
    ) -> Result<ActionOutcome, ApiError> {
        for part in parts(client, &act.target.owner_key).await? {
            let text = |member: &str| part[member].as_str().unwrap_or_default().to_owned();
            cinder::revert(client, &text("volume_id"), &text("id")).await?;
        }
        Ok(ActionOutcome::Pending)
    }

    /// Continues an interrupted creation with the missing volumes.
    async fn poll_hook(
        &self,
        client: CallClient<'_>,
        job: &PendingJob,
        attributes: &Value,
    ) -> Result<Option<Stage>, ApiError> {
        let snapshots = attributes["snapshots"].as_array().cloned().unwrap_or_default();
        let volumes: Vec<_> =
            snapshots.iter().filter_map(|part| part["volume_id"].as_str()).collect();
        if cinder::is_restore(job) {
            return cinder::revert_stage(client, &volumes).await.map(Some);
        }
        if job.phase == Phase::Delete {
            let failed = attributes["status"].as_str().filter(|text| *text == "error_deleting");
            let deleting = attributes["status"] == "deleting";
            return Ok(match failed {
                Some(status) => Some(Stage::Failed(status.to_owned())),
                None if deleting => Some(Stage::Working),
                None => Some(Stage::Settled),
            });
        }
        if attributes["status"] != "partial" {
            return Ok(None);
        }
        // The missing part may have been requested: a second request would make two.
        if client.change_may_run(Service::Volume) {
            return Ok(Some(Stage::Working));
        }
        let server = attributes["server_id"].as_str().unwrap_or_default();
        take_snapshots(client, &job.target.owner_key, server, &attributes["name"], &volumes)
            .await?;
        Ok(Some(Stage::Working))
    }

    fn recreate_on_error(&self) -> bool {
        true
    }
}

fn is_part(row: &Value, key: &OwnerKey) -> bool {
    row["metadata"].get(BACKUP_OF).is_some()
        && owner_key::from_properties(&row["metadata"]).as_ref() == Some(key)
}

async fn parts(client: CallClient<'_>, key: &OwnerKey) -> Result<Vec<Value>, ApiError> {
    let mut parts = cinder::search(client, META.list, META.rows, key).await?;
    parts.retain(|row| is_part(row, key));
    Ok(parts)
}

/// The snapshots as one object; `None` = there are none. Its status is the worst of theirs.
fn merge_parts(key: &OwnerKey, parts: &[Value]) -> Option<Value> {
    let first = parts.first()?;
    // Without the number it is unknown whether the backup is complete, but it certainly exists.
    let count = first["metadata"][PARTS].as_str().and_then(|text| text.parse().ok());
    let count: usize = count.unwrap_or(usize::MAX);
    let text = |part: &Value| part["status"].as_str().unwrap_or("unknown").to_owned();
    let statuses: Vec<_> = parts.iter().map(text).collect();
    let failed = statuses.iter().find(|status| status.starts_with("error"));
    let moving = statuses.iter().find(|status| *status != "available" && *status != "backing-up");
    let status = match failed.or(moving) {
        Some(status) => status.as_str(),
        None if parts.len() < count => "partial",
        None => "available",
    };
    let snapshots: Vec<_> = parts
        .iter()
        .map(|part| {
            json!({
                "id": part["id"], "volume_id": part["volume_id"], "size": part["size"],
                "created_at": part["created_at"],
            })
        })
        .collect();
    Some(json!({
        "id": owner_key::encode(key), "server_id": first["metadata"][BACKUP_OF], "name": common_name(parts),
        "status": status, "snapshots": snapshots,
    }))
}

/// The name of the snapshots. If they differ, all names are joined: that equals no desired name, so it is drift
/// whichever of them was renamed.
fn common_name(parts: &[Value]) -> Value {
    let names: BTreeSet<_> = parts.iter().filter_map(|part| part["name"].as_str()).collect();
    if parts.iter().all(|part| part["name"] == parts[0]["name"]) {
        return parts[0]["name"].clone();
    }
    Value::from(names.into_iter().collect::<Vec<_>>().join(" | "))
}

/// Takes a snapshot of each volume of the server that is not in `done`.
async fn take_snapshots(
    client: CallClient<'_>,
    key: &OwnerKey,
    server: &str,
    name: &Value,
    done: &[&str],
) -> Result<(), ApiError> {
    let path = ["servers", server, "os-volume_attachments"];
    let attached =
        client.rows(Request::get(Service::Compute, &path), "volumeAttachments", Pagination::None);
    let attached = attached.await.map_err(|error| match error.kind {
        ErrorKind::NotFound => error.with_kind(ErrorKind::NoReference),
        _ => error,
    })?;
    let volumes: Vec<_> = attached.iter().filter_map(|row| row["volumeId"].as_str()).collect();
    let missing: Vec<_> = volumes.iter().filter(|volume| !done.contains(volume)).collect();
    if missing.is_empty() {
        let message = "the server has no volume that is not in the backup already";
        return Err(ApiError::harmless(ErrorKind::Invalid, "no_volumes", message));
    }
    let count = (done.len() + missing.len()).to_string();
    for (index, volume) in missing.iter().enumerate() {
        let users = json!({ BACKUP_OF: server, VOLUME: volume, PARTS: count });
        let metadata = cinder::with_owner_key(Some(&users), key);
        let snapshot =
            json!({"volume_id": volume, "name": name, "force": true, "metadata": metadata});
        let request = Request::post(Service::Volume, &["snapshots"], json!({"snapshot": snapshot}));
        let sent = client.send(request).await;
        sent.map_err(|error| if index + done.len() > 0 { error.partial() } else { error })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use stateward_domain::id::{EntityId, Incarnation};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_backup_is_as_good_as_its_worst_part() {
        let key = OwnerKey::new(EntityId(Uuid::from_u128(7)), Incarnation(1));
        let part = |status: &str, name: &str| {
            let metadata = json!({"managed_server": "s", "managed_parts": "2"});
            json!({"id": "x", "status": status, "name": name, "metadata": metadata})
        };
        let status = |parts: &[Value]| merge_parts(&key, parts).unwrap()["status"].clone();
        assert_eq!(status(&[part("available", "a"), part("available", "a")]), "available");
        assert_eq!(status(&[part("available", "a")]), "partial");
        assert_eq!(status(&[part("available", "a"), part("creating", "a")]), "creating");
        assert_eq!(status(&[part("error", "a"), part("creating", "a")]), "error");
        let name = |parts: &[Value]| merge_parts(&key, parts).unwrap()["name"].clone();
        assert_eq!(name(&[part("available", "a"), part("available", "a")]), "a");
        for (one, other) in [("a", "b"), ("b", "a")] {
            let renamed = name(&[part("available", one), part("available", other)]);
            assert_eq!(renamed, "a | b", "neither the one nor the other");
        }
        assert!(merge_parts(&key, &[]).is_none());
        let miscounted =
            json!({"id": "x", "status": "available", "metadata": {"managed_server": "s"}});
        assert_eq!(status(&[miscounted]), "partial", "what is there is never absent");
    }
}
