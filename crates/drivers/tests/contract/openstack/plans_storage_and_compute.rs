//! Test plans for storage, servers, and what they need.
#![expect(
    clippy::unused_async,
    reason = "one signature for those that need an environment and those that do not"
)]

use serde_json::json;

use super::plans::{ELSEWHERE, Plans, variable};
use super::prerequisites::Env;

pub(crate) async fn volume(_: &mut Env) -> Plans {
    Plans {
        desired: json!({
            "name": "stateward-contract", "size": 1, "description": null, "metadata": {"a": "1"},
            "bootable": false, "readonly": false,
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "text"}),
            json!({"metadata": {"b": "2"}}),
            json!({"bootable": true}),
            json!({"readonly": true}),
        ],
        one_way: vec![json!({"size": 2})],
        immutable: json!({"availability_zone": "elsewhere"}),
    }
}

pub(crate) async fn snapshot(env: &mut Env) -> Plans {
    let volume =
        env.create("openstack.volume", json!({"name": "stateward-ground", "size": 1})).await;
    Plans {
        desired: json!({"volume_id": volume, "name": "stateward-contract", "metadata": {"a": "1"}}),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "text"}),
            json!({"metadata": {"b": "2"}}),
        ],
        one_way: Vec::new(),
        immutable: json!({"volume_id": ELSEWHERE}),
    }
}

pub(crate) async fn image(_: &mut Env) -> Plans {
    Plans {
        desired: json!({
            "name": "stateward-contract", "disk_format": "raw", "container_format": "bare",
            "content": "c3RhdGV3YXJk", "visibility": "private", "protected": false, "min_disk": 0, "os_hidden": false,
            "tags": ["b", "a"], "properties": {"os_distro": "none"},
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"visibility": "shared"}),
            json!({"min_disk": 1}),
            json!({"min_ram": 64}),
            json!({"os_hidden": true}),
            json!({"tags": ["c"]}),
            json!({"properties": {"os_distro": "none", "a/b~c": "1"}}),
            json!({"protected": true}),
        ],
        one_way: Vec::new(),
        immutable: json!({"disk_format": "qcow2"}),
    }
}

pub(crate) async fn server(env: &mut Env) -> Plans {
    let (network, _) = env.network("10.97.5.0/24").await;
    let group = json!({"name": "stateward-ground", "policy": "soft-affinity"});
    let group = env.create("openstack.server_group", group).await;
    let volume = json!({"name": "stateward-ground", "size": 1});
    let volume = env.create("openstack.volume", volume).await;
    let port = env.create("openstack.port", json!({"network_id": network})).await;
    Plans {
        desired: json!({
            "name": "stateward-contract", "flavorRef": variable("STATEWARD_TEST_FLAVOR", "m1.tiny"),
            "imageRef": variable("STATEWARD_TEST_IMAGE", "tiny"), "networks": [{"uuid": network}],
            "metadata": {"a": "1"}, "tags": ["one"], "user_data": "IyEvYmluL3NoCg==",
            "server_group": group, "security_groups": [{"name": "default"}], "volumes": [],
            "config_drive": true, "accessIPv4": "192.0.2.7", "accessIPv6": "2001:db8::7",
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "text"}),
            json!({"accessIPv4": "192.0.2.8"}),
            json!({"accessIPv6": "2001:db8::8"}),
            json!({"metadata": {"b": "2"}}),
            json!({"tags": ["two", "three"]}),
            json!({"security_groups": []}),
            json!({"volumes": [volume]}),
            // By a port: an entry by a network has to wait for what an earlier process may have requested.
            json!({"networks": [{"uuid": network}, {"port": port}]}),
            json!({"flavorRef": variable("STATEWARD_TEST_OTHER_FLAVOR", "m1.small")}),
        ],
        one_way: Vec::new(),
        immutable: json!({"user_data": "b3RoZXI="}),
    }
}

pub(crate) async fn backup(env: &mut Env) -> Plans {
    let (network, _) = env.network("10.97.6.0/24").await;
    let mut volumes = Vec::new();
    for _ in 0..2 {
        let volume = json!({"name": "stateward-ground", "size": 1});
        volumes.push(env.create("openstack.volume", volume).await);
    }
    let server = json!({
        "name": "stateward-ground", "flavorRef": variable("STATEWARD_TEST_FLAVOR", "m1.tiny"),
        "imageRef": variable("STATEWARD_TEST_IMAGE", "tiny"), "networks": [{"uuid": network}],
        "volumes": volumes,
    });
    let server = env.create("openstack.server", server).await;
    Plans {
        desired: json!({"server_id": server, "name": "stateward-contract"}),
        variations: vec![json!({"name": "stateward-contract-2"})],
        one_way: Vec::new(),
        immutable: json!({"server_id": ELSEWHERE}),
    }
}

pub(crate) async fn keypair(_: &mut Env) -> Plans {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVmjp6nmRYdQeCFqfbkmfP8zPPCuUt5LXyFQxdJZhlG";
    let name = format!("stateward-contract-{}", std::process::id());
    Plans {
        desired: json!({"name": name, "public_key": format!(" {key}  a comment\n")}),
        variations: Vec::new(),
        one_way: Vec::new(),
        immutable: json!({"public_key": format!("{key} another comment")}),
    }
}

pub(crate) async fn server_group(_: &mut Env) -> Plans {
    Plans {
        desired: json!({"name": "stateward [contract]", "policy": "anti-affinity"}),
        variations: Vec::new(),
        one_way: Vec::new(),
        immutable: json!({"policy": "affinity"}),
    }
}

pub(crate) async fn project(_: &mut Env) -> Plans {
    let quotas = |cores: i64| {
        json!({
            "compute": {"cores": cores}, "volume": {"gigabytes": 7}, "network": {"router": -1},
        })
    };
    let name = format!("stateward-contract-{}", std::process::id());
    Plans {
        desired: json!({
            "name": name, "description": null, "enabled": true, "tags": ["a"], "quotas": quotas(3),
        }),
        variations: vec![
            json!({"name": format!("{name}-2")}),
            json!({"description": "text"}),
            json!({"enabled": false}),
            json!({"tags": ["b", "c"]}),
            json!({"quotas": quotas(4)}),
        ],
        one_way: Vec::new(),
        immutable: json!({"domain_id": "elsewhere"}),
    }
}
