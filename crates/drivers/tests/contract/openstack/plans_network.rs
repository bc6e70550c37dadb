//! Test plans for Neutron's kinds.
#![expect(
    clippy::unused_async,
    reason = "one signature for those that need an environment and those that do not"
)]

use serde_json::{Value, json};

use super::plans::{ELSEWHERE, Plans, external};
use super::prerequisites::Env;

pub(crate) async fn network(_: &mut Env) -> Plans {
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

pub(crate) async fn subnet(env: &mut Env) -> Plans {
    let network = env.create("openstack.network", json!({"name": "stateward-ground"})).await;
    Plans {
        desired: json!({
            "network_id": network, "cidr": "10.97.0.9/24", "name": "stateward-contract",
            "description": "", "enable_dhcp": true, "gateway_ip": "10.97.0.1", "service_types": [],
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
            json!({"service_types": ["compute:nova"]}),
        ],
        one_way: Vec::new(),
        immutable: json!({"cidr": "10.98.0.0/24"}),
    }
}

pub(crate) async fn security_group(_: &mut Env) -> Plans {
    let ssh = json!({"protocol": "TCP", "port_range_min": 22, "port_range_max": 22, "remote_ip_prefix": "192.0.2.9/24"});
    let ours = json!({"protocol": 17, "remote_group_id": "self", "description": "among us"});
    let any = json!({"direction": "egress", "ethertype": "IPv6"});
    let icmp = json!({"ethertype": "IPv6", "protocol": "icmp", "remote_ip_prefix": "::/0"});
    let mut described = ours.clone();
    described["description"] = json!("among ourselves");
    Plans {
        desired: json!({"name": "stateward-contract", "description": "first", "stateful": true, "rules": [ssh, ours, any]}),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "second"}),
            json!({"rules": [ssh, described, any]}),
            json!({"rules": [icmp, ssh]}),
            json!({"rules": []}),
            json!({"stateful": false}),
        ],
        one_way: Vec::new(),
        // No field is immutable.
        immutable: Value::Null,
    }
}

pub(crate) async fn port(env: &mut Env) -> Plans {
    let (network, subnet) = env.network("10.97.1.0/24").await;
    let group = env.create("openstack.security_group", json!({"name": "stateward-ground"})).await;
    Plans {
        desired: json!({
            "network_id": network, "name": "stateward-contract", "admin_state_up": true,
            "fixed_ips": [{"subnet_id": subnet}], "security_groups": [group], "binding:vnic_type": "normal",
            "port_security_enabled": true, "allowed_address_pairs": [],
        }),
        variations: vec![
            json!({"name": "stateward-contract-2"}),
            json!({"description": "text"}),
            json!({"admin_state_up": false}),
            json!({"fixed_ips": [{"subnet_id": subnet, "ip_address": "10.97.1.77"}]}),
            json!({"security_groups": []}),
            json!({"allowed_address_pairs": [{"ip_address": "10.97.1.200"}]}),
            json!({"binding:vnic_type": "direct"}),
        ],
        one_way: Vec::new(),
        immutable: json!({"network_id": ELSEWHERE}),
    }
}

pub(crate) async fn router(env: &mut Env) -> Plans {
    let (network, one) = env.network("10.97.2.0/24").await;
    let two = json!({"network_id": network, "cidr": "10.97.3.0/24"});
    let two = env.create("openstack.subnet", two).await;
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

pub(crate) async fn floating_ip(env: &mut Env) -> Plans {
    let (network, subnet) = env.network("10.97.4.0/24").await;
    let router = json!({
        "name": "stateward-ground", "external_gateway_info": {"network_id": external()},
        "interfaces": [{"subnet_id": subnet}],
    });
    env.create("openstack.router", router).await;
    // A fixed address: one that the cloud chose could collide with a later one.
    let address = json!({"subnet_id": subnet, "ip_address": "10.97.4.9"});
    let port = json!({"network_id": network, "fixed_ips": [address]});
    let port = env.create("openstack.port", port).await;
    Plans {
        desired: json!({"floating_network_id": external(), "port_id": null, "description": "first"}),
        variations: vec![json!({"description": "second"}), json!({"port_id": port})],
        one_way: Vec::new(),
        immutable: json!({"floating_network_id": ELSEWHERE}),
    }
}
