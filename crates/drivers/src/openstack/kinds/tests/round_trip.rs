//! What the list shows of an object is what an observation shows, and the manifest that an import makes of it is no
//! change: over all kinds, with odd objects.

use crate::openstack::cloud::SERVICE_TIMEOUT;
use std::collections::BTreeSet;

use super::*;

/// An object as its service shows it, with what else is there.
struct Odd {
    kind: &'static str,
    row: Value,
    /// Replies to other requests, by a part of their path.
    around: Vec<(&'static str, Value)>,
    /// Fields that an import has to declare.
    declared: &'static [&'static str],
}

fn odd(kind: &'static str, row: Value, declared: &'static [&'static str]) -> Odd {
    Odd { kind, row, around: Vec::new(), declared }
}

const NET: &str = "9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d4";

fn networking() -> Vec<Odd> {
    let port = |id: &str, owner: &str, subnets: &[&str]| {
        let addresses: Vec<_> =
            subnets.iter().map(|id| json!({"subnet_id": id, "ip_address": "10.0.0.1"})).collect();
        json!({"id": id, "device_owner": owner, "network_id": NET, "fixed_ips": addresses})
    };
    let ports = json!({"ports": [
        port("p1", "network:router_interface", &["s1"]),
        port("p2", "network:ha_router_replicated_interface", &["s2", "s3"]),
        port("p3", "network:router_ha_interface", &["ha"]),
    ]});
    vec![
        odd(
            "openstack.network",
            json!({"name": "", "description": "", "mtu": 1450, "shared": true, "router:external": true,
                "availability_zone_hints": ["b", "a"], "provider:segmentation_id": 7, "dns_domain": "x."}),
            &["mtu", "shared"],
        ),
        odd(
            "openstack.subnet",
            json!({"network_id": NET, "cidr": "2001:DB8:0::/64", "ip_version": 6, "gateway_ip": "2001:DB8::1",
                "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac", "name": "", "subnetpool_id": null,
                "allocation_pools": [{"start": "2001:DB8::2", "end": "2001:db8::ffff"}], "dns_nameservers": ["b", "a"],
                "host_routes": [{"destination": "2001:DB8:1::/48", "nexthop": "2001:DB8::9"}], "service_types": []}),
            &["host_routes", "allocation_pools", "gateway_ip"],
        ),
        odd(
            "openstack.subnet",
            json!({"network_id": NET, "cidr": "10.0.0.0/24", "ip_version": 4, "gateway_ip": null, "ipv6_ra_mode": null,
                "name": "n", "enable_dhcp": false, "allocation_pools": [], "host_routes": [], "dns_nameservers": []}),
            &["cidr"],
        ),
        odd(
            "openstack.port",
            json!({"network_id": NET, "mac_address": "FA:16:3E:00:00:01", "name": "", "device_owner": "trunk:subport",
                "fixed_ips": [{"subnet_id": "s", "ip_address": "2001:DB8::5"}], "security_groups": ["b", "a"],
                "allowed_address_pairs": [{"ip_address": "10.0.0.99/32", "mac_address": "FA:16:3e:00:00:01"}],
                "binding:vnic_type": "normal", "qos_policy_id": "q", "binding:profile": {"a": 1}}),
            &["mac_address", "fixed_ips", "allowed_address_pairs"],
        ),
        Odd {
            kind: "openstack.router",
            row: json!({"name": "r", "ha": true, "routes": [{"destination": "10.9.0.0/24", "nexthop": "10.0.0.1"}],
                "external_gateway_info": {"network_id": NET, "enable_snat": true,
                    "external_fixed_ips": [{"subnet_id": "x", "ip_address": "203.0.113.7"}]}}),
            around: vec![
                ("device_id=", ports),
                ("/networks/", json!({"network": {"name": "public"}})),
            ],
            declared: &["external_gateway_info", "interfaces", "routes"],
        },
        odd(
            "openstack.floating_ip",
            json!({"floating_network_id": NET, "floating_ip_address": "203.0.113.7", "port_id": null,
                "fixed_ip_address": null, "description": "", "router_id": null}),
            &["floating_ip_address"],
        ),
        odd(
            "openstack.security_group",
            json!({"name": "g", "description": "", "stateful": true, "security_group_rules": [
                {"id": "r1", "direction": "ingress", "ethertype": "IPv4", "protocol": "6", "description": null,
                    "port_range_min": 1, "port_range_max": 65535, "remote_group_id": "x1"},
                {"id": "r2", "direction": "egress", "ethertype": "IPv6", "protocol": null, "remote_ip_prefix": "::/0"},
                {"id": "r3", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 22,
                    "port_range_max": 22, "remote_address_group_id": "ag"},
            ]}),
            &["rules"],
        ),
    ]
}

fn storage() -> Vec<Odd> {
    let types = || vec![("/types", json!({"volume_types": [{"id": "t1", "name": "gold"}]}))];
    let image = json!({"image_id": NET, "min_disk": "0"});
    vec![
        // Not named by anybody, and in use: a user's disk, or a root that Nova made.
        Odd {
            kind: "openstack.volume",
            row: json!({"name": "", "description": null, "size": 1, "volume_type": "gold", "status": "in-use",
                "bootable": "true", "availability_zone": "nova", "snapshot_id": null, "source_volid": null,
                "metadata": {}, "attachments": [{"server_id": "s1"}], "volume_image_metadata": image}),
            around: types(),
            declared: &["size", "volume_type", "imageRef"],
        },
        Odd {
            kind: "openstack.volume",
            row: json!({"name": null, "size": 2, "volume_type": "gold", "status": "available", "bootable": "true",
                "snapshot_id": "sn", "source_volid": null, "volume_image_metadata": image,
                "metadata": {"readonly": "True", "attached_mode": "ro", "tier": "db"}}),
            around: types(),
            declared: &["snapshot_id", "readonly", "metadata"],
        },
        odd(
            "openstack.snapshot",
            json!({"volume_id": "v1", "name": null, "description": null, "status": "available", "size": 1,
                "metadata": {"a b": "ü"}}),
            &["volume_id", "metadata"],
        ),
        odd(
            "openstack.image",
            json!({"name": "a-shelved", "status": "queued", "disk_format": "raw", "container_format": "bare",
                "visibility": "shared", "protected": false, "min_disk": 0, "min_ram": 0, "os_hidden": true,
                "tags": ["b", "a"], "hw_disk_bus": "scsi", "stores": "a,b", "os_glance_failed_import": "",
                "locations": [], "size": null, "schema": "/v2/schemas/image"}),
            &["properties", "tags", "os_hidden"],
        ),
    ]
}

fn computing() -> Vec<Odd> {
    let around = |attachments: Value| {
        vec![
            ("/flavors", json!({"flavors": [{"id": "f1", "name": "m1.tiny"}]})),
            (
                "device_id=",
                json!({"ports": [{"id": "p1", "network_id": NET, "device_owner": "compute:nova"}]}),
            ),
            ("/os-volume_attachments", json!({ "volumeAttachments": attachments })),
        ]
    };
    let server = |further: Value| {
        let mut row = json!({"name": "s", "description": null, "status": "ACTIVE", "OS-EXT-STS:task_state": null,
            "flavor": {"original_name": "m1.tiny"}, "metadata": {}, "tags": [], "accessIPv4": "", "accessIPv6": "",
            "config_drive": "", "key_name": null, "server_groups": ["g1"], "image": {"id": NET},
            "OS-EXT-AZ:availability_zone": "nova", "os-extended-volumes:volumes_attached": [],
            "security_groups": [{"name": "default"}, {"name": "default"}]});
        for (name, value) in further.as_object().unwrap() {
            row[name] = value.clone();
        }
        row
    };
    vec![
        Odd {
            kind: "openstack.server",
            row: server(
                json!({"image": "", "os-extended-volumes:volumes_attached": [{"id": "v2"}, {"id": "v1"}]}),
            ),
            around: around(json!([
                {"volumeId": "v2", "device": "/dev/vdb", "delete_on_termination": false},
                {"volumeId": "v1", "device": "/dev/vda", "delete_on_termination": true},
            ])),
            declared: &["block_device_mapping_v2", "volumes", "networks", "server_group"],
        },
        Odd {
            kind: "openstack.server",
            row: server(json!({"status": "SHELVED_OFFLOADED", "OS-EXT-AZ:availability_zone": "",
                "tags": ["x"], "config_drive": "True", "key_name": "me@host", "server_groups": []})),
            around: around(json!([])),
            declared: &["imageRef", "networks", "key_name"],
        },
        odd(
            "openstack.keypair",
            json!({"name": "me@host.example", "public_key": "ssh-ed25519 AAAA  me@host\n", "type": "ssh", "fingerprint": "x"}),
            &["name", "public_key"],
        ),
        odd(
            "openstack.server_group",
            json!({"name": "g [1]", "policy": "soft-affinity", "rules": {}, "members": ["s1"]}),
            &["policy"],
        ),
        Odd {
            kind: "openstack.project",
            row: json!({"name": "p", "description": "", "enabled": false, "tags": ["b", "a"], "domain_id": "default",
                "parent_id": "default", "is_domain": false, "options": {}}),
            around: vec![
                (
                    "/compute/v2.1/os-quota-sets",
                    json!({"quota_set": {"cores": 20, "fixed_ips": -1, "id": "x1"}}),
                ),
                (
                    "/volume/v3/p1/os-quota-sets",
                    json!({"quota_set": {"gigabytes_gold": -1, "groups": 10}}),
                ),
                ("/network/v2.0/quotas", json!({"quota": {"port": 500, "trunk": 5}})),
            ],
            declared: &["quotas", "tags"],
        },
    ]
}

fn all() -> Vec<Odd> {
    let mut all: Vec<_> = networking().into_iter().chain(storage()).chain(computing()).collect();
    for odd in all.iter_mut().filter(|odd| odd.kind != "openstack.keypair") {
        odd.row["id"] = json!("x1");
    }
    all
}

/// The reply of the cloud around one object to a request of `path`.
fn reply(kind: &dyn Kind, odd: &Odd, path: &str) -> Value {
    if let Some((_, reply)) = odd.around.iter().find(|(part, _)| path.contains(part)) {
        return reply.clone();
    }
    let (meta, bare) = (kind.meta(), path.split('?').next().unwrap_or_default());
    let wrapped = |row: Value| if meta.row.is_empty() { row } else { json!({ meta.row: row }) };
    if bare.ends_with(&format!("/{}", meta.list.join("/"))) {
        let mut row = odd.row.clone();
        // Only a single server shows these.
        row.as_object_mut().unwrap().remove("server_groups");
        let row = if odd.kind == "openstack.keypair" { wrapped(row) } else { row };
        return json!({ meta.rows: [row] });
    }
    wrapped(odd.row.clone())
}

/// What an import declares: the members that the schema knows and that are not null.
fn declared(kind: &dyn Kind, attributes: &Value) -> Value {
    let schema = kind.meta().declare(SERVICE_TIMEOUT).schema;
    let mut desired = attributes.as_object().unwrap().clone();
    desired.retain(|name, value| !value.is_null() && schema["properties"].get(name).is_some());
    let desired = Value::Object(desired);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<_> = validator.iter_errors(&desired).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{}: {faults:?} in {desired:#}", kind.meta().name);
    desired
}

#[tokio::test]
async fn the_import_of_any_object_is_no_change() {
    for odd in all() {
        let (name, kind, declares) = (odd.kind, kind(odd.kind), odd.declared);
        let stub = stub(move |asked, _| Answer::json(200, reply(kind, &odd, &asked.path))).await;
        let setup = Setup::new(&stub.url);
        let listing = list(kind, setup.client(), None).await.unwrap();
        let [listed] = &listing.objects[..] else { panic!("{name} is not listed: {listing:#?}") };
        // The entity did not create it.
        let owner_key = OwnerKey::new(EntityId(Uuid::from_u128(9)), Incarnation::default());
        let target = ObjectRef { owner_key, ..target(name, listed.external_id.as_str()) };
        let Ok(Observation::Present(seen)) = observe(kind, setup.client(), &target).await else {
            panic!("{name} is there")
        };
        if !listing.partial {
            assert_eq!(listed, &seen, "{name}: the list shows something else");
        }
        let desired = declared(kind, &seen.attributes);
        for field in declares {
            assert!(desired.get(field).is_some(), "{name}: {field} is not declared: {desired:#}");
        }
        let normal = check(kind, &desired).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        assert_eq!(plan(kind, &seen.attributes, &normal), Plan::Noop, "{name}: {seen:#?}");
        let sent: Vec<_> =
            stub.asked("/").into_iter().filter(|asked| asked.method != "GET").collect();
        assert!(sent.iter().all(|asked| asked.path.starts_with("/v3/auth")), "{name}: {sent:?}");
    }
}

#[test]
fn every_kind_that_can_be_imported_is_tried() {
    let tried: BTreeSet<_> = all().iter().map(|odd| odd.kind).collect();
    let kinds = KINDS.iter().map(|kind| kind.meta().name);
    // A backup is made by an entity alone: without its mark there is none.
    let rest: Vec<_> = kinds.filter(|kind| !tried.contains(kind)).collect();
    assert_eq!(rest, ["openstack.backup"]);
}

#[test]
fn what_a_service_makes_for_its_own_objects_is_no_object_of_its_own() {
    let port = |owner: &str| kind("openstack.port").is_top_level(&json!({ "device_owner": owner }));
    for owner in ["", "compute:nova", "trunk:subport", "baremetal:none"] {
        assert!(port(owner), "{owner} is left out in silence");
    }
    for owner in ["network:dhcp", "network:router_ha_interface", "network:floatingip", "Octavia"] {
        assert!(!port(owner), "{owner}");
    }
    let image = |name: &str, server: Value| {
        kind("openstack.image").is_top_level(&json!({"name": name, "instance_uuid": server}))
    };
    assert!(image("mine-shelved", Value::Null));
    assert!(!image("web-shelved", json!("s1")));
}
