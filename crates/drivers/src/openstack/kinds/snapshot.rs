//! `openstack.snapshot`: a snapshot of a volume.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Act, Create, Search};

use super::backup::BACKUP_OF;
use super::blocker::volumes_where;
use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::members;
use super::normalise::field_error;
use super::{
    ActionOutcome, Blocker, Change, Kind, PendingJob, Remaining, Stage, cinder, copy_fields,
};
use crate::openstack::client::{ApiError, CallClient, Pagination, Request};
use crate::openstack::owner_key;
use crate::openstack::service::Service;

pub(super) struct Snapshot;

static META: KindMeta = KindMeta {
    name: "openstack.snapshot",
    summary: "A snapshot of a volume.",
    schema: include_str!("snapshot.schema.json"),
    service: Service::Volume,
    path: "snapshots",
    list: &["snapshots", "detail"],
    row: "snapshot",
    rows: "snapshots",
    pagination: Pagination::Links,
    fields: &[
        fixed("volume_id", Compare::Exact),
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        mutable("metadata", Compare::Exact),
        // It controls the creation, and is no property of the snapshot.
        fixed("force", Compare::NotObserved),
    ],
    computed: &["status", "size", "created_at"],
    actions: &[cinder::RESTORE],
    identity: None,
    owner_key: true,
    retry_budget: 8,
    on_lost: OnLost::Ask,
};

#[async_trait]
impl Kind for Snapshot {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        if spec.get("metadata").is_some_and(|metadata| cinder::user_metadata(metadata) != *metadata)
        {
            return vec![field_error("/metadata", "has a key that the cloud or Stateward writes")];
        }
        Vec::new()
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copy_fields(&META, row);
        attributes.insert("metadata".to_owned(), cinder::user_metadata(&row["metadata"]));
        attributes
    }

    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        owner_key::from_properties(&row["metadata"])
    }

    fn mark_request(&self, row: &Value, key: &OwnerKey) -> Option<Request> {
        cinder::mark_request("snapshots", row, key)
    }

    fn stage(&self, attributes: &Value) -> Stage {
        cinder::stage(attributes, &["available", "backing-up"], &[])
    }

    fn poll_ms(&self) -> Option<u64> {
        Some(500)
    }

    async fn search(
        &self,
        client: CallClient<'_>,
        search: &Search,
    ) -> Result<Vec<Value>, ApiError> {
        let mut rows = cinder::search(client, META.list, META.rows, &search.owner_key).await?;
        rows.retain(|row| self.is_top_level(row));
        Ok(rows)
    }

    async fn list_request(&self, _: CallClient<'_>) -> Result<Request, ApiError> {
        Ok(Request::get(Service::Volume, META.list).query("sort", "id:asc"))
    }

    /// A snapshot of a backup carries the backup's owner key and is deleted with it.
    fn is_top_level(&self, row: &Value) -> bool {
        row["metadata"].get(BACKUP_OF).is_none()
    }

    /// `force` permits a snapshot of a volume in use; without it, Cinder refuses that below 3.66.
    async fn create_request(
        &self,
        _: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError> {
        let mut snapshot = create.spec.as_object().cloned().unwrap_or_default();
        snapshot.entry("force").or_insert(Value::Bool(true));
        let metadata = cinder::with_owner_key(snapshot.get("metadata"), &create.owner_key);
        snapshot.insert("metadata".to_owned(), metadata);
        Ok(Request::post(Service::Volume, &["snapshots"], json!({ "snapshot": snapshot })))
    }

    async fn update_fields(
        &self,
        client: CallClient<'_>,
        change: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        let Change { target, spec, fields, .. } = *change;
        let id = target.external_id.as_str();
        let mut members = members(spec, fields);
        if let Some(metadata) = members.remove("metadata") {
            let (row, _) = self.get(client, id).await?;
            let metadata = cinder::replaced_metadata(&metadata, &row, &target.owner_key);
            let path = ["snapshots", id, "metadata"];
            let body = json!({ "metadata": metadata });
            client.send(Request::put(Service::Volume, &path, body)).await?;
        }
        if !members.is_empty() {
            let body = json!({ "snapshot": members });
            client.send(Request::put(Service::Volume, &["snapshots", id], body)).await?;
        }
        Ok(Remaining::Nothing)
    }

    /// Volumes made from it, where the cloud keeps them as its children.
    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        volumes_where(client, |volume| volume["snapshot_id"] == id).await
    }

    async fn perform_action(
        &self,
        client: CallClient<'_>,
        act: &Act,
    ) -> Result<ActionOutcome, ApiError> {
        let volume = act.spec["volume_id"].as_str().unwrap_or_default();
        cinder::revert(client, volume, act.target.external_id.as_str()).await?;
        Ok(ActionOutcome::Pending)
    }

    async fn poll_hook(
        &self,
        client: CallClient<'_>,
        job: &PendingJob,
        attributes: &Value,
    ) -> Result<Option<Stage>, ApiError> {
        if !cinder::is_restore(job) {
            return Ok(None);
        }
        let volume = attributes["volume_id"].as_str().unwrap_or_default();
        cinder::revert_stage(client, &[volume]).await.map(Some)
    }

    async fn failure_reason(&self, client: CallClient<'_>, id: &str, _: &Value) -> Option<String> {
        cinder::failure_reason(client, id).await
    }

    fn recreate_on_error(&self) -> bool {
        true
    }
}
