//! Shared by Neutron's kinds. All changes are synchronous: a reply is final.
//!
//! A creation can carry the owner key only in `description`, which users need, too. So the key is created there, copied
//! into a tag once the object exists, and only then replaced by the user's text.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::OwnerKey;
use stateward_domain::ports::driver::{Create, ObjectRef, Search};

use super::kind_meta::{KindMeta, set};
use super::read_calls::object_from_row;
use super::unknown_members::Part;
use super::{Blocker, Change, Kind, Remaining, copy_fields};
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key;
use crate::openstack::service::Service;

/// The part of a kind that is specific to one of Neutron's objects.
#[async_trait]
pub(super) trait NeutronKind: Send + Sync {
    fn meta(&self) -> &'static KindMeta;

    /// See [`Kind::parts`].
    fn parts(&self) -> &'static [Part] {
        &[]
    }

    /// See [`Kind::normalise`].
    fn normalise(&self, _spec: &mut Map<String, Value>) -> Vec<FieldError> {
        Vec::new()
    }

    /// See [`Kind::attributes`].
    fn attributes(&self, row: &Value) -> Map<String, Value> {
        attributes(self.meta(), row)
    }

    /// See [`Kind::complete_attributes`].
    async fn complete_attributes(
        &self,
        _client: CallClient<'_>,
        _row: &Value,
        _attributes: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    /// See [`Kind::list_is_partial`].
    fn list_is_partial(&self) -> bool {
        false
    }

    /// See [`Kind::is_top_level`].
    fn is_top_level(&self, _row: &Value) -> bool {
        true
    }

    /// Fields with requests of their own, see [`NeutronKind::update_separate_fields`].
    fn separate_fields(&self) -> &'static [&'static str] {
        &[]
    }

    /// Fields that others add to, and that are written as a whole.
    fn shared_lists(&self) -> &'static [&'static str] {
        &[]
    }

    /// Resolves names to ids before `members` of `spec` are sent, and adds the members that have to be sent with them.
    async fn resolve(
        &self,
        _client: CallClient<'_>,
        _spec: &Value,
        _members: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    /// Adds the members that the service needs with each change of the object `id`.
    async fn complete_change(
        &self,
        _client: CallClient<'_>,
        _id: &str,
        _spec: &Value,
        _members: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    /// Makes the separate fields as desired, whatever their present values. `_observed` = the attributes that the change
    /// was planned from; `Null` = the object was just created.
    async fn update_separate_fields(
        &self,
        _client: CallClient<'_>,
        _id: &str,
        _wanted: &Map<String, Value>,
        _observed: &Value,
    ) -> Result<(), ApiError> {
        Ok(())
    }

    /// Deletes what has to go before the object.
    async fn before_delete(&self, _client: CallClient<'_>, _id: &str) -> Result<(), ApiError> {
        Ok(())
    }

    /// See [`Kind::blocker`].
    async fn blocker(
        &self,
        _client: CallClient<'_>,
        _id: &str,
    ) -> Result<Option<Blocker>, ApiError> {
        Ok(None)
    }
}

/// Adapter from a [`NeutronKind`] to a [`Kind`].
pub(super) struct Neutron<T>(pub(super) T);

#[async_trait]
impl<T: NeutronKind> Kind for Neutron<T> {
    fn meta(&self) -> &'static KindMeta {
        self.0.meta()
    }

    fn parts(&self) -> &'static [Part] {
        self.0.parts()
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        self.0.normalise(spec)
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        self.0.attributes(row)
    }

    async fn complete_attributes(
        &self,
        client: CallClient<'_>,
        row: &Value,
        attributes: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        self.0.complete_attributes(client, row, attributes).await
    }

    /// In the tags, or in the description until the tag is set.
    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        owner(row)
    }

    fn mark_request(&self, row: &Value, key: &OwnerKey) -> Option<Request> {
        Some(tag_request(self.meta(), row["id"].as_str()?, key))
    }

    /// Searches both places of the owner key; merges the results.
    async fn search(
        &self,
        client: CallClient<'_>,
        search: &Search,
    ) -> Result<Vec<Value>, ApiError> {
        let (meta, mark) = (self.meta(), owner_key::encode(&search.owner_key));
        let mut found: Vec<Value> = Vec::new();
        for place in ["description", "tags"] {
            let request = Request::get(Service::Network, &[meta.path]).query(place, &mark);
            for row in client.rows(request, meta.rows, Pagination::Links).await? {
                if found.iter().all(|known| known["id"] != row["id"]) {
                    found.push(row);
                }
            }
        }
        Ok(found)
    }

    /// Only objects of the project: shared networks of others are visible, too, and administrators see all projects.
    async fn list_request(&self, client: CallClient<'_>) -> Result<Request, ApiError> {
        let project = client.project_id().await?;
        let request = Request::get(Service::Network, &[self.meta().path]);
        Ok(request.query("project_id", &project).query("sort_key", "id").query("sort_dir", "asc"))
    }

    fn list_is_partial(&self) -> bool {
        self.0.list_is_partial()
    }

    fn is_top_level(&self, row: &Value) -> bool {
        self.0.is_top_level(row)
    }

    async fn create_request(
        &self,
        client: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError> {
        let mut body = create.spec.as_object().cloned().unwrap_or_default();
        body.retain(|name, _| !self.0.separate_fields().contains(&name.as_str()));
        self.0.resolve(client, &create.spec, &mut body).await?;
        body.insert("description".to_owned(), Value::from(owner_key::encode(&create.owner_key)));
        let meta = self.meta();
        Ok(Request::post(meta.service, &[meta.path], json!({ meta.row: body })))
    }

    async fn after_create(
        &self,
        client: CallClient<'_>,
        id: &str,
        create: &Create,
    ) -> Result<(), ApiError> {
        tag(self.meta(), client, id, &create.owner_key).await?;
        if let Some(description) = create.spec.get("description") {
            let mut members = Map::from_iter([("description".to_owned(), description.clone())]);
            self.0.complete_change(client, id, &create.spec, &mut members).await?;
            put(self.meta(), client, id, Value::Object(members)).await?;
        }
        let fields = self.0.separate_fields().iter();
        let wanted: Map<_, _> = fields
            .filter_map(|name| Some(((*name).to_owned(), create.spec.get(name)?.clone())))
            .collect();
        if wanted.is_empty() {
            Ok(())
        } else {
            self.0.update_separate_fields(client, id, &wanted, &Value::Null).await
        }
    }

    /// One request for all plain fields, because some are accepted only together.
    async fn update_fields(
        &self,
        client: CallClient<'_>,
        change: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        let Change { target, spec, fields, observed } = *change;
        let (meta, id) = (self.meta(), target.external_id.as_str());
        let (separate, plain): (Vec<_>, Vec<_>) = members(spec, fields)
            .into_iter()
            .partition(|(name, _)| self.0.separate_fields().contains(&name.as_str()));
        let mut plain = Map::from_iter(plain);
        if plain.contains_key("description") {
            // The tag has to hold the owner key before a text replaces it in the description.
            let (row, _) = self.get(client, id).await?;
            if let Some(there) = owner(&row) {
                tag(meta, client, id, owner_key::kept(&there, &target.owner_key)).await?;
            }
        }
        for field in self.0.shared_lists().iter().filter(|field| plain.contains_key(**field)) {
            let (row, _) = self.get(client, id).await?;
            let there = object_from_row(self, &row).map(|object| object.attributes);
            if there.is_none_or(|there| set(&there[*field]) != set(&observed[*field])) {
                let message = format!("{field} changed since it was observed");
                return Err(ApiError::harmless(ErrorKind::Conflict, "changed_meanwhile", message));
            }
        }
        if !plain.is_empty() {
            self.0.resolve(client, spec, &mut plain).await?;
            self.0.complete_change(client, id, spec, &mut plain).await?;
            put(meta, client, id, Value::Object(plain)).await?;
        }
        if !separate.is_empty() {
            let separate = Map::from_iter(separate);
            self.0.update_separate_fields(client, id, &separate, observed).await?;
        }
        Ok(Remaining::Nothing)
    }

    async fn remove(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<(), ApiError> {
        let (meta, id) = (self.meta(), target.external_id.as_str());
        self.0.before_delete(client, id).await?;
        client.send(Request::delete(meta.service, &[meta.path, id])).await.map(drop)
    }

    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        self.0.blocker(client, id).await
    }
}

/// The members that a kind manages or observes; a description that holds the owner key is shown as empty.
pub(super) fn attributes(meta: &KindMeta, row: &Value) -> Map<String, Value> {
    let mut attributes = copy_fields(meta, row);
    let description = row["description"].as_str().unwrap_or_default();
    if owner_key::decode(description).is_some() {
        attributes.insert("description".to_owned(), Value::from(""));
    }
    attributes
}

/// The owner key of any of Neutron's objects.
pub(super) fn owner(row: &Value) -> Option<OwnerKey> {
    let description = || row["description"].as_str().and_then(owner_key::decode);
    owner_key::from_tags(&row["tags"]).or_else(description)
}

/// Adds the owner key to the tags; the other tags stay. Idempotent.
async fn tag(
    meta: &KindMeta,
    client: CallClient<'_>,
    id: &str,
    key: &OwnerKey,
) -> Result<(), ApiError> {
    client.send(tag_request(meta, id, key)).await.map(drop)
}

fn tag_request(meta: &KindMeta, id: &str, key: &OwnerKey) -> Request {
    let path = [meta.path, id, "tags", &owner_key::encode(key)];
    Request::new(Service::Network, Method::PUT, &path)
}

/// Writes some members of an object.
pub(super) async fn put(
    meta: &KindMeta,
    client: CallClient<'_>,
    id: &str,
    members: Value,
) -> Result<(), ApiError> {
    let body = json!({ meta.row: members });
    client.send(Request::put(Service::Network, &[meta.path, id], body)).await.map(drop)
}

/// The members of `spec` that `fields` name.
pub(super) fn members(spec: &Value, fields: &[String]) -> Map<String, Value> {
    let named = fields.iter().filter_map(|field| field.strip_prefix('/'));
    named.filter_map(|name| Some((name.to_owned(), spec.get(name)?.clone()))).collect()
}

/// Ports that match, without those of DHCP, which the cloud deletes with the network.
pub(super) async fn ports(
    client: CallClient<'_>,
    filters: &[(&str, &str)],
) -> Result<Vec<Value>, ApiError> {
    let mut request = Request::get(Service::Network, &["ports"]);
    for (key, value) in filters {
        request = request.query(key, value);
    }
    let mut ports = client.rows(request, "ports", Pagination::Links).await?;
    ports.retain(|port| port["device_owner"] != "network:dhcp");
    Ok(ports)
}
