//! Parts of servers that need requests of their own: volumes, security groups, actions.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::ActionOutcome;
use super::blocker::attachment_refused;
use super::idle_time::idle_longer_than;
use super::kind_meta::{ActionMeta, NO_INPUT};
use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient, ErrorKind, Pagination, Request};
use crate::openstack::service::Service;

/// A guest that did not release a volume in this time never will.
const DETACHES_IN: SignedDuration = SignedDuration::from_mins(10);

/// An action: its name here, its name in the API, and the status that shows that it is done already; `None` = no status
/// does.
pub(super) struct ServerAction {
    pub(super) name: &'static str,
    api_name: &'static str,
    done: Option<&'static str>,
}

const fn action(
    name: &'static str,
    api_name: &'static str,
    done: Option<&'static str>,
) -> ServerAction {
    ServerAction { name, api_name, done }
}

/// `pause` and `resume` are actions of every entity, so the API's actions of these names have other names here.
const SIMPLE: &[ServerAction] = &[
    action("start", "os-start", Some("ACTIVE")),
    action("stop", "os-stop", Some("SHUTOFF")),
    action("freeze", "pause", Some("PAUSED")),
    action("unfreeze", "unpause", Some("ACTIVE")),
    action("suspend", "suspend", Some("SUSPENDED")),
    action("wake", "resume", Some("ACTIVE")),
    action("shelve", "shelve", Some("SHELVED_OFFLOADED")),
    action("unshelve", "unshelve", Some("ACTIVE")),
    action("unrescue", "unrescue", Some("ACTIVE")),
    action("lock", "lock", None),
    action("unlock", "unlock", None),
];

const REBOOT_INPUT: &str = r#"{
    "type": "object", "additionalProperties": false,
    "properties": {"type": {"enum": ["SOFT", "HARD"]}}
}"#;
const REBUILD_INPUT: &str = r#"{
    "type": "object", "additionalProperties": false,
    "properties": {"imageRef": {"type": "string", "minLength": 1, "maxLength": 255}}
}"#;
const IMAGE_INPUT: &str = r#"{
    "type": "object", "required": ["name"], "additionalProperties": false,
    "properties": {"name": {"type": "string", "minLength": 1, "maxLength": 255}}
}"#;
const CONSOLE_INPUT: &str = r#"{
    "type": "object", "additionalProperties": false,
    "properties": {"length": {"type": "integer", "minimum": 1, "maximum": 1000}}
}"#;

const fn plain(name: &'static str) -> ActionMeta {
    ActionMeta { name, input: NO_INPUT, idempotent: true }
}

/// The declared actions.
pub(super) const ACTIONS: &[ActionMeta] = &[
    plain("start"),
    plain("stop"),
    plain("freeze"),
    plain("unfreeze"),
    plain("suspend"),
    plain("wake"),
    plain("shelve"),
    plain("unshelve"),
    plain("rescue"),
    plain("unrescue"),
    plain("lock"),
    plain("unlock"),
    ActionMeta { name: "reboot", input: REBOOT_INPUT, idempotent: false },
    ActionMeta { name: "rebuild", input: REBUILD_INPUT, idempotent: false },
    ActionMeta { name: "create-image", input: IMAGE_INPUT, idempotent: false },
    ActionMeta { name: "console-log", input: CONSOLE_INPUT, idempotent: true },
];

/// Performs an action. One that is done already succeeds, although Nova would report a wrong state.
pub(super) async fn perform(
    client: CallClient<'_>,
    server: &Value,
    name: &str,
    input: &Value,
) -> Result<ActionOutcome, ApiError> {
    let id = server["id"].as_str().unwrap_or_default();
    if let Some(action) = SIMPLE.iter().find(|action| action.name == name) {
        let idle = server["OS-EXT-STS:task_state"].is_null();
        if idle && action.done.is_some_and(|done| server["status"] == done) {
            return Ok(ActionOutcome::Finished(Value::Null));
        }
        post_action(client, id, action.api_name, Value::Null).await?;
        return Ok(ActionOutcome::Pending);
    }
    let text = |name: &str| input[name].as_str();
    match name {
        "rescue" if server["status"] == "RESCUE" => Ok(ActionOutcome::Finished(Value::Null)),
        // The reply contains a password, which is dropped.
        "rescue" => pending(post_action(client, id, "rescue", json!({})).await),
        "reboot" => {
            let how = text("type").unwrap_or("SOFT");
            pending(post_action(client, id, "reboot", json!({ "type": how })).await)
        }
        "rebuild" => {
            let image = match text("imageRef") {
                Some(image) => client.resolve_id(NamedResource::Image, image).await?,
                None => server["image"]["id"].as_str().unwrap_or_default().to_owned(),
            };
            pending(post_action(client, id, "rebuild", json!({ "imageRef": image })).await)
        }
        "create-image" => {
            let input = json!({"name": input["name"]});
            let reply = post_action(client, id, "createImage", input).await?;
            Ok(ActionOutcome::Finished(json!({"image_id": reply["image_id"]})))
        }
        "console-log" => {
            let length = input["length"].as_u64().unwrap_or(100);
            let reply =
                post_action(client, id, "os-getConsoleOutput", json!({ "length": length })).await?;
            Ok(ActionOutcome::Finished(json!({"output": reply["output"]})))
        }
        _ => {
            let message = "the kind has no such action";
            Err(ApiError::harmless(ErrorKind::Invalid, "unknown_action", message))
        }
    }
}

fn pending(sent: Result<Value, ApiError>) -> Result<ActionOutcome, ApiError> {
    sent.map(|_| ActionOutcome::Pending)
}

/// Posts an action of a server.
pub(super) async fn post_action(
    client: CallClient<'_>,
    id: &str,
    name: &str,
    input: Value,
) -> Result<Value, ApiError> {
    let path = ["servers", id, "action"];
    let reply = client.send(Request::post(Service::Compute, &path, json!({ name: input }))).await?;
    Ok(reply.body)
}

/// Attaches the wanted volumes that are missing, then detaches those that are not wanted and are in `planned_from`, the
/// volumes that the change was planned from: one that was attached later is another's. Both are asynchronous; the volumes
/// show when they are done.
pub(super) async fn set_volumes<'a>(
    client: CallClient<'_>,
    server: &Value,
    wanted: &'a Value,
    planned_from: &'a Value,
) -> Result<(), ApiError> {
    let id = server["id"].as_str().unwrap_or_default();
    let there = attached(client, server).await?.data;
    let ids = |list: &'a Value| -> Vec<&'a str> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (wanted, planned_from) = (ids(wanted), ids(planned_from));
    for volume in wanted.iter().filter(|volume| there.iter().all(|known| known != *volume)) {
        let body = json!({"volumeAttachment": {"volumeId": volume}});
        let path = ["servers", id, "os-volume_attachments"];
        if let Err(error) = client.send(Request::post(Service::Compute, &path, body)).await {
            return Err(attachment_refused(client, volume, error).await);
        }
    }
    let extra = |volume: &&String| {
        !wanted.contains(&volume.as_str()) && planned_from.contains(&volume.as_str())
    };
    for volume in there.iter().filter(extra) {
        let path = ["servers", id, "os-volume_attachments", volume];
        match client.send(Request::delete(Service::Compute, &path)).await {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            // It is being detached already.
            Err(error) if error.kind == ErrorKind::Invalid => {
                return Err(error.with_kind(ErrorKind::Conflict));
            }
            outcome => drop(outcome?),
        }
    }
    Ok(())
}

/// Ids of the attached volumes.
pub(super) fn volumes(server: &Value) -> Vec<&str> {
    let attached = server["os-extended-volumes:volumes_attached"].as_array();
    attached.into_iter().flatten().filter_map(|volume| volume["id"].as_str()).collect()
}

/// The volumes of a server.
pub(super) struct Attached {
    /// The volume that it boots from, as a block device of its creation; `None` = it boots from an image.
    pub(super) root: Option<Value>,
    /// Ids of all others.
    pub(super) data: Vec<String>,
}

/// Reads which of the attached volumes a server boots from.
pub(super) async fn attached(client: CallClient<'_>, server: &Value) -> Result<Attached, ApiError> {
    let data: Vec<_> = volumes(server).into_iter().map(str::to_owned).collect();
    if server["image"]["id"].is_string() || data.is_empty() {
        return Ok(Attached { root: None, data });
    }
    let path = ["servers", server["id"].as_str().unwrap_or_default(), "os-volume_attachments"];
    let request = Request::get(Service::Compute, &path);
    let rows = client.rows(request, "volumeAttachments", Pagination::None).await?;
    Ok(without_root(data, &rows))
}

/// Separates the root from the other volumes: it is the first device, whatever its bus. A volume that was attached
/// while the server was off-loaded has no device yet.
fn without_root(mut data: Vec<String>, attachments: &[Value]) -> Attached {
    let device = |row: &&Value| {
        let device = row["device"].as_str().map(str::to_owned);
        (device.is_none(), device)
    };
    let Some(first) = attachments.iter().min_by_key(device) else {
        return Attached { root: None, data };
    };
    data.retain(|volume| first["volumeId"] != volume.as_str());
    let root = json!({
        "uuid": first["volumeId"], "source_type": "volume", "destination_type": "volume",
        "boot_index": 0, "delete_on_termination": first["delete_on_termination"] == true,
    });
    Attached { root: Some(root), data }
}

/// Sets the security groups of the server's ports, by name.
pub(super) async fn set_groups(
    client: CallClient<'_>,
    server: &Value,
    wanted: &Value,
) -> Result<(), ApiError> {
    let id = server["id"].as_str().unwrap_or_default();
    let names = |list: &Value| -> BTreeSet<String> {
        let groups = list.as_array().into_iter().flatten();
        groups.filter_map(|group| group["name"].as_str().map(str::to_owned)).collect()
    };
    let (there, wanted) = (names(&server["security_groups"]), names(wanted));
    for name in wanted.difference(&there) {
        post_action(client, id, "addSecurityGroup", json!({ "name": name })).await?;
    }
    for name in there.difference(&wanted) {
        post_action(client, id, "removeSecurityGroup", json!({ "name": name })).await?;
    }
    Ok(())
}

/// Whether one of the server's volumes is still being attached or detached.
pub(super) async fn volumes_move(client: CallClient<'_>, server: &str) -> Result<bool, ApiError> {
    let path = ["servers", server, "os-volume_attachments"];
    let request = Request::get(Service::Compute, &path);
    let attached = client.rows(request, "volumeAttachments", Pagination::None).await?;
    for volume in attached.iter().filter_map(|row| row["volumeId"].as_str()) {
        let reply = client.send(Request::get(Service::Volume, &["volumes", volume])).await?;
        let row = &reply.body["volume"];
        if row["status"] == "detaching" && idle_longer_than(row, reply.date, DETACHES_IN) {
            // The detachment failed without a report. Rolled back, it can be requested again.
            let path = ["volumes", volume, "action"];
            let body = json!({"os-roll_detaching": {}});
            client.send(Request::post(Service::Volume, &path, body)).await?;
        } else if row["status"] != "in-use" {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_first_device_and_nothing_without_one() {
        let row = |id: &str, device: Value| json!({"volumeId": id, "device": device, "delete_on_termination": true});
        let volumes = || ["b", "a", "c"].map(str::to_owned).to_vec();
        let rows =
            [row("b", json!("/dev/vdb")), row("a", json!("/dev/vda")), row("c", Value::Null)];
        let attached = without_root(volumes(), &rows);
        assert_eq!(attached.data, ["b", "c"]);
        let root = attached.root.unwrap();
        assert_eq!((&root["uuid"], &root["boot_index"]), (&json!("a"), &json!(0)));
        assert_eq!(root["delete_on_termination"], true);
        assert!(without_root(volumes(), &[]).root.is_none());
    }
}
