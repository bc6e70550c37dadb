//! `openstack.volume`.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Act, Create, ObjectRef, Search};

use super::kind_meta::{ActionMeta, Compare, KindMeta, fixed, mutable};
use super::neutron::members;
use super::normalise::field_error;
use super::{ActionOutcome, Blocker, Change, Kind, Remaining, Stage, cinder, copy_fields};
use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key;
use crate::openstack::service::Service;

pub(super) struct Volume;

static META: KindMeta = KindMeta {
    name: "openstack.volume",
    summary: "A block device of the project.",
    schema: include_str!("volume.schema.json"),
    service: Service::Volume,
    path: "volumes",
    list: &["volumes", "detail"],
    row: "volume",
    rows: "volumes",
    pagination: Pagination::Links,
    fields: &[
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        mutable("metadata", Compare::Exact),
        mutable("size", Compare::Exact),
        mutable("volume_type", Compare::Either("volume_type_id")),
        mutable("bootable", Compare::Exact),
        mutable("readonly", Compare::Exact),
        fixed("availability_zone", Compare::Exact),
        fixed("imageRef", Compare::Source),
        fixed("snapshot_id", Compare::Exact),
        fixed("source_volid", Compare::Exact),
    ],
    computed: &["status", "attachments", "encrypted", "multiattach"],
    actions: &[
        ActionMeta {
            name: "revert",
            input: r#"{
            "type": "object", "required": ["snapshot_id"], "additionalProperties": false,
            "properties": {"snapshot_id": {"type": "string", "minLength": 1, "maxLength": 64}}
        }"#,
            idempotent: true,
        },
        ActionMeta {
            name: "reset-status",
            input: r#"{
            "type": "object", "required": ["status"], "additionalProperties": false,
            "properties": {"status": {"enum": ["available", "in-use", "error"]}}
        }"#,
            idempotent: true,
        },
    ],
    identity: None,
    owner_key: true,
    retry_budget: 8,
    on_lost: OnLost::Ask,
};

/// Statuses of a settled volume.
const SETTLED: &[&str] = &["available", "in-use", "maintenance", "awaiting-transfer"];
/// The fields that Cinder changes asynchronously, one at a time.
const SLOW: &[&str] = &["/size", "/volume_type"];

#[async_trait]
impl Kind for Volume {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let sources = ["imageRef", "snapshot_id", "source_volid"];
        let given: Vec<_> = sources.into_iter().filter(|name| spec.contains_key(*name)).collect();
        let mut faults = Vec::new();
        if given.len() > 1 {
            faults.push(field_error(
                &format!("/{}", given[1]),
                "a volume is made from one source only",
            ));
        }
        let sized = given.first().is_some_and(|source| *source != "imageRef");
        if !sized && !spec.contains_key("size") {
            faults.push(field_error("/size", "is missing"));
        }
        if spec.get("metadata").is_some_and(|metadata| cinder::user_metadata(metadata) != *metadata)
        {
            faults.push(field_error("/metadata", "has a key that the cloud or Stateward writes"));
        }
        faults
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copy_fields(&META, row);
        let readonly = row["metadata"]["readonly"].as_str();
        let readonly = readonly.is_some_and(|text| text.eq_ignore_ascii_case("true"));
        attributes.insert("readonly".to_owned(), Value::from(readonly));
        attributes.insert("metadata".to_owned(), cinder::user_metadata(&row["metadata"]));
        attributes.insert("bootable".to_owned(), Value::from(row["bootable"] == "true"));
        // A volume inherits this from its source, and only one source can be declared.
        let image = &row["volume_image_metadata"]["image_id"];
        let is_copy = row["snapshot_id"].is_string() || row["source_volid"].is_string();
        if image.is_string() && !is_copy {
            attributes.insert("imageRef".to_owned(), image.clone());
        }
        attributes
    }

    /// Adds the id of the type: Cinder shows its name, and the desired state may have either.
    async fn complete_attributes(
        &self,
        client: CallClient<'_>,
        row: &Value,
        attributes: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let Some(name) = row["volume_type"].as_str() else { return Ok(()) };
        if let Some(id) = client.cached_id(NamedResource::VolumeType, name).await? {
            attributes.insert("volume_type_id".to_owned(), Value::from(id));
        }
        Ok(())
    }

    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        owner_key::from_properties(&row["metadata"])
    }

    fn mark_request(&self, row: &Value, key: &OwnerKey) -> Option<Request> {
        cinder::mark_request("volumes", row, key)
    }

    fn stage(&self, attributes: &Value) -> Stage {
        cinder::stage(attributes, SETTLED, &[])
    }

    fn poll_ms(&self) -> Option<u64> {
        Some(500)
    }

    async fn search(
        &self,
        client: CallClient<'_>,
        search: &Search,
    ) -> Result<Vec<Value>, ApiError> {
        cinder::search(client, META.list, META.rows, &search.owner_key).await
    }

    async fn list_request(&self, _: CallClient<'_>) -> Result<Request, ApiError> {
        Ok(Request::get(Service::Volume, META.list).query("sort", "id:asc"))
    }

    async fn create_request(
        &self,
        client: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError> {
        let mut volume = create.spec.as_object().cloned().unwrap_or_default();
        for later in ["bootable", "readonly"] {
            volume.remove(later);
        }
        client.resolve_field(&mut volume, "imageRef", NamedResource::Image).await?;
        if let Some(Value::String(image)) = volume.get("imageRef") {
            // Cinder gives the same error for a missing image and for a Glance that is down.
            client.send(Request::get(Service::Image, &["images", image])).await?;
        }
        client.resolve_field(&mut volume, "volume_type", NamedResource::VolumeType).await?;
        let metadata = cinder::with_owner_key(volume.get("metadata"), &create.owner_key);
        volume.insert("metadata".to_owned(), metadata);
        Ok(Request::post(Service::Volume, &["volumes"], json!({ "volume": volume })))
    }

    async fn update_fields(
        &self,
        client: CallClient<'_>,
        change: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        let Change { target, spec, fields, .. } = *change;
        let id = target.external_id.as_str();
        self.describe(client, target, spec, fields).await?;
        for field in fields {
            let (action, input) = match field.as_str() {
                "/bootable" => ("os-set_bootable", json!({"bootable": spec["bootable"]})),
                "/readonly" => ("os-update_readonly_flag", json!({"readonly": spec["readonly"]})),
                _ => continue,
            };
            cinder::volume_action(client, id, action, input).await?;
        }
        let mut slow = fields.iter().filter(|field| SLOW.contains(&field.as_str())).cloned();
        match slow.next().as_deref() {
            None => return Ok(Remaining::Nothing),
            Some("/size") => extend(client, id, spec).await?,
            Some(_) => {
                let wanted = spec["volume_type"].as_str().unwrap_or_default();
                let new_type = client.resolve_id(NamedResource::VolumeType, wanted).await?;
                let input = json!({"new_type": new_type, "migration_policy": "on-demand"});
                cinder::volume_action(client, id, "os-retype", input).await?;
            }
        }
        Ok(Remaining::Working(slow.collect()))
    }

    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        let request = Request::get(Service::Volume, &["snapshots", "detail"]);
        let snapshots =
            client.rows(request.query("volume_id", id), "snapshots", Pagination::Links).await?;
        let mark = |row: &Value| owner_key::from_properties(&row["metadata"]);
        if let Some(snapshot) = Blocker::of("snapshot", &snapshots, mark) {
            return Ok(Some(snapshot));
        }
        let (row, _) = self.get(client, id).await?;
        let server = row["attachments"][0]["server_id"].as_str();
        let Some(server) = server else { return Ok(None) };
        let reply = client.send(Request::get(Service::Compute, &["servers", server])).await?;
        let mark = |row: &Value| owner_key::from_tags(&row["tags"]);
        Ok(Blocker::of("server", &[reply.body["server"].clone()], mark))
    }

    async fn perform_action(
        &self,
        client: CallClient<'_>,
        act: &Act,
    ) -> Result<ActionOutcome, ApiError> {
        let id = act.target.external_id.as_str();
        let action = if act.action.0 == "revert" { "revert" } else { "os-reset_status" };
        cinder::volume_action(client, id, action, act.input.clone()).await?;
        Ok(ActionOutcome::Pending)
    }

    async fn failure_reason(&self, client: CallClient<'_>, id: &str, _: &Value) -> Option<String> {
        cinder::failure_reason(client, id).await
    }

    fn recreate_on_error(&self) -> bool {
        true
    }
}

impl Volume {
    /// Changes what one PUT can, in any state. It replaces all metadata, so it includes the owner key.
    async fn describe(
        &self,
        client: CallClient<'_>,
        target: &ObjectRef,
        spec: &Value,
        fields: &[String],
    ) -> Result<(), ApiError> {
        let mut members = members(spec, fields);
        members.retain(|name, _| matches!(name.as_str(), "name" | "description" | "metadata"));
        if let Some(metadata) = members.get_mut("metadata") {
            let (row, _) = self.get(client, target.external_id.as_str()).await?;
            *metadata = cinder::replaced_metadata(metadata, &row, &target.owner_key);
        }
        if members.is_empty() {
            return Ok(());
        }
        let path = ["volumes", target.external_id.as_str()];
        let body = json!({ "volume": members });
        client.send(Request::put(Service::Volume, &path, body)).await.map(drop)
    }
}

/// Grows the volume; it cannot shrink.
async fn extend(client: CallClient<'_>, id: &str, spec: &Value) -> Result<(), ApiError> {
    let (row, _) = Volume.get(client, id).await?;
    if spec["size"].as_u64() < row["size"].as_u64() {
        let message = "a volume cannot become smaller";
        return Err(ApiError::harmless(ErrorKind::Immutable, "cannot_shrink", message));
    }
    cinder::volume_action(client, id, "os-extend", json!({"new_size": spec["size"]})).await
}
