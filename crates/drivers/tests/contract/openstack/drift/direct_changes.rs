//! Changes of one field by a plain client.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use stateward_domain::id::ExternalId;

use super::super::ADMIN;
use super::super::cloud::Cloud;

/// Another volume type, which an administrator creates and deletes.
pub(super) const VOLUME_TYPE: &str = "stateward-drift";

/// Sets a field to `value`, or to another value if it is a list of which only a part is ours.
pub(super) async fn change(cloud: &Cloud, kind: &str, id: &ExternalId, field: &str, value: &Value) {
    let id = id.as_str();
    match kind {
        "openstack.router" if field == "interfaces" => interface(cloud, id, value).await,
        "openstack.security_group" if field == "rules" => rule(cloud, id).await,
        "openstack.floating_ip" if field == "fixed_ip_address" => address(cloud, id, value).await,
        "openstack.network"
        | "openstack.subnet"
        | "openstack.port"
        | "openstack.router"
        | "openstack.floating_ip"
        | "openstack.security_group" => {
            let (collection, row) = neutron(kind);
            let path = format!("/v2.0/{collection}/{id}");
            cloud.ask(Method::PUT, "network", &path, json!({ row: { field: value } })).await;
        }
        "openstack.volume" => volume(cloud, id, field, value).await,
        "openstack.snapshot" => cinder(cloud, "snapshot", id, field, value).await,
        "openstack.backup" => backup(cloud, id, value).await,
        "openstack.image" => image(cloud, id, field, value).await,
        "openstack.server" => server(cloud, id, field, value).await,
        "openstack.project" => project(cloud, id, field, value).await,
        _ => panic!("{kind} has no field that can change"),
    }
}

/// Takes the owner key away from an object, wherever it is.
pub(super) async fn unmark(cloud: &Cloud, kind: &str, id: &ExternalId, mark: &str) {
    let id = id.as_str();
    let (service, path) = match kind {
        "openstack.server" => ("compute", format!("/servers/{id}/tags/{mark}")),
        "openstack.project" => ("identity", format!("/projects/{id}/tags/{mark}")),
        "openstack.volume" => ("volume", format!("/volumes/{id}/metadata/managed_entity")),
        "openstack.snapshot" => ("volume", format!("/snapshots/{id}/metadata/managed_entity")),
        "openstack.image" => {
            let change = json!([{"op": "remove", "path": "/managed_entity"}]);
            cloud.ask(Method::PATCH, "image", &format!("/v2/images/{id}"), change).await;
            return;
        }
        _ => {
            let (collection, row) = neutron(kind);
            let path = format!("/v2.0/{collection}/{id}");
            let shown = cloud.ask(Method::GET, "network", &path, Value::Null).await;
            if shown[row]["description"] == mark {
                let body = json!({ row: {"description": ""} });
                cloud.ask(Method::PUT, "network", &path, body).await;
            }
            ("network", format!("{path}/tags"))
        }
    };
    cloud.ask(Method::DELETE, service, &path, Value::Null).await;
}

/// Deletes what the changes of a kind created.
pub(super) async fn clean(kind: &str) {
    let ("openstack.volume", Ok(admin)) = (kind, std::env::var(ADMIN)) else { return };
    let admin = Cloud::named(&admin).await;
    if let Some(id) = volume_type(&admin).await {
        admin.ask(Method::DELETE, "volume", &format!("/types/{id}"), Value::Null).await;
    }
}

fn neutron(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "openstack.network" => ("networks", "network"),
        "openstack.subnet" => ("subnets", "subnet"),
        "openstack.port" => ("ports", "port"),
        "openstack.router" => ("routers", "router"),
        "openstack.floating_ip" => ("floatingips", "floatingip"),
        _ => ("security-groups", "security_group"),
    }
}

/// Adds an interface of the first named subnet.
async fn interface(cloud: &Cloud, id: &str, value: &Value) {
    let wanted = json!({"subnet_id": value[0]["subnet_id"]});
    let path = format!("/v2.0/routers/{id}/add_router_interface");
    cloud.ask(Method::PUT, "network", &path, wanted).await;
}

/// Sets another address of the same port; the request needs the port, too.
async fn address(cloud: &Cloud, id: &str, value: &Value) {
    let path = format!("/v2.0/floatingips/{id}");
    let shown = cloud.ask(Method::GET, "network", &path, Value::Null).await;
    let port = &shown["floatingip"]["port_id"];
    let body = json!({"floatingip": {"port_id": port, "fixed_ip_address": value}});
    cloud.ask(Method::PUT, "network", &path, body).await;
}

async fn rule(cloud: &Cloud, id: &str) {
    let rule = json!({
        "security_group_id": id, "direction": "ingress", "protocol": "tcp", "port_range_min": 23,
        "port_range_max": 23,
    });
    let body = json!({ "security_group_rule": rule });
    cloud.ask(Method::POST, "network", "/v2.0/security-group-rules", body).await;
}

/// Shared by volumes and snapshots. Metadata are merged, so the owner key stays.
async fn cinder(cloud: &Cloud, row: &str, id: &str, field: &str, value: &Value) {
    let path = format!("/{row}s/{id}");
    if field == "metadata" {
        let body = json!({"metadata": value});
        cloud.ask(Method::POST, "volume", &format!("{path}/metadata"), body).await;
    } else {
        cloud.ask(Method::PUT, "volume", &path, json!({ row: { field: value } })).await;
    }
}

async fn volume(cloud: &Cloud, id: &str, field: &str, value: &Value) {
    let action = match field {
        "size" => json!({"os-extend": {"new_size": value}}),
        "bootable" => json!({"os-set_bootable": {"bootable": value}}),
        "readonly" => json!({"os-update_readonly_flag": {"readonly": value}}),
        "volume_type" => {
            let admin = Cloud::named(&std::env::var(ADMIN).unwrap()).await;
            if volume_type(&admin).await.is_none() {
                let body = json!({"volume_type": {"name": VOLUME_TYPE}});
                admin.ask(Method::POST, "volume", "/types", body).await;
            }
            json!({"os-retype": {"new_type": VOLUME_TYPE, "migration_policy": "never"}})
        }
        _ => return cinder(cloud, "volume", id, field, value).await,
    };
    cloud.ask(Method::POST, "volume", &format!("/volumes/{id}/action"), action).await;
}

async fn volume_type(admin: &Cloud) -> Option<String> {
    let types = admin.ask(Method::GET, "volume", "/types", Value::Null).await;
    let types = types["volume_types"].as_array().unwrap();
    let ours = types.iter().find(|row| row["name"] == VOLUME_TYPE)?;
    ours["id"].as_str().map(str::to_owned)
}

/// Renames one of its snapshots.
async fn backup(cloud: &Cloud, mark: &str, value: &Value) {
    let list = cloud.ask(Method::GET, "volume", "/snapshots/detail", Value::Null).await;
    let snapshots = list["snapshots"].as_array().unwrap();
    let part = snapshots.iter().find(|row| row.to_string().contains(mark)).unwrap();
    cinder(cloud, "snapshot", part["id"].as_str().unwrap(), "name", value).await;
}

async fn image(cloud: &Cloud, id: &str, field: &str, value: &Value) {
    let path = format!("/v2/images/{id}");
    match field {
        // The owner key is a tag, too, so the others are added to it.
        "tags" => {
            let path = format!("{path}/tags/tampered");
            cloud.ask(Method::PUT, "image", &path, Value::Null).await;
        }
        "properties" => {
            let change = json!([{"op": "add", "path": "/os_distro", "value": "tampered"}]);
            cloud.ask(Method::PATCH, "image", &path, change).await;
        }
        _ => {
            let change = json!([{"op": "add", "path": format!("/{field}"), "value": value}]);
            cloud.ask(Method::PATCH, "image", &path, change).await;
        }
    }
}

async fn server(cloud: &Cloud, id: &str, field: &str, value: &Value) {
    let path = format!("/servers/{id}");
    let (method, path, body) = match field {
        "metadata" => (Method::POST, format!("{path}/metadata"), json!({"metadata": value})),
        "tags" => (Method::PUT, format!("{path}/tags/tampered"), Value::Null),
        "security_groups" => {
            let body = json!({"removeSecurityGroup": {"name": "default"}});
            (Method::POST, format!("{path}/action"), body)
        }
        "networks" => {
            let port = &value[1]["port"];
            let body = json!({"interfaceAttachment": {"port_id": port}});
            (Method::POST, format!("{path}/os-interface"), body)
        }
        "volumes" => {
            let body = json!({"volumeAttachment": {"volumeId": value[0]}});
            (Method::POST, format!("{path}/os-volume_attachments"), body)
        }
        "flavorRef" => return resize(cloud, &path, value).await,
        _ => (Method::PUT, path, json!({"server": { field: value }})),
    };
    cloud.ask(method, "compute", &path, body).await;
}

async fn resize(cloud: &Cloud, path: &str, flavor: &Value) {
    let flavors = cloud.ask(Method::GET, "compute", "/flavors", Value::Null).await;
    let flavors = flavors["flavors"].as_array().unwrap();
    let flavor = flavors.iter().find(|row| row["name"] == *flavor).unwrap();
    let action = format!("{path}/action");
    let body = json!({"resize": {"flavorRef": flavor["id"]}});
    cloud.ask(Method::POST, "compute", &action, body).await;
    for _ in 0..240 {
        let shown = cloud.ask(Method::GET, "compute", path, Value::Null).await;
        if shown["server"]["status"] == "VERIFY_RESIZE" {
            let body = json!({"confirmResize": null});
            cloud.ask(Method::POST, "compute", &action, body).await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("the cloud does not resize");
}

async fn project(cloud: &Cloud, id: &str, field: &str, value: &Value) {
    let path = format!("/projects/{id}");
    match field {
        "tags" => {
            let path = format!("{path}/tags/tampered");
            cloud.ask(Method::PUT, "identity", &path, Value::Null).await;
        }
        "quotas" => {
            let body = json!({"quota_set": value["compute"]});
            let path = format!("/os-quota-sets/{id}");
            cloud.ask(Method::PUT, "compute", &path, body).await;
        }
        _ => {
            let body = json!({"project": { field: value }});
            cloud.ask(Method::PATCH, "identity", &path, body).await;
        }
    }
}
