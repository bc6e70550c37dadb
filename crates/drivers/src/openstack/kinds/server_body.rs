//! The body of a server's creation.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use stateward_domain::ports::driver::Create;

use crate::openstack::client::NamedResource;
use crate::openstack::client::{ApiError, CallClient};
use crate::openstack::owner_key;

/// Metadata key with a digest of the user data, which Nova never shows.
pub(super) const USER_DATA: &str = "managed_user_data";

/// Digest of user data; short, because it only has to distinguish two.
pub(super) fn digest(user_data: &str) -> String {
    Sha256::digest(user_data.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The metadata that belongs to the user.
pub(super) fn users_metadata(metadata: &Value) -> Value {
    let mut users = metadata.as_object().cloned().unwrap_or_default();
    users.remove(USER_DATA);
    Value::Object(users)
}

/// The user's metadata, and the digest if there is one.
pub(super) fn metadata(users: Option<&Value>, digest: Option<&Value>) -> Value {
    let mut metadata = users.and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(digest) = digest {
        metadata.insert(USER_DATA.to_owned(), digest.clone());
    }
    Value::Object(metadata)
}

/// The body of `POST /servers`.
pub(super) async fn create_request(
    client: CallClient<'_>,
    create: &Create,
) -> Result<Value, ApiError> {
    let mut server = create.spec.as_object().cloned().unwrap_or_default();
    client.resolve_field(&mut server, "flavorRef", NamedResource::Flavor).await?;
    client.resolve_field(&mut server, "imageRef", NamedResource::Image).await?;
    networks(client, &mut server).await?;
    let tags = owner_key::tags_with_key(server.get("tags"), &create.owner_key);
    server.insert("tags".to_owned(), tags);
    let user_data = server.get("user_data").and_then(Value::as_str).map(digest).map(Value::from);
    let metadata = metadata(server.get("metadata"), user_data.as_ref());
    server.insert("metadata".to_owned(), metadata);
    if let Some(volumes) = server.remove("volumes") {
        with_volumes(&mut server, &volumes);
    }
    let group = server.remove("server_group");
    let mut body = json!({ "server": server });
    if let Some(group) = group {
        body["os:scheduler_hints"] = json!({ "group": group });
    }
    Ok(body)
}

async fn networks(client: CallClient<'_>, server: &mut Map<String, Value>) -> Result<(), ApiError> {
    let networks = server.entry("networks").or_insert_with(|| Value::from("auto"));
    for nic in networks.as_array_mut().into_iter().flatten() {
        if let Value::Object(nic) = nic {
            client.resolve_field(nic, "uuid", NamedResource::Network).await?;
        }
    }
    Ok(())
}

/// Adds volumes to the list of block devices; the image needs an entry there then, too.
fn with_volumes(server: &mut Map<String, Value>, volumes: &Value) {
    let volumes: Vec<_> = volumes.as_array().into_iter().flatten().cloned().collect();
    if volumes.is_empty() {
        return;
    }
    let mut devices = server
        .get("block_device_mapping_v2")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if devices.is_empty()
        && let Some(image) = server.get("imageRef")
    {
        devices.push(json!({
            "uuid": image, "source_type": "image", "destination_type": "local", "boot_index": 0,
            "delete_on_termination": true,
        }));
    }
    devices.extend(volumes.iter().map(|volume| {
        json!({
            "uuid": volume, "source_type": "volume", "destination_type": "volume",
            "boot_index": -1, "delete_on_termination": false,
        })
    }));
    server.insert("block_device_mapping_v2".to_owned(), Value::Array(devices));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_volumes_stand_behind_the_image() {
        let mut server = Map::from_iter([("imageRef".to_owned(), json!("i"))]);
        with_volumes(&mut server, &json!(["v"]));
        let devices = &server["block_device_mapping_v2"];
        assert_eq!((&devices[0]["uuid"], &devices[0]["boot_index"]), (&json!("i"), &json!(0)));
        assert_eq!((&devices[1]["uuid"], &devices[1]["boot_index"]), (&json!("v"), &json!(-1)));
        assert_eq!(devices[1]["delete_on_termination"], false, "data outlives the server");
        let mut none = Map::new();
        with_volumes(&mut none, &json!([]));
        assert!(none.is_empty());
    }

    #[test]
    fn what_is_ours_stays_when_the_user_s_part_is_replaced() {
        let whole = metadata(Some(&json!({"a": "1"})), Some(&json!("d")));
        assert_eq!(whole, json!({"a": "1", "managed_user_data": "d"}));
        assert_eq!(users_metadata(&whole), json!({"a": "1"}));
    }
}
