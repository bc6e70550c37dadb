//! The subjects: for each kind a desired state, and what may become of it.
#![expect(
    clippy::unused_async,
    reason = "one signature for those that need ground and those that do not"
)]

use std::sync::Arc;

use serde_json::{Value, json};
use stateward_domain::ports::driver::Driver;

use super::ground::Ground;
use super::{and_clean, cloud_for, subject};
use crate::lives::keeps_all;
use crate::subject::Subject;

/// A desired state and its variations: `desired` is the first one, each of `variations` changes one field.
struct Plans {
    desired: Value,
    variations: Vec<Value>,
    /// Variations that cannot be taken back.
    one_way: Vec<Value>,
    /// A change of an immutable field; null = it has none.
    immutable: Value,
}

impl Plans {
    fn subject(self, driver: &Arc<dyn Driver>, kind: &str) -> Subject {
        let with = |change: &Value| {
            let mut desired = self.desired.clone();
            let members = change.as_object().expect("a change is an object");
            for (name, value) in members {
                desired[name] = value.clone();
            }
            desired
        };
        let mut desired = vec![self.desired.clone()];
        desired.extend(self.variations.iter().chain(&self.one_way).map(with));
        let one_way = self.one_way.iter().map(with).collect();
        let immutable = match &self.immutable {
            Value::Null => Value::Null,
            change => with(change),
        };
        let mut subject = subject(driver, kind, desired, immutable);
        subject.one_way = one_way;
        subject
    }
}

macro_rules! kinds {
    ($($test:ident, $kind:literal: $plans:path;)*) => {
        /// Every kind that has a subject here.
        pub(crate) const KINDS: &[&str] = &[$($kind),*];

        $(
            #[tokio::test]
            async fn $test() {
                let Some(driver) = cloud_for($kind) else { return };
                let mut ground = Ground::new(&driver);
                let plans = $plans(&mut ground).await;
                let subject = plans.subject(&driver, $kind);
                and_clean(keeps_all(&subject), async {
                    subject.clear().await;
                    ground.clear().await;
                })
                .await;
            }
        )*
    };
}

kinds! {
    a_network_keeps_every_promise, "openstack.network": network;
    a_subnet_keeps_every_promise, "openstack.subnet": subnet;
    a_volume_keeps_every_promise, "openstack.volume": volume;
    a_snapshot_keeps_every_promise, "openstack.snapshot": snapshot;
    a_security_group_keeps_every_promise, "openstack.security_group": security_group;
    a_port_keeps_every_promise, "openstack.port": port;
    a_router_keeps_every_promise, "openstack.router": router;
    a_floating_ip_keeps_every_promise, "openstack.floating_ip": floating_ip;
    a_keypair_keeps_every_promise, "openstack.keypair": keypair;
    a_server_group_keeps_every_promise, "openstack.server_group": server_group;
    an_image_keeps_every_promise, "openstack.image": image;
    a_server_keeps_every_promise, "openstack.server": server;
    a_project_keeps_every_promise, "openstack.project": project;
    a_backup_keeps_every_promise, "openstack.backup": backup;
}

/// An id of nothing, for references that cannot change anyway.
const ELSEWHERE: &str = "00000000-0000-4000-8000-000000000000";

async fn network(_: &mut Ground) -> Plans {
    Plans {
        desired: json!({"name": "stateward-contract", "admin_state_up": true, "description": "first"}),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"admin_state_up": false}),
            json!({"description": "second"}),
            json!({"mtu": 1400}),
            json!({"port_security_enabled": false}),
        ],
        one_way: Vec::new(),
        immutable: json!({"availability_zone_hints": ["elsewhere"]}),
    }
}

async fn subnet(ground: &mut Ground) -> Plans {
    let network = ground.lay("openstack.network", json!({"name": "stateward-ground"})).await;
    Plans {
        desired: json!({
            "network_id": network, "cidr": "10.97.0.9/24", "name": "stateward-contract",
            "description": "", "enable_dhcp": true, "gateway_ip": "10.97.0.1",
            "dns_nameservers": ["192.0.2.2", "192.0.2.1"], "host_routes": [], "allocation_pools": [
                {"start": "10.97.0.10", "end": "10.97.0.20"}, {"start": "10.97.0.30", "end": "10.97.0.40"},
            ],
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "text"}),
            json!({"enable_dhcp": false}),
            json!({"gateway_ip": null}),
            json!({"gateway_ip": "10.97.0.5"}),
            json!({"dns_nameservers": ["192.0.2.1", "192.0.2.2"]}),
            json!({"host_routes": [{"destination": "198.51.100.7/24", "nexthop": "10.97.0.3"}]}),
            json!({"allocation_pools": [{"start": "10.97.0.100", "end": "10.97.0.200"}]}),
        ],
        one_way: Vec::new(),
        immutable: json!({"cidr": "10.98.0.0/24"}),
    }
}

async fn volume(_: &mut Ground) -> Plans {
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

async fn snapshot(ground: &mut Ground) -> Plans {
    let volume =
        ground.lay("openstack.volume", json!({"name": "stateward-ground", "size": 1})).await;
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

async fn security_group(_: &mut Ground) -> Plans {
    let ssh = json!({"protocol": "TCP", "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": "192.0.2.9/24"});
    let ours = json!({"protocol": 17, "remote_group_id": "self", "description": "among us"});
    let any = json!({"direction": "egress", "ethertype": "IPv6"});
    let icmp = json!({"ethertype": "IPv6", "protocol": "icmp", "remote_ip_prefix": "::/0"});
    let mut described = ours.clone();
    described["description"] = json!("among ourselves");
    Plans {
        desired: json!({"name": "stateward-contract", "description": "first", "rules": [ssh, ours, any]}),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "second"}),
            json!({"rules": [ssh, described, any]}),
            json!({"rules": [icmp, ssh]}),
            json!({"rules": []}),
        ],
        one_way: Vec::new(),
        // Nothing of it is immutable.
        immutable: Value::Null,
    }
}

async fn port(ground: &mut Ground) -> Plans {
    let (network, subnet) = ground.network("10.97.1.0/24").await;
    let group = ground.lay("openstack.security_group", json!({"name": "stateward-ground"})).await;
    Plans {
        desired: json!({
            "network_id": network, "name": "stateward-contract", "admin_state_up": true,
            "fixed_ips": [{"subnet_id": subnet}], "security_groups": [group],
            "port_security_enabled": true, "allowed_address_pairs": [],
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "text"}),
            json!({"admin_state_up": false}),
            json!({"fixed_ips": [{"subnet_id": subnet, "ip_address": "10.97.1.77"}]}),
            json!({"security_groups": []}),
            json!({"allowed_address_pairs": [{"ip_address": "10.97.1.200"}]}),
        ],
        one_way: Vec::new(),
        immutable: json!({"network_id": ELSEWHERE}),
    }
}

async fn router(ground: &mut Ground) -> Plans {
    let (network, one) = ground.network("10.97.2.0/24").await;
    let two = json!({"network_id": network, "cidr": "10.97.3.0/24"});
    let two = ground.lay("openstack.subnet", two).await;
    Plans {
        desired: json!({
            "name": "stateward-contract", "description": "", "external_gateway_info": {"network_id": external()},
            "interfaces": [{"subnet_id": one}], "routes": [],
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "text"}),
            json!({"admin_state_up": false}),
            json!({"external_gateway_info": null}),
            json!({"interfaces": [{"subnet_id": two}, {"subnet_id": one}]}),
            json!({"interfaces": [{"subnet_id": two}]}),
            json!({"routes": [{"destination": "198.51.100.9/24", "nexthop": "10.97.2.9"}]}),
        ],
        one_way: Vec::new(),
        immutable: json!({"availability_zone_hints": ["elsewhere"]}),
    }
}

async fn floating_ip(ground: &mut Ground) -> Plans {
    let (network, subnet) = ground.network("10.97.4.0/24").await;
    let router = json!({
        "name": "stateward-ground", "external_gateway_info": {"network_id": external()},
        "interfaces": [{"subnet_id": subnet}],
    });
    ground.lay("openstack.router", router).await;
    let port = json!({"network_id": network, "fixed_ips": [{"subnet_id": subnet}]});
    let port = ground.lay("openstack.port", port).await;
    Plans {
        desired: json!({"floating_network_id": external(), "port_id": null, "description": "first"}),
        variations: vec![json!({"description": "second"}), json!({"port_id": port})],
        one_way: Vec::new(),
        immutable: json!({"floating_network_id": ELSEWHERE}),
    }
}

async fn keypair(_: &mut Ground) -> Plans {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVmjp6nmRYdQeCFqfbkmfP8zPPCuUt5LXyFQxdJZhlG";
    let name = format!("stateward-contract-{}", std::process::id());
    Plans {
        desired: json!({"name": name, "public_key": format!(" {key}  a comment\n")}),
        variations: Vec::new(),
        one_way: Vec::new(),
        immutable: json!({"public_key": format!("{key} another comment")}),
    }
}

async fn server_group(_: &mut Ground) -> Plans {
    Plans {
        desired: json!({"name": "stateward [contract]", "policy": "anti-affinity"}),
        variations: Vec::new(),
        one_way: Vec::new(),
        immutable: json!({"policy": "affinity"}),
    }
}

async fn image(_: &mut Ground) -> Plans {
    Plans {
        desired: json!({
            "name": "stateward-contract", "disk_format": "raw", "container_format": "bare",
            "content": "c3RhdGV3YXJk", "visibility": "private", "protected": false, "min_disk": 0,
            "tags": ["b", "a"], "properties": {"os_distro": "none"},
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"visibility": "shared"}),
            json!({"min_disk": 1}),
            json!({"min_ram": 64}),
            json!({"tags": ["c"]}),
            json!({"properties": {"os_distro": "none", "a/b~c": "1"}}),
            json!({"protected": true}),
        ],
        one_way: Vec::new(),
        immutable: json!({"disk_format": "qcow2"}),
    }
}

async fn server(ground: &mut Ground) -> Plans {
    let (network, _) = ground.network("10.97.5.0/24").await;
    let group = json!({"name": "stateward-ground", "policy": "soft-affinity"});
    let group = ground.lay("openstack.server_group", group).await;
    let volume = json!({"name": "stateward-ground", "size": 1});
    let volume = ground.lay("openstack.volume", volume).await;
    Plans {
        desired: json!({
            "name": "stateward-contract", "flavorRef": variable("STATEWARD_TEST_FLAVOR", "m1.tiny"),
            "imageRef": variable("STATEWARD_TEST_IMAGE", "tiny"), "networks": [{"uuid": network}],
            "metadata": {"a": "1"}, "tags": ["one"], "user_data": "IyEvYmluL3NoCg==",
            "server_group": group, "security_groups": [{"name": "default"}], "volumes": [],
            "config_drive": true,
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "text"}),
            json!({"metadata": {"b": "2"}}),
            json!({"tags": ["two", "three"]}),
            json!({"security_groups": []}),
            json!({"volumes": [volume]}),
            json!({"flavorRef": variable("STATEWARD_TEST_OTHER_FLAVOR", "m1.small")}),
        ],
        one_way: Vec::new(),
        immutable: json!({"user_data": "b3RoZXI="}),
    }
}

async fn project(_: &mut Ground) -> Plans {
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

async fn backup(ground: &mut Ground) -> Plans {
    let (network, _) = ground.network("10.97.6.0/24").await;
    let mut volumes = Vec::new();
    for _ in 0..2 {
        let volume = json!({"name": "stateward-ground", "size": 1});
        volumes.push(ground.lay("openstack.volume", volume).await);
    }
    let server = json!({
        "name": "stateward-ground", "flavorRef": variable("STATEWARD_TEST_FLAVOR", "m1.tiny"),
        "imageRef": variable("STATEWARD_TEST_IMAGE", "tiny"), "networks": [{"uuid": network}],
        "volumes": volumes,
    });
    let server = ground.lay("openstack.server", server).await;
    Plans {
        desired: json!({"server_id": server, "name": "stateward-contract"}),
        variations: vec![json!({"name": "stateward-contract-2"})],
        one_way: Vec::new(),
        immutable: json!({"server_id": ELSEWHERE}),
    }
}

/// The network outside, by its name.
fn external() -> String {
    variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public")
}

/// What the cloud has to have already.
fn variable(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}
