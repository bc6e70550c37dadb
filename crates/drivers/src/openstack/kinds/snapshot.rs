//! `openstack.snapshot`: a volume at one moment.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Act, Create, ObjectRef, Search};

use super::backup::BACKUP_OF;
use super::neutron::members;
use super::normal::fault;
use super::shape::{Compare, Shape, fixed, mutable};
use super::{Done, Job, Kind, Left, Stage, cinder, copied};
use crate::openstack::client::{ApiError, CallClient, Pagination, Request};
use crate::openstack::owner;
use crate::openstack::service::Service;

pub(super) struct Snapshot;

static SHAPE: Shape = Shape {
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
        // Says how it is made, and is nothing of the snapshot.
        fixed("force", Compare::Unseen),
    ],
    shown: &["status", "size", "created_at"],
    verbs: &[cinder::RESTORE],
    identity: None,
    owner_key: true,
    settle: Duration::from_secs(30),
    retry_budget: 8,
    on_lost: OnLost::Ask,
};

#[async_trait]
impl Kind for Snapshot {
    fn shape(&self) -> &'static Shape {
        &SHAPE
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        if spec.get("metadata").is_some_and(|metadata| cinder::users(metadata) != *metadata) {
            return vec![fault("/metadata", "has a key that the cloud or Stateward writes")];
        }
        Vec::new()
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copied(&SHAPE, row);
        attributes.insert("metadata".to_owned(), cinder::users(&row["metadata"]));
        attributes
    }

    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        owner::in_properties(&row["metadata"])
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
        let mut rows = cinder::search(client, SHAPE.list, SHAPE.rows, &search.owner_key).await?;
        rows.retain(|row| self.stands_alone(row));
        Ok(rows)
    }

    async fn everything(&self, _: CallClient<'_>) -> Result<Request, ApiError> {
        Ok(Request::get(Service::Volume, SHAPE.list).query("sort", "id:asc"))
    }

    /// A part of a backup carries that one's mark and goes with it.
    fn stands_alone(&self, row: &Value) -> bool {
        row["metadata"].get(BACKUP_OF).is_none()
    }

    /// `force` lets a volume be in use; without it, below 3.66, Cinder refuses.
    async fn creation(&self, _: CallClient<'_>, create: &Create) -> Result<Request, ApiError> {
        let mut snapshot = create.spec.as_object().cloned().unwrap_or_default();
        snapshot.entry("force").or_insert(Value::Bool(true));
        let metadata = cinder::with_mark(snapshot.get("metadata"), &create.owner_key);
        snapshot.insert("metadata".to_owned(), metadata);
        Ok(Request::post(Service::Volume, &["snapshots"], json!({ "snapshot": snapshot })))
    }

    async fn change(
        &self,
        client: CallClient<'_>,
        target: &ObjectRef,
        spec: &Value,
        fields: &[String],
    ) -> Result<Left, ApiError> {
        let id = target.external_id.as_str();
        let mut members = members(spec, fields);
        if let Some(metadata) = members.remove("metadata") {
            let metadata = cinder::with_mark(Some(&metadata), &target.owner_key);
            let path = ["snapshots", id, "metadata"];
            let body = json!({ "metadata": metadata });
            client.send(Request::put(Service::Volume, &path, body)).await?;
        }
        if !members.is_empty() {
            let body = json!({ "snapshot": members });
            client.send(Request::put(Service::Volume, &["snapshots", id], body)).await?;
        }
        Ok(Left::Nothing)
    }

    async fn verb(&self, client: CallClient<'_>, act: &Act) -> Result<Done, ApiError> {
        let volume = act.spec["volume_id"].as_str().unwrap_or_default();
        cinder::revert(client, volume, act.target.external_id.as_str()).await?;
        Ok(Done::Later)
    }

    async fn nudge(
        &self,
        client: CallClient<'_>,
        job: &Job,
        attributes: &Value,
    ) -> Result<Option<Stage>, ApiError> {
        if !cinder::restores(job) {
            return Ok(None);
        }
        let volume = attributes["volume_id"].as_str().unwrap_or_default();
        cinder::reverted(client, &[volume]).await.map(Some)
    }

    async fn reason(&self, client: CallClient<'_>, id: &str, _: &Value) -> Option<String> {
        cinder::reason(client, id).await
    }

    fn remade(&self) -> bool {
        true
    }
}
