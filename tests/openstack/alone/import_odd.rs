//! Import of objects that a list shows in part, or that are not understood as a whole: the first full management of
//! them changes nothing.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::cloud::Cloud;
use super::super::lifecycle::{configuration, unique, variable};
use super::import::{World, said};
use crate::harness::{Setup, condition, text, until};

/// A network with a router out of it; a server on it that boots from a volume without a name; a group with a rule for an
/// address group. Returns ids of the router's subnet and of the address group.
async fn make(world: &mut World, name: &str) -> [String; 2] {
    let place = ("network", "/v2.0/networks", "network");
    let network = world.make(("network", ""), place, json!({ "name": name })).await;
    let place = ("network", "/v2.0/subnets", "subnet");
    let body =
        json!({"name": name, "network_id": network, "cidr": "10.93.0.0/24", "ip_version": 4});
    let subnet = world.make(("subnet", ""), place, body).await;
    let gateway = json!({"network_id": world.external().await});
    let place = ("network", "/v2.0/routers", "router");
    let body = json!({"name": name, "external_gateway_info": gateway});
    let router = world.make(("router", ""), place, body).await;
    let path = format!("/v2.0/routers/{router}/add_router_interface");
    world.cloud.ask(Method::PUT, "network", &path, json!({ "subnet_id": subnet })).await;

    let body = json!({"address_group": {"name": name, "addresses": ["192.0.2.0/24"]}});
    let made = world.cloud.ask(Method::POST, "network", "/v2.0/address-groups", body).await;
    let addresses = text(&made["address_group"]["id"]);
    let place = ("network", "/v2.0/security-groups", "security_group");
    let group = world.make(("security_group", ""), place, json!({ "name": name })).await;
    let rule = json!({"security_group_rule": {
        "security_group_id": group, "direction": "ingress", "protocol": "tcp", "port_range_min": 22,
        "port_range_max": 22, "remote_address_group_id": addresses, "description": "ssh",
    }});
    world.cloud.ask(Method::POST, "network", "/v2.0/security-group-rules", rule).await;
    boot(world, name, &network).await;
    [subnet, addresses]
}

async fn boot(world: &mut World, name: &str, network: &str) {
    let id_of = async |service: &str, path: &str, list: &str, name: String| {
        let reply = world.cloud.ask(Method::GET, service, path, Value::Null).await;
        let rows = reply[list].as_array().unwrap();
        text(&rows.iter().find(|row| row["name"] == *name).expect("it is there")["id"])
    };
    let image = variable("STATEWARD_TEST_IMAGE", "tiny");
    let image = id_of("image", "/v2/images", "images", image).await;
    let flavor = variable("STATEWARD_TEST_FLAVOR", "m1.tiny");
    let flavor = id_of("compute", "/flavors", "flavors", flavor).await;
    let place = ("volume", "/volumes", "volume");
    let body = json!({"name": "", "size": 1, "imageRef": image});
    let volume = world.make(("volume", ""), place, body).await;
    world.reaches("volume", &format!("/volumes/{volume}"), "/volume/status", "available").await;
    let device = json!({
        "uuid": volume, "source_type": "volume", "destination_type": "volume", "boot_index": 0,
        "delete_on_termination": false,
    });
    let body = json!({
        "name": name, "flavorRef": flavor, "block_device_mapping_v2": [device],
        "networks": [{ "uuid": network }],
    });
    let server = world.make(("server", ""), ("compute", "/servers", "server"), body).await;
    world.reaches("compute", &format!("/servers/{server}"), "/server/status", "ACTIVE").await;
    world.reaches("volume", &format!("/volumes/{volume}"), "/volume/status", "in-use").await;
}

/// All objects, as their services show them.
async fn shown(world: &World) -> Vec<Value> {
    let mut shown = Vec::new();
    for theirs in &world.all {
        let path = format!("{}/{}", theirs.path, theirs.id);
        shown.push(world.cloud.ask(Method::GET, theirs.service, &path, Value::Null).await);
    }
    shown
}

async fn end(mut world: World, [subnet, addresses]: [String; 2]) {
    while let Some(theirs) = world.all.pop() {
        let path = format!("{}/{}", theirs.path, theirs.id);
        if theirs.kind == "router" {
            let path = format!("{path}/remove_router_interface");
            world.cloud.ask(Method::PUT, "network", &path, json!({ "subnet_id": subnet })).await;
        }
        world.cloud.ask(Method::DELETE, theirs.service, &path, Value::Null).await;
        if theirs.kind == "server" {
            until("it is gone", async || {
                let list = world.cloud.ask(Method::GET, "compute", "/servers", Value::Null).await;
                (!list.to_string().contains(&theirs.id)).then_some(())
            })
            .await;
            let volume = &world.all.last().expect("its volume").id;
            world
                .reaches("volume", &format!("/volumes/{volume}"), "/volume/status", "available")
                .await;
        }
    }
    let path = format!("/v2.0/address-groups/{addresses}");
    world.cloud.ask(Method::DELETE, "network", &path, Value::Null).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_shows_in_part_is_imported_whole_and_full_management_changes_nothing() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let setup = Setup::new(&configuration(&cloud.name, &cloud.auth_url, "10m"));
    let server = setup.start().await;
    let folder = setup.folder.path();
    let mut world = World { cloud, all: Vec::new() };
    let name = unique("odd");
    let rest = make(&mut world, &name).await;
    let before = shown(&world).await;

    let written = said(&server, folder, "import --backend cloud --all").await;
    assert!(written.contains("remote_address_group_id"), "nothing says so: {written}");
    let named = |document: &&str| {
        let id = document.lines().find_map(|line| line.strip_prefix("external_id: "));
        id.is_some_and(|id| world.all.iter().any(|theirs| theirs.id == id.trim_matches('\'')))
    };
    let documents: Vec<_> = written.split("---\n").filter(named).collect();
    assert_eq!(documents.len(), world.all.len(), "{written}");
    for field in ["interfaces:", "external_gateway_info:", "networks:", "block_device_mapping_v2:"]
    {
        assert!(documents.iter().any(|document| document.contains(field)), "{field} {written}");
    }
    let full = documents.join("---\n").replace("observe_only", "full");
    std::fs::write(folder.join("odd.yaml"), full).unwrap();
    said(&server, folder, "apply -f odd.yaml --wait").await;
    let again = said(&server, folder, "apply -f odd.yaml --wait").await;
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    for entity in server.client.entities().await {
        let path = format!("/v1/entities/{}/actions/refresh", text(&entity["id"]));
        server.client.done(Method::POST, &path, json!({})).await;
        let entity = server.client.reaches(&text(&entity["id"]), "ok").await;
        assert!(!condition(&entity, "drifted"), "{entity:#}");
    }
    assert_eq!(shown(&world).await, before, "something was changed");

    let set = format!("set security_group/{name} rules=[] --wait");
    said(&server, folder, &set).await;
    let group = world.all.iter().position(|theirs| theirs.kind == "security_group").unwrap();
    let rules = shown(&world).await[group]["security_group"]["security_group_rules"].clone();
    let rules = rules.as_array().unwrap();
    assert_eq!(rules.len(), 1, "{rules:#?}");
    assert_eq!(rules[0]["remote_address_group_id"], rest[1], "{rules:#?}");
    for entity in server.client.entities().await {
        let path = format!("/v1/entities/{}", text(&entity["id"]));
        server.client.done(Method::DELETE, &path, Value::Null).await;
    }
    end(world, rest).await;
}
