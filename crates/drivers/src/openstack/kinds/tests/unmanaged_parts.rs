//! What this version does not understand is shown, and never written back: over all kinds.

use super::super::unknown_members::{UNMANAGED, Written};
use super::*;
use crate::openstack::cloud::SERVICE_TIMEOUT;
use crate::openstack::testing::Stub;

/// Fields with objects in them that are no parts, and why nothing of these objects is lost.
const EXEMPT: &[(&str, &str, &str)] = &[
    ("openstack.router", "interfaces", "added and removed one by one, named by their ports"),
    ("openstack.server", "networks", "the NICs are ports, of which only ids are read"),
    ("openstack.server", "security_groups", "added and removed one by one, named by their names"),
    ("openstack.server_group", "rules", "never written after the creation"),
    ("openstack.project", "quotas", "only the named quotas are written"),
];

/// Whether a schema describes an object with named members, or a list of such.
fn holds_objects(schema: &Value) -> bool {
    schema["properties"].is_object()
        || ["oneOf", "anyOf"]
            .iter()
            .any(|either| schema[*either].as_array().into_iter().flatten().any(holds_objects))
        || schema.get("items").is_some_and(holds_objects)
}

#[test]
fn every_field_with_objects_in_it_has_its_known_members_declared() {
    for kind in KINDS {
        let (name, spec) = (kind.meta().name, kind.meta().declare(SERVICE_TIMEOUT));
        for (field, schema) in spec.schema["properties"].as_object().unwrap() {
            let declared = kind.parts().iter().any(|part| part.field == field);
            let exempt =
                EXEMPT.iter().any(|(kind, known, _)| (kind, known) == (&name, &field.as_str()));
            assert_eq!(holds_objects(schema), declared || exempt, "{name}: {field}");
        }
    }
}

/// An entry of a part that is understood, and another one like it.
fn entries(field: &str) -> [Value; 2] {
    match field {
        "fixed_ips" => ["10.0.0.5", "10.0.0.6"].map(|ip| json!({"subnet_id": "s", "ip_address": ip})),
        "allowed_address_pairs" => {
            ["10.0.0.8", "10.0.0.9"].map(|ip| json!({"ip_address": ip, "mac_address": "fa:16:3e:00:00:01"}))
        }
        "allocation_pools" => ["10.0.0.8", "10.0.0.9"].map(|ip| json!({"start": ip, "end": "10.0.0.99"})),
        "host_routes" | "routes" => {
            ["10.8.0.0/24", "10.9.0.0/24"].map(|net| json!({"destination": net, "nexthop": "10.0.0.1"}))
        }
        "external_gateway_info" => {
            ["9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d4", "9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d5"]
                .map(|id| json!({ "network_id": id }))
        }
        "rules" => [22, 23].map(|port| {
            json!({"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "description": "",
                "port_range_min": port, "port_range_max": port})
        }),
        other => panic!("{other} has no example"),
    }
}

/// Serves one object, and its changes; every list is empty.
async fn cloud(wrapper: &'static str, row: Value) -> Stub {
    stub(move |asked, _| {
        if asked.path.contains('?') {
            let lists =
                ["ports", "networks", "floatingips"].map(|list| (list.to_owned(), json!([])));
            return Answer::json(200, Value::Object(lists.into_iter().collect()));
        }
        let row =
            if asked.path.contains("/networks/") { json!({"name": "out"}) } else { row.clone() };
        Answer::json(200, json!({ wrapper: row.clone(), "network": row }))
    })
    .await
}

fn changes(stub: &Stub) -> Vec<Asked> {
    stub.asked("/network").into_iter().filter(|asked| asked.method != "GET").collect()
}

async fn observed(kind: &dyn Kind, setup: &Setup) -> Value {
    let owner_key = OwnerKey::new(EntityId(Uuid::from_u128(9)), Incarnation::default());
    let target = ObjectRef { owner_key, ..target(kind.meta().name, "x1") };
    let Observation::Present(object) = observe(kind, setup.client(), &target).await.unwrap() else {
        panic!("it is there")
    };
    object.attributes
}

#[tokio::test]
async fn an_entry_that_is_not_understood_is_shown_and_its_field_is_not_written() {
    for kind in KINDS {
        for part in kind.parts() {
            let (name, field, meta) = (kind.meta().name, part.field, kind.meta());
            let [seen, wanted] = entries(field);
            let strange = {
                let mut strange = seen.clone();
                strange["future"] = json!(7);
                strange
            };
            let is_list = field != "external_gateway_info";
            let whole = |entry: &Value| if is_list { json!([entry]) } else { entry.clone() };
            let row = json!({"id": "x1", part.member: whole(&strange)});
            let stub = cloud(meta.row, row).await;
            let setup = Setup::new(&stub.url);
            let observed = observed(*kind, &setup).await;
            assert_eq!(
                observed[UNMANAGED][field],
                json!([strange]),
                "{name}: {field} says nothing"
            );
            if part.written == Written::ByEntry {
                continue;
            }
            assert_eq!(
                plan(*kind, &observed, &json!({ field: whole(&seen) })),
                Plan::Noop,
                "{name}: {field}"
            );
            let spec = json!({ field: whole(&wanted) });
            let Plan::Update { fields } = plan(*kind, &observed, &spec) else {
                panic!("{name}: {field} differs")
            };
            let update = Update { target: target(name, "x1"), spec, fields, observed };
            let failure = super::super::update(*kind, setup.client(), &update).await.unwrap_err();
            assert_eq!(
                (failure.code.as_str(), failure.class.clone()),
                ("not_understood", ErrorClass::Invalid)
            );
            assert!(failure.message.contains("future"), "{failure}");
            assert!(changes(&stub).is_empty(), "{name}: {field} was written");
        }
    }
}

#[tokio::test]
async fn an_object_with_something_that_is_not_understood_is_not_replaced() {
    let observed = json!({"cidr": "10.0.0.0/24", UNMANAGED: {"host_routes": [{"future": 7}]}});
    let spec = json!({"cidr": "10.1.0.0/24"});
    let subnet = kind("openstack.subnet");
    let fields = vec!["/cidr".to_owned()];
    assert_eq!(plan(subnet, &observed, &spec), Plan::Update { fields: fields.clone() });
    let stub = cloud("subnet", json!({"id": "x1"})).await;
    let setup = Setup::new(&stub.url);
    let update = Update { target: target("openstack.subnet", "x1"), spec, fields, observed };
    let failure = super::super::update(subnet, setup.client(), &update).await.unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.class.clone()),
        ("not_understood", ErrorClass::Immutable)
    );
    assert!(failure.message.contains("host_routes"), "{failure}");
}

/// A rule of a group, as Neutron shows it.
fn row(id: &str, port: u16, further: &Value) -> Value {
    let mut row = json!({
        "id": id, "security_group_id": "x1", "project_id": "p1", "tenant_id": "p1", "direction": "ingress",
        "ethertype": "IPv4", "protocol": "tcp", "port_range_min": port, "port_range_max": port,
        "remote_ip_prefix": null, "remote_group_id": null, "remote_address_group_id": null,
        "normalized_cidr": null, "description": "", "revision_number": 0, "tags": [],
        "standard_attr_id": 7, "belongs_to_default_sg": false,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    for (name, value) in further.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

/// Runs an update of the rules of a group with `rows` to `wanted`; returns its result and what changed.
async fn rules_update(rows: Vec<Value>, wanted: Value) -> (Result<Outcome, Failure>, Vec<String>) {
    let group = kind("openstack.security_group");
    let stub = cloud("security_group", json!({"id": "x1", "security_group_rules": rows})).await;
    let setup = Setup::new(&stub.url);
    let observed = observed(group, &setup).await;
    let Plan::Update { fields } = plan(group, &observed, &wanted) else { panic!("it differs") };
    let target = target("openstack.security_group", "x1");
    let update = Update { target, spec: wanted, fields, observed };
    let outcome = super::super::update(group, setup.client(), &update).await;
    let changes = changes(&stub);
    (
        outcome,
        changes
            .iter()
            .map(|asked| format!("{} {} {}", asked.method, asked.path, asked.body))
            .collect(),
    )
}

#[tokio::test]
async fn a_rule_for_an_address_group_is_neither_deleted_nor_made_for_everybody() {
    let for_some = row("r1", 22, &json!({"remote_address_group_id": "ag1"}));
    let plain = |text: &str| json!({"protocol": "tcp", "port_range_min": 80, "port_range_max": 80, "description": text});
    let rows = vec![for_some.clone(), row("r2", 80, &json!({}))];
    let (outcome, changes) = rules_update(rows.clone(), json!({"rules": [plain("web")]})).await;
    outcome.unwrap();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert!(changes[0].starts_with("DELETE /network/v2.0/security-group-rules/r2"), "{changes:?}");
    assert!(
        changes[1].contains("\"port_range_min\":80") && !changes[1].contains("22"),
        "{changes:?}"
    );
    // An empty set removes the plain rule alone.
    let (outcome, changes) = rules_update(rows.clone(), json!({"rules": []})).await;
    outcome.unwrap();
    assert!(matches!(&changes[..], [one] if one.contains("/r2 ")), "{changes:?}");
    // What an earlier version imported of such a rule, with another description: a rule for everybody.
    let left = json!({"protocol": "tcp", "port_range_min": 22, "port_range_max": 22, "description": "ssh"});
    let (outcome, changes) = rules_update(rows, json!({"rules": [plain(""), left]})).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.code, "not_understood");
    assert!(failure.message.contains("remote_address_group_id"), "{failure}");
    assert!(changes.is_empty(), "{changes:?}");
}

#[test]
fn a_value_that_is_not_understood_is_not_taken_for_any() {
    let group = kind("openstack.security_group");
    for (name, value) in [
        ("ethertype", json!("0x4008")),
        ("direction", json!("both")),
        ("protocol", json!(["tcp", "udp"])),
        ("port_range_min", json!(-1)),
        ("remote_ip_prefix", json!("10.0.0.0-10.0.0.9")),
        ("future", json!(false)),
    ] {
        let rows =
            json!({"id": "x1", "security_group_rules": [row("r1", 22, &json!({ name: value }))]});
        assert_eq!(group.attributes(&rows)["rules"], json!([]), "{name}");
        let faults = check(group, &json!({"rules": [{ name: value }]})).unwrap_err();
        assert_eq!(faults[0].pointer, format!("/rules/0/{name}"));
    }
    let rows = json!({"id": "x1", "security_group_rules": [row("r1", 22, &json!({}))]});
    assert_eq!(
        group.attributes(&rows)["rules"].as_array().unwrap().len(),
        1,
        "a plain one is understood"
    );
}

#[test]
fn a_gateway_without_snat_keeps_it() {
    let router = kind("openstack.router");
    let row = |snat: bool| {
        json!({"id": "x1", "external_gateway_info": {
            "network_id": "n", "enable_snat": snat, "external_fixed_ips": [{"ip_address": "203.0.113.7"}],
        }})
    };
    let shown = |snat: bool| read_calls::object_from_row(router, &row(snat)).unwrap().attributes;
    assert_eq!(shown(true).get(UNMANAGED), None);
    assert_eq!(shown(false)[UNMANAGED]["external_gateway_info"][0]["enable_snat"], false);
}
