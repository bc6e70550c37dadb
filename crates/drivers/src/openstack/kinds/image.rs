//! `openstack.image`: its id is derived from the owner key, so that a repeated creation cannot create a second image.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::OwnerKey;
use stateward_domain::json_pointer;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Create, Search};

use super::blocker::volumes_where;
use super::image_content::{decoded, has_content, same_content, same_source, upload_content};
use super::kind_meta::{Compare, Field, KindMeta, Mutability, fixed, mutable};
use super::neutron::members;
use super::normalise::field_error;
use super::{Blocker, Change, Kind, Remaining, Stage, copy_fields, status_unless, to_external_id};
use crate::openstack::client::{ApiError, Body, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key::{self, PROPERTY};
use crate::openstack::service::Service;

pub(super) struct Image;

static META: KindMeta = KindMeta {
    name: "openstack.image",
    summary: "A disk image that servers and volumes are made from.",
    schema: include_str!("image.schema.json"),
    service: Service::Image,
    path: "images",
    list: &["images"],
    row: "",
    rows: "images",
    pagination: Pagination::Next,
    fields: &[
        fixed("disk_format", Compare::Exact),
        fixed("container_format", Compare::Exact),
        // Content can be uploaded as long as there is none; see `is_fixed`.
        mutable("content", Compare::By(same_content)),
        mutable("source_url", Compare::By(same_source)),
        mutable("name", Compare::Exact),
        mutable("visibility", Compare::Exact),
        mutable("protected", Compare::Exact),
        mutable("min_disk", Compare::Exact),
        mutable("min_ram", Compare::Exact),
        mutable("os_hidden", Compare::Exact),
        mutable("tags", Compare::Set),
        mutable("properties", Compare::By(same_properties)),
    ],
    computed: &[
        "status",
        "size",
        "os_hash_algo",
        "os_hash_value",
        "owner",
        "created_at",
        "os_glance_importing_to_stores",
        "os_glance_failed_import",
    ],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 8,
    on_lost: OnLost::Ask,
};

/// Begins the markers of the list of hidden images.
const HIDDEN: &str = "hidden:";
const MEDIA_PATCH: &str = "application/openstack-images-v2.1-json-patch";
/// Standard members of an image; all others are properties.
const STANDARD_MEMBERS: &[&str] = &[
    "id",
    "name",
    "status",
    "visibility",
    "protected",
    "os_hidden",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "size",
    "virtual_size",
    "owner",
    "disk_format",
    "container_format",
    "min_disk",
    "min_ram",
    "tags",
    "created_at",
    "updated_at",
    "file",
    "self",
    "schema",
    "direct_url",
    "locations",
    "stores",
];

/// Compares only the named properties, because the cloud adds its own.
fn same_properties(observed: &Value, wanted: &Value) -> bool {
    let mut wanted = wanted.as_object().into_iter().flatten();
    wanted.all(|(name, value)| observed["properties"][name.as_str()] == *value)
}

/// The id of an owner key's image. Glance never frees ids, so the incarnation is part of it.
pub(super) fn image_id(key: &OwnerKey) -> String {
    let digest = Sha256::digest(owner_key::encode(key).as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

#[async_trait]
impl Kind for Image {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    /// Glance takes content once: another one takes another image.
    fn is_fixed(&self, field: &Field, observed: &Value) -> bool {
        let uploaded = field.name == "content" && has_content(observed);
        uploaded || field.mutability == Mutability::Never
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let properties = spec.get("properties").and_then(Value::as_object);
        let names = properties.into_iter().flatten().map(|(name, _)| name.as_str());
        let bad: Vec<_> =
            names.filter(|name| *name == PROPERTY || STANDARD_MEMBERS.contains(name)).collect();
        let mut faults: Vec<_> = bad
            .iter()
            .map(|name| field_error(&format!("/properties/{name}"), "is no property of the user's"))
            .collect();
        let content = spec.get("content").and_then(Value::as_str);
        if content.is_some_and(|content| decoded(content).is_none()) {
            faults.push(field_error("/content", "is no base64"));
        }
        if content.is_some() && spec.contains_key("source_url") {
            faults.push(field_error("/source_url", "is there besides content"));
        }
        faults
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copy_fields(&META, row);
        let tags = row["tags"].as_array().into_iter().flatten();
        let tags: Vec<_> = tags
            .filter(|tag| tag.as_str().and_then(owner_key::decode).is_none())
            .cloned()
            .collect();
        attributes.insert("tags".to_owned(), Value::Array(tags));
        let mut properties = row.as_object().cloned().unwrap_or_default();
        properties.retain(|name, value| {
            value.is_string()
                && name != PROPERTY
                && !name.starts_with("os_glance_")
                && !STANDARD_MEMBERS.contains(&name.as_str())
        });
        attributes.insert("properties".to_owned(), Value::Object(properties));
        attributes
    }

    /// Images made from a server or a volume inherit the properties of their base image, including its owner key; so an
    /// image is ours only if its id is the one of the key, too.
    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        owner_key::from_properties(row).filter(|key| row["id"] == image_id(key))
    }

    /// An image with another id is not the key's.
    fn mark_request(&self, row: &Value, key: &OwnerKey) -> Option<Request> {
        let id = row["id"].as_str().filter(|id| *id == image_id(key))?;
        // A key that was inherited from another image is replaced: it names no owner of this one.
        let mark = patch_add(PROPERTY, &Value::from(owner_key::encode(key)));
        Some(patch_request(id, vec![mark]))
    }

    fn stage(&self, attributes: &Value) -> Stage {
        let import = |state: &str| {
            let stores = attributes[format!("os_glance_{state}")].as_str();
            stores.is_some_and(|stores| !stores.is_empty())
        };
        match attributes["status"].as_str().unwrap_or_default() {
            "queued" if import("importing_to_stores") => Stage::Working,
            "queued" if import("failed_import") => {
                Stage::Failed("queued, because its import failed".to_owned())
            }
            // An image whose content is never uploaded stays queued.
            "active" | "queued" => Stage::Settled,
            status @ ("killed" | "deactivated" | "deleted") => Stage::Failed(status.to_owned()),
            _ => Stage::Working,
        }
    }

    /// No server starts from an image without content.
    fn unready(&self, attributes: &Value) -> Option<String> {
        status_unless(attributes, |status| status == "active")
    }

    fn poll_ms(&self) -> Option<u64> {
        Some(500)
    }

    async fn search(
        &self,
        client: CallClient<'_>,
        search: &Search,
    ) -> Result<Vec<Value>, ApiError> {
        let id = image_id(&search.owner_key);
        match self.get(client, &id).await {
            Ok((row, _)) => Ok(vec![row]),
            Err(error) if error.proves_absence_of(&id) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn list_request(&self, client: CallClient<'_>) -> Result<Request, ApiError> {
        let project = client.project_id().await?;
        let request = Request::get(Service::Image, META.list).query("owner", &project);
        Ok(request.query("sort_key", "id").query("sort_dir", "asc"))
    }

    /// Hidden images have a list of their own, which follows the other one.
    async fn page(
        &self,
        client: CallClient<'_>,
        marker: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), ApiError> {
        let request = self.list_request(client).await?;
        let Some(marker) = marker.and_then(|marker| marker.strip_prefix(HIDDEN)) else {
            let (rows, next) = client.page(request, META.rows, META.pagination, marker).await?;
            return Ok((rows, next.or_else(|| Some(HIDDEN.to_owned()))));
        };
        let marker = Some(marker).filter(|marker| !marker.is_empty());
        let request = request.query("os_hidden", "true");
        let (rows, next) = client.page(request, META.rows, META.pagination, marker).await?;
        Ok((rows, next.map(|next| format!("{HIDDEN}{next}"))))
    }

    /// Images of shelved servers belong to the servers. Nova says of which server it made an image.
    fn is_top_level(&self, row: &Value) -> bool {
        let shelved = row["name"].as_str().is_some_and(|name| name.ends_with("-shelved"));
        !(shelved && row["instance_uuid"].is_string())
    }

    async fn create_request(
        &self,
        _: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError> {
        let mut image = create.spec.as_object().cloned().unwrap_or_default();
        // These need their own requests; and a failed image could not be deleted if it were protected.
        for later in ["content", "source_url", "protected"] {
            image.remove(later);
        }
        if let Some(Value::Object(properties)) = image.remove("properties") {
            image.extend(properties);
        }
        image.insert("id".to_owned(), Value::from(image_id(&create.owner_key)));
        image.insert(PROPERTY.to_owned(), Value::from(owner_key::encode(&create.owner_key)));
        Ok(Request::post(Service::Image, META.list, Value::Object(image)))
    }

    async fn after_create(
        &self,
        client: CallClient<'_>,
        id: &str,
        create: &Create,
    ) -> Result<(), ApiError> {
        upload_content(client, id, &create.spec).await?;
        match create.spec.get("protected") {
            Some(protected) => patch(client, id, vec![patch_add("protected", protected)]).await,
            None => Ok(()),
        }
    }

    /// Glance reports that the id was used: it is this key's image, or was.
    async fn on_already_exists(
        &self,
        _: CallClient<'_>,
        create: &Create,
        error: ApiError,
    ) -> Failure {
        let class =
            ErrorClass::AlreadyExists { external_id: to_external_id(&image_id(&create.owner_key)) };
        Failure { class, ..error.into() }
    }

    async fn update_fields(
        &self,
        client: CallClient<'_>,
        change: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        let Change { target, spec, fields, .. } = *change;
        let id = target.external_id.as_str();
        let mut changes = Vec::new();
        for (name, value) in members(spec, fields) {
            match (name.as_str(), value) {
                ("content" | "source_url", _) => {
                    let (row, _) = self.get(client, id).await?;
                    if has_content(&row) {
                        let message = "the content of an image cannot change; make another one";
                        return Err(ApiError::harmless(ErrorKind::Immutable, "immutable", message));
                    }
                    upload_content(client, id, spec).await?;
                }
                ("tags", Value::Array(mut tags)) => {
                    let (row, _) = self.get(client, id).await?;
                    tags.extend(owner_key::marks(&row["tags"]).cloned());
                    changes.push(patch_add("tags", &Value::Array(tags)));
                }
                ("properties", Value::Object(properties)) => {
                    changes.extend(properties.iter().map(|(name, value)| patch_add(name, value)));
                }
                (name, value) => changes.push(patch_add(name, &value)),
            }
        }
        patch(client, id, changes).await?;
        Ok(Remaining::Working(Vec::new()))
    }

    /// Servers and volumes made from it, where the cloud keeps them as its children.
    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        let request = Request::get(Service::Compute, &["servers", "detail"]).query("image", id);
        let servers = client.rows(request, "servers", Pagination::Links).await?;
        let blocker = Blocker::of("server", &servers, |row| owner_key::from_tags(&row["tags"]));
        if blocker.is_some() {
            return Ok(blocker);
        }
        volumes_where(client, |volume| volume["volume_image_metadata"]["image_id"] == id).await
    }

    fn recreate_on_error(&self) -> bool {
        true
    }
}

/// An operation that adds or replaces a member.
fn patch_add(name: &str, value: &Value) -> Value {
    let path = format!("/{}", json_pointer::escape(name));
    json!({"op": "add", "path": path, "value": value})
}

async fn patch(client: CallClient<'_>, id: &str, changes: Vec<Value>) -> Result<(), ApiError> {
    if changes.is_empty() {
        return Ok(());
    }
    client.send(patch_request(id, changes)).await.map(drop)
}

fn patch_request(id: &str, changes: Vec<Value>) -> Request {
    let request = Request::new(Service::Image, Method::PATCH, &["images", id]);
    request.with(Body::Typed(MEDIA_PATCH, Value::Array(changes)))
}

#[cfg(test)]
mod tests;
