//! `openstack.project`, with its quotas: for backends with administrator credentials.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value, json};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Create, ObjectRef, Search};

use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::neutron::{self, members};
use super::{Blocker, Change, Kind, Remaining, copy_fields, quotas, to_external_id};
use crate::openstack::client::{ApiError, Body, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key;
use crate::openstack::service::Service;

pub(super) struct Project;

static META: KindMeta = KindMeta {
    name: "openstack.project",
    summary: "A project: a space of its own, with quotas.",
    schema: include_str!("project.schema.json"),
    service: Service::Identity,
    path: "projects",
    list: &["projects"],
    row: "project",
    rows: "projects",
    pagination: Pagination::None,
    fields: &[
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        mutable("enabled", Compare::Exact),
        mutable("tags", Compare::Set),
        mutable("quotas", Compare::By(quotas::same)),
        fixed("domain_id", Compare::Exact),
        fixed("parent_id", Compare::Exact),
    ],
    computed: &[],
    actions: &[],
    identity: None,
    owner_key: true,
    retry_budget: 8,
    on_lost: OnLost::Ask,
};

/// Objects that block the deletion of a project: they would stay, and would no longer be reachable.
const CONTENTS: &[(Service, &[&str], &str, &str)] = &[
    (Service::Compute, &["servers", "detail"], "servers", "server"),
    (Service::Volume, &["volumes", "detail"], "volumes", "volume"),
    (Service::Volume, &["snapshots", "detail"], "snapshots", "snapshot"),
    (Service::Network, &["routers"], "routers", "router"),
    (Service::Network, &["floatingips"], "floatingips", "floating IP"),
    (Service::Network, &["networks"], "networks", "network"),
    (Service::Image, &["images"], "images", "image"),
];

#[async_trait]
impl Kind for Project {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copy_fields(&META, row);
        let tags = row["tags"].as_array().into_iter().flatten();
        let tags = tags.filter(|tag| tag.as_str().and_then(owner_key::decode).is_none());
        attributes.insert("tags".to_owned(), Value::Array(tags.cloned().collect()));
        attributes
    }

    async fn complete_attributes(
        &self,
        client: CallClient<'_>,
        row: &Value,
        attributes: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let id = row["id"].as_str().unwrap_or_default();
        attributes.insert("quotas".to_owned(), quotas::read(client, id).await?);
        Ok(())
    }

    fn list_is_partial(&self) -> bool {
        true
    }

    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        owner_key::from_tags(&row["tags"])
    }

    fn mark_request(&self, row: &Value, key: &OwnerKey) -> Option<Request> {
        let path = ["projects", row["id"].as_str()?, "tags", &owner_key::encode(key)];
        Some(Request::new(Service::Identity, Method::PUT, &path))
    }

    async fn search(
        &self,
        client: CallClient<'_>,
        search: &Search,
    ) -> Result<Vec<Value>, ApiError> {
        let request = Request::get(Service::Identity, META.list);
        let request = request.query("tags", &owner_key::encode(&search.owner_key));
        client.rows(request, META.rows, META.pagination).await
    }

    async fn list_request(&self, _: CallClient<'_>) -> Result<Request, ApiError> {
        Ok(Request::get(Service::Identity, META.list))
    }

    async fn create_request(
        &self,
        _: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError> {
        let mut project = create.spec.as_object().cloned().unwrap_or_default();
        project.remove("quotas");
        let tags = owner_key::tags_with_key(project.get("tags"), &create.owner_key);
        project.insert("tags".to_owned(), tags);
        Ok(Request::post(Service::Identity, META.list, json!({ "project": project })))
    }

    async fn after_create(
        &self,
        client: CallClient<'_>,
        id: &str,
        create: &Create,
    ) -> Result<(), ApiError> {
        quotas::write(client, id, &create.spec["quotas"]).await
    }

    /// The id in Keystone's error is that of the project that was not created, so the existing one is searched by name.
    async fn on_already_exists(
        &self,
        client: CallClient<'_>,
        create: &Create,
        error: ApiError,
    ) -> Failure {
        let name = create.spec["name"].as_str().unwrap_or_default();
        let mut request = Request::get(Service::Identity, META.list).query("name", name);
        if let Some(domain) = create.spec["domain_id"].as_str() {
            request = request.query("domain_id", domain);
        }
        let found = client.rows(request, META.rows, META.pagination).await.unwrap_or_default();
        let same = |row: &&Value| {
            row["name"].as_str().is_some_and(|known| known.eq_ignore_ascii_case(name))
        };
        let id = found.iter().find(same).and_then(|row| row["id"].as_str());
        match id.map(to_external_id) {
            Some(external_id) => {
                Failure { class: ErrorClass::AlreadyExists { external_id }, ..error.into() }
            }
            None => error.into(),
        }
    }

    async fn update_fields(
        &self,
        client: CallClient<'_>,
        change: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        let Change { target, spec, fields, .. } = *change;
        let id = target.external_id.as_str();
        let mut members = members(spec, fields);
        if let Some(wanted) = members.remove("quotas") {
            quotas::write(client, id, &wanted).await?;
        }
        if let Some(tags) = members.get_mut("tags") {
            let (row, _) = self.get(client, id).await?;
            *tags = owner_key::with_tags(tags, &row["tags"], &target.owner_key);
        }
        if !members.is_empty() {
            let request = Request::new(Service::Identity, Method::PATCH, &["projects", id]);
            client.send(request.with(Body::Json(json!({ "project": members })))).await?;
        }
        Ok(Remaining::Nothing)
    }

    async fn remove(&self, client: CallClient<'_>, target: &ObjectRef) -> Result<(), ApiError> {
        let id = target.external_id.as_str();
        self.get(client, id).await?;
        if let Some(blocker) = self.blocker(client, id).await? {
            let message = format!("{} {} is still in it", blocker.noun, blocker.names);
            return Err(ApiError::harmless(ErrorKind::Blocked, "in_use", message));
        }
        quotas::reset(client, id).await?;
        client.send(Request::delete(Service::Identity, &["projects", id])).await.map(drop)
    }

    async fn blocker(&self, client: CallClient<'_>, id: &str) -> Result<Option<Blocker>, ApiError> {
        for (service, path, rows, noun) in CONTENTS {
            let mut request = Request::get(*service, path).query("limit", "1");
            request = match service {
                Service::Image => request.query("owner", id),
                Service::Network => request.query("project_id", id),
                _ => request.query("all_tenants", "1").query("project_id", id),
            };
            let reply = client.send(request).await?;
            let found = reply.body[*rows].as_array().cloned().unwrap_or_default();
            let blocker = Blocker::of(noun, &found, |row| {
                let tagged = neutron::owner(row);
                tagged.or_else(|| owner_key::from_properties(&row["metadata"]))
            });
            if blocker.is_some() {
                return Ok(blocker);
            }
        }
        Ok(None)
    }
}
