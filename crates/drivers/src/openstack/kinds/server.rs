//! `openstack.server`.

use async_trait::async_trait;
use reqwest::Method;
use serde_json::{Map, Value, json};
use stateward_domain::field_error::FieldError;
use stateward_domain::id::OwnerKey;
use stateward_domain::kind::OnLost;
use stateward_domain::ports::driver::{Act, Create, Search};

use super::kind_meta::{Compare, KindMeta, fixed, mutable};
use super::normalise::field_error;
use super::pending_job::Phase;
use super::server_body::{self, USER_DATA, digest};
use super::{
    ActionOutcome, Change, Kind, PendingJob, Remaining, Stage, copy_fields, nics, nova,
    status_unless,
};
use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::owner_key;
use crate::openstack::service::Service;

pub(super) struct Server;

static META: KindMeta = KindMeta {
    name: "openstack.server",
    summary: "A virtual machine.",
    schema: include_str!("server.schema.json"),
    service: Service::Compute,
    path: "servers",
    list: &["servers", "detail"],
    row: "server",
    rows: "servers",
    pagination: Pagination::Links,
    fields: &[
        mutable("name", Compare::Exact),
        mutable("description", Compare::Exact),
        mutable("accessIPv4", Compare::Exact),
        mutable("accessIPv6", Compare::Exact),
        mutable("metadata", Compare::Exact),
        mutable("tags", Compare::Set),
        mutable("security_groups", Compare::Set),
        mutable("volumes", Compare::Set),
        mutable("networks", Compare::By(same_networks)),
        mutable("flavorRef", Compare::Either("flavor_id")),
        fixed("imageRef", Compare::Source),
        fixed("block_device_mapping_v2", Compare::NotObserved),
        fixed("key_name", Compare::Exact),
        fixed("config_drive", Compare::Exact),
        fixed("availability_zone", Compare::By(same_zone)),
        fixed("server_group", Compare::Exact),
        fixed("user_data", Compare::By(same_user_data)),
    ],
    computed: &["status", "created", "addresses", "locked", "hostId"],
    actions: nova::ACTIONS,
    identity: None,
    owner_key: true,
    retry_budget: 6,
    on_lost: OnLost::Ask,
};

/// Statuses of a server that is settled, unless a task runs.
const SETTLED: &[&str] =
    &["ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED", "RESCUE", "SHELVED", "SHELVED_OFFLOADED"];
const FAILED: &[&str] = &["ERROR", "UNKNOWN", "SOFT_DELETED"];
/// Statuses in which the guest runs.
const RUNNING: &[&str] = &["ACTIVE", "PASSWORD", RESIZED];
/// The resize waits for confirmation.
const RESIZED: &str = "VERIFY_RESIZE";

/// Whether the wanted NICs and the observed ones match one to one.
fn same_networks(observed: &Value, wanted: &Value) -> bool {
    let there = observed["networks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (missing, extra) = nics::compared(there, wanted);
    missing.is_empty() && extra.is_empty()
}

/// The observed zone is where the server runs: empty while it is off-loaded, and without a host.
fn same_zone(observed: &Value, wanted: &Value) -> bool {
    let seen = observed["availability_zone"].as_str().unwrap_or_default();
    let zone = wanted.as_str().and_then(|zone| zone.split(':').next()).unwrap_or_default();
    seen.is_empty() || zone.is_empty() || seen == zone
}

/// Compares our digest, because Nova does not show user data. Without a digest it is not compared.
fn same_user_data(observed: &Value, wanted: &Value) -> bool {
    let seen = observed["user_data_digest"].as_str();
    seen.is_none_or(|seen| wanted.as_str().is_some_and(|wanted| digest(wanted) == seen))
}

#[async_trait]
impl Kind for Server {
    fn meta(&self) -> &'static KindMeta {
        &META
    }

    fn normalise(&self, spec: &mut Map<String, Value>) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if !spec.contains_key("imageRef") && !spec.contains_key("block_device_mapping_v2") {
            faults.push(field_error("/imageRef", "is missing: nothing says what it boots from"));
        }
        let ours = |metadata: &Value| server_body::users_metadata(metadata) != *metadata;
        if spec.get("metadata").is_some_and(ours) {
            faults.push(field_error("/metadata", "has a key that Stateward writes"));
        }
        if spec.get("user_data").and_then(Value::as_str).is_some_and(|text| !is_base64(text)) {
            faults.push(field_error("/user_data", "is no base64"));
        }
        faults
    }

    fn attributes(&self, row: &Value) -> Map<String, Value> {
        let mut attributes = copy_fields(&META, row);
        let mut put = |name: &str, value: Value| attributes.insert(name.to_owned(), value);
        put("task_state", row["OS-EXT-STS:task_state"].clone());
        put("launched_at", row["OS-SRV-USG:launched_at"].clone());
        put("flavorRef", row["flavor"]["original_name"].clone());
        put("config_drive", Value::from(row["config_drive"] == "True"));
        put("server_group", row["server_groups"][0].clone());
        put("metadata", server_body::users_metadata(&row["metadata"]));
        put("user_data_digest", row["metadata"][USER_DATA].clone());
        put("volumes", json!(nova::volumes(row)));
        let groups = row["security_groups"].as_array().into_iter().flatten();
        let groups: Vec<_> = groups.map(|group| json!({"name": group["name"]})).collect();
        put("security_groups", Value::Array(groups));
        let tags = row["tags"].as_array().into_iter().flatten();
        let tags = tags.filter(|tag| tag.as_str().and_then(owner_key::decode).is_none());
        put("tags", Value::Array(tags.cloned().collect()));
        // Nova shows a missing value as an empty text, which cannot be declared.
        for (name, member) in [
            ("accessIPv4", "accessIPv4"),
            ("accessIPv6", "accessIPv6"),
            // Empty while it is off-loaded.
            ("availability_zone", "OS-EXT-AZ:availability_zone"),
        ] {
            put(name, row[member].as_str().filter(|text| !text.is_empty()).into());
        }
        if row["image"]["id"].is_string() {
            put("imageRef", row["image"]["id"].clone());
        }
        attributes
    }

    /// The list lacks the server group, too.
    fn list_is_partial(&self) -> bool {
        true
    }

    /// Reads the flavor's id, the ports (Nova's own list of addresses lags behind) and the data volumes.
    async fn complete_attributes(
        &self,
        client: CallClient<'_>,
        row: &Value,
        attributes: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        if let Some(name) = row["flavor"]["original_name"].as_str()
            && let Some(id) = client.cached_id(NamedResource::Flavor, name).await?
        {
            attributes.insert("flavor_id".to_owned(), Value::from(id));
        }
        let (nics, own) = nics::observed_with_own(client, row).await?;
        attributes.insert("networks".to_owned(), Value::Array(nics));
        attributes.insert("own_nics".to_owned(), Value::Array(own));
        let attached = nova::attached(client, row).await?;
        attributes.insert("volumes".to_owned(), json!(attached.data));
        if let Some(root) = attached.root {
            attributes.insert("block_device_mapping_v2".to_owned(), json!([root]));
        }
        Ok(())
    }

    fn owner(&self, row: &Value) -> Option<OwnerKey> {
        owner_key::from_tags(&row["tags"])
    }

    /// Nova refuses tags in any other status.
    fn mark_request(&self, row: &Value, key: &OwnerKey) -> Option<Request> {
        let takes = ["ACTIVE", "SHUTOFF", "PAUSED", "SUSPENDED"];
        takes.iter().find(|status| row["status"] == **status)?;
        let path = ["servers", row["id"].as_str()?, "tags", &owner_key::encode(key)];
        Some(Request::new(Service::Compute, Method::PUT, &path))
    }

    fn stage(&self, attributes: &Value) -> Stage {
        let status = attributes["status"].as_str().unwrap_or_default();
        if !attributes["task_state"].is_null() {
            Stage::Working
        } else if SETTLED.contains(&status) {
            Stage::Settled
        } else if FAILED.contains(&status) {
            Stage::Failed(status.to_owned())
        } else {
            Stage::Working
        }
    }

    /// A server that does not run serves nothing, also where that is desired.
    fn unready(&self, attributes: &Value) -> Option<String> {
        status_unless(attributes, |status| RUNNING.contains(&status))
    }

    fn poll_ms(&self) -> Option<u64> {
        Some(1_000)
    }

    async fn search(
        &self,
        client: CallClient<'_>,
        search: &Search,
    ) -> Result<Vec<Value>, ApiError> {
        let request = Request::get(Service::Compute, META.list);
        let request = request.query("tags", &owner_key::encode(&search.owner_key));
        client.rows(request, META.rows, META.pagination).await
    }

    async fn list_request(&self, _: CallClient<'_>) -> Result<Request, ApiError> {
        let request = Request::get(Service::Compute, META.list);
        Ok(request.query("sort_key", "uuid").query("sort_dir", "asc"))
    }

    async fn create_request(
        &self,
        client: CallClient<'_>,
        create: &Create,
    ) -> Result<Request, ApiError> {
        let body = server_body::create_request(client, create).await?;
        Ok(Request::post(Service::Compute, &["servers"], body))
    }

    async fn update_fields(
        &self,
        client: CallClient<'_>,
        change: &Change<'_>,
    ) -> Result<Remaining, ApiError> {
        let Change { target, spec, fields, observed } = *change;
        let id = target.external_id.as_str();
        let (row, _) = self.get(client, id).await?;
        let mut members = super::neutron::members(spec, fields);
        let (volumes, flavor) = (members.remove("volumes"), members.remove("flavorRef"));
        let networks = members.remove("networks");
        if let Some(metadata) = members.remove("metadata") {
            let metadata = server_body::metadata(Some(&metadata), row["metadata"].get(USER_DATA));
            put(client, &["servers", id, "metadata"], json!({ "metadata": metadata })).await?;
        }
        if let Some(tags) = members.remove("tags") {
            let tags = owner_key::with_tags(&tags, &row["tags"], &target.owner_key);
            put(client, &["servers", id, "tags"], json!({ "tags": tags })).await?;
        }
        if let Some(groups) = members.remove("security_groups") {
            nova::set_groups(client, &row, &groups).await?;
        }
        if !members.is_empty() {
            put(client, &["servers", id], json!({ "server": members })).await?;
        }
        if let Some(networks) = networks {
            let rest = [("/volumes", &volumes), ("/flavorRef", &flavor)];
            let rest = rest.iter().filter(|(_, value)| value.is_some());
            let rest = rest.map(|(field, _)| (*field).to_owned());
            return Ok(match nics::set(client, id, &networks, &observed["networks"]).await? {
                Remaining::Working(again) => {
                    Remaining::Working(again.into_iter().chain(rest).collect())
                }
                Remaining::Nothing => Remaining::Working(rest.collect()),
            });
        }
        if let Some(volumes) = volumes {
            nova::set_volumes(client, &row, &volumes, &observed["volumes"]).await?;
            let rest = flavor.map(|_| "/flavorRef".to_owned());
            return Ok(Remaining::Working(rest.into_iter().collect()));
        }
        if let Some(flavor) = flavor {
            let flavor = client
                .resolve_id(NamedResource::Flavor, flavor.as_str().unwrap_or_default())
                .await?;
            nova::post_action(client, id, "resize", json!({ "flavorRef": flavor })).await?;
            return Ok(Remaining::Working(Vec::new()));
        }
        Ok(Remaining::Nothing)
    }

    async fn perform_action(
        &self,
        client: CallClient<'_>,
        act: &Act,
    ) -> Result<ActionOutcome, ApiError> {
        let (row, _) = self.get(client, act.target.external_id.as_str()).await?;
        nova::perform(client, &row, act.action.as_str(), &act.input).await
    }

    /// Confirms a resize, and waits for volumes that are being attached or detached.
    async fn poll_hook(
        &self,
        client: CallClient<'_>,
        job: &PendingJob,
        attributes: &Value,
    ) -> Result<Option<Stage>, ApiError> {
        let resized = attributes["status"] == RESIZED && attributes["task_state"].is_null();
        if job.phase == Phase::Delete {
            return Ok(resized.then_some(Stage::Settled));
        }
        if resized {
            self.confirm(client, job.id()).await?;
            return Ok(Some(Stage::Working));
        }
        let settled = self.stage(attributes) == Stage::Settled;
        if settled && job.phase == Phase::Update {
            let moves = nova::volumes_move(client, job.id()).await?
                || nics::move_on(client, job.id()).await?;
            return Ok(moves.then_some(Stage::Working));
        }
        Ok(None)
    }

    async fn failure_reason(&self, _: CallClient<'_>, _: &str, row: &Value) -> Option<String> {
        row["fault"]["message"].as_str().map(|text| text.chars().take(300).collect())
    }

    fn recreate_on_error(&self) -> bool {
        true
    }

    /// A server that never booted has no data to lose.
    fn never_worked(&self, row: &Value) -> bool {
        row["OS-SRV-USG:launched_at"].is_null()
    }

    /// A failed deletion succeeds when it is repeated.
    fn retries_failed_deletion(&self) -> bool {
        true
    }
}

impl Server {
    /// Confirms a resize. An earlier confirmation may have completed between the observation and this call: then Nova
    /// refuses this one, and nothing is left to confirm.
    async fn confirm(&self, client: CallClient<'_>, id: &str) -> Result<(), ApiError> {
        match nova::post_action(client, id, "confirmResize", Value::Null).await {
            Err(error) if error.kind == ErrorKind::Conflict => {
                let (row, _) = self.get(client, id).await?;
                if row["status"] == RESIZED { Err(error) } else { Ok(()) }
            }
            // Another confirmation is in progress: the status lags behind.
            Err(error) if error.kind == ErrorKind::Invalid => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

async fn put(client: CallClient<'_>, path: &[&str], body: Value) -> Result<(), ApiError> {
    client.send(Request::put(Service::Compute, path, body)).await.map(drop)
}

fn is_base64(text: &str) -> bool {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.decode(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_rests_only_without_a_task() {
        let stage = |status: &str, task: Value| {
            Server.stage(&json!({"status": status, "task_state": task}))
        };
        assert_eq!(stage("ACTIVE", Value::Null), Stage::Settled);
        assert_eq!(stage("ACTIVE", json!("powering-off")), Stage::Working);
        assert_eq!(stage("BUILD", Value::Null), Stage::Working);
        assert_eq!(stage("VERIFY_RESIZE", Value::Null), Stage::Working);
        assert_eq!(stage("ERROR", json!("deleting")), Stage::Working);
        assert_eq!(stage("ERROR", Value::Null), Stage::Failed("ERROR".to_owned()));
    }

    #[test]
    fn what_nova_does_not_show_is_compared_by_our_digest() {
        let seen = json!({"user_data_digest": digest("aGVsbG8=")});
        assert!(same_user_data(&seen, &json!("aGVsbG8=")));
        assert!(!same_user_data(&seen, &json!("b3RoZXI=")));
        assert!(same_user_data(&json!({}), &json!("b3RoZXI=")), "adopted: nothing is known");
        assert!(same_zone(&json!({"availability_zone": ""}), &json!("nova")));
        assert!(!same_zone(&json!({"availability_zone": "a"}), &json!("b:host")));
    }
}
