//! The behaviour that all kinds share, against a stub: owner keys, proofs of absence, polling.

mod absence;
mod in_use;
mod lost_creation;
mod marks;
mod round_trip;
mod server_parts;
mod unmanaged_parts;
mod volume_stages;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use stateward_domain::failure::{Effect, ErrorClass};
use stateward_domain::id::{EntityId, ExternalId, Incarnation, KindName, OwnerKey};
use stateward_domain::ports::driver::{
    Create, ObjectRef, Observation, Outcome, Plan, Search, Update,
};
use uuid::Uuid;

use super::*;
use crate::openstack::owner_key;
use crate::openstack::testing::{Answer, Asked, Setup, stub};

fn key() -> OwnerKey {
    OwnerKey::new(EntityId(Uuid::from_u128(9)), Incarnation(2))
}

fn kind(name: &str) -> &'static dyn Kind {
    kind_of(&KindName::from(name)).unwrap()
}

fn create_request(name: &str, spec: Value) -> Create {
    Create { kind: KindName::from(name), owner_key: key(), spec }
}

fn target(name: &str, id: &str) -> ObjectRef {
    ObjectRef {
        kind: KindName::from(name),
        external_id: ExternalId(id.to_owned()),
        owner_key: key(),
    }
}

/// Resumes pending work until it is done, or fails.
async fn finish(
    kind: &dyn Kind,
    client: CallClient<'_>,
    outcome: Outcome,
) -> Result<Outcome, Failure> {
    let mut outcome = outcome;
    for _ in 0..20 {
        let Outcome::Pending { handle, .. } = &outcome else { return Ok(outcome) };
        outcome = resume(kind, client, PendingJob::from_handle(handle)?).await?;
    }
    panic!("it never ends: {outcome:?}")
}

fn steps(stub: &crate::openstack::testing::Stub, path: &str) -> Vec<String> {
    let asked = stub.asked(path);
    asked.iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
}

#[test]
fn an_object_is_ready_when_it_can_be_used() {
    for (name, attributes, expected) in [
        ("openstack.server", json!({"status": "ACTIVE", "task_state": null}), None),
        ("openstack.server", json!({"status": "VERIFY_RESIZE", "task_state": null}), None),
        ("openstack.server", json!({"status": "SHUTOFF", "task_state": null}), Some("SHUTOFF")),
        ("openstack.server", json!({"status": "PAUSED", "task_state": null}), Some("PAUSED")),
        ("openstack.server", json!({"status": "ERROR", "task_state": null}), Some("ERROR")),
        ("openstack.volume", json!({"status": "in-use"}), None),
        ("openstack.volume", json!({"status": "creating"}), Some("creating")),
        ("openstack.volume", json!({"status": "error"}), Some("error")),
        ("openstack.snapshot", json!({"status": "error_deleting"}), Some("error_deleting")),
        ("openstack.image", json!({"status": "active"}), None),
        ("openstack.image", json!({"status": "queued"}), Some("queued")),
        ("openstack.network", json!({"status": "ACTIVE"}), None),
        ("openstack.port", json!({"status": "DOWN"}), None),
        ("openstack.floating_ip", json!({"status": "ERROR"}), Some("ERROR")),
        ("openstack.keypair", json!({}), None),
    ] {
        let expected = expected.map(|status| format!("its status is {status}"));
        assert_eq!(kind(name).unready(&attributes), expected, "{name} {attributes}");
    }
}

#[test]
fn every_declaration_is_sound() {
    for kind in KINDS {
        let (meta, spec) = (kind.meta(), kind.meta().declare(SERVICE_TIMEOUT));
        let properties = spec.schema["properties"].as_object().unwrap();
        assert_eq!(spec.schema["title"], meta.name);
        let declared: Vec<_> = meta.fields.iter().map(|field| field.name).collect();
        for name in properties.keys() {
            assert!(declared.contains(&name.as_str()), "{}: {name} is never compared", meta.name);
        }
        assert_eq!(properties.len(), declared.len(), "{}: a field without schema", meta.name);
        assert!(spec.owner_key || spec.identity.is_some(), "{}: would leak", meta.name);
        assert!(!spec.settle.is_zero(), "{}", meta.name);
    }
}

#[tokio::test]
async fn the_mark_of_a_network_is_never_away() {
    let stub = stub(|_, _| Answer::json(201, json!({"network": {"id": "n1"}}))).await;
    let setup = Setup::new(&stub.url);
    let create = create_request("openstack.network", json!({"name": "a", "description": "mine"}));
    super::create(kind("openstack.network"), setup.client(), &create).await.unwrap();
    let mark = owner_key::encode(&key());
    assert_eq!(
        steps(&stub, "/network"),
        [
            "POST /network/v2.0/networks".to_owned(),
            format!("PUT /network/v2.0/networks/n1/tags/{mark}"),
            "PUT /network/v2.0/networks/n1".to_owned(),
        ]
    );
    let asked = stub.asked("/network");
    assert_eq!(asked[0].body["network"], json!({"name": "a", "description": mark}));
    assert_eq!(asked[2].body["network"], json!({"description": "mine"}));
    assert_eq!(*setup.control.recorded.lock().unwrap(), ["n1"]);
}

#[tokio::test]
async fn what_breaks_off_after_the_creation_is_named_and_partial() {
    let stub = stub(|asked, _| match asked.method.as_str() {
        "POST" => Answer::json(201, json!({"network": {"id": "n1"}})),
        _ => Answer::json(503, json!({"message": "x", "code": "503", "title": "x"})),
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let create = create_request("openstack.network", json!({"name": "a"}));
    let failure =
        super::create(kind("openstack.network"), setup.client(), &create).await.unwrap_err();
    assert_eq!(failure.effect, Effect::Partial);
    assert_eq!(*setup.control.recorded.lock().unwrap(), ["n1"], "it can be found again");
    let kind = kind("openstack.network");
    let row = json!({"id": "n1", "description": owner_key::encode(&key()), "tags": []});
    assert_eq!(kind.owner(&row), Some(key()), "also without its tag");
    assert_eq!(kind.attributes(&row)["description"], "", "the mark is none of the user's text");
}

#[tokio::test]
async fn a_search_believes_no_filter() {
    let stub = stub(|_, _| {
        let other = OwnerKey::new(EntityId(Uuid::from_u128(9)), Incarnation(1));
        Answer::json(
            200,
            json!({"volumes": [
                {"id": "v1", "metadata": {}},
                {"id": "v2", "metadata": {"managed_entity": owner_key::encode(&other)}},
                {"id": "v3", "metadata": {"managed_entity": owner_key::encode(&key())}},
            ]}),
        )
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let search = Search {
        kind: KindName::from("openstack.volume"),
        owner_key: key(),
        spec: json!({}),
        since: None,
    };
    let found = find(kind("openstack.volume"), setup.client(), &search).await.unwrap();
    let ids: Vec<_> = found.iter().map(|object| object.external_id.as_str()).collect();
    assert_eq!(ids, ["v3"]);
    let filter = &stub.asked("/volume")[0].path;
    assert!(
        filter.contains("managed_entity") && filter.contains(&owner_key::encode(&key())),
        "{filter}"
    );
}

#[tokio::test]
async fn a_cloud_that_refuses_the_filter_is_read_as_a_whole() {
    let stub = stub(|asked, _| {
        if asked.path.contains("metadata=") {
            let message = "Invalid filters metadata are found in query options.";
            return Answer::json(400, json!({"badRequest": {"code": 400, "message": message}}));
        }
        let metadata = json!({"managed_entity": owner_key::encode(&key())});
        Answer::json(200, json!({"volumes": [{"id": "v3", "metadata": metadata}]}))
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let rows = cinder::search(setup.client(), &["volumes", "detail"], "volumes", &key()).await;
    assert_eq!(rows.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deletion_that_is_in_the_way_of_an_entity_waits_for_that() {
    let owned = OwnerKey::new(EntityId(Uuid::from_u128(77)), Incarnation(1));
    let port = |tag: Option<OwnerKey>| {
        let tags: Vec<_> = tag.iter().map(owner_key::encode).collect();
        json!({"ports": [
            {"id": "dhcp", "device_owner": "network:dhcp"},
            {"id": "p1", "device_owner": "", "tags": tags},
        ]})
    };
    for (tag, class) in [
        (Some(owned), ErrorClass::DependencyNotReady { on: EntityId(Uuid::from_u128(77)) }),
        (None, ErrorClass::InUseOutside),
    ] {
        let stub = stub(move |asked, _| {
            if asked.method == "GET" {
                return Answer::json(200, port(tag.clone()));
            }
            let error = json!({"type": "NetworkInUse", "message": "in use", "detail": ""});
            Answer::json(409, json!({ "NeutronError": error }))
        });
        let stub = stub.await;
        let setup = Setup::new(&stub.url);
        let target = target("openstack.network", "n1");
        let failure = delete(kind("openstack.network"), setup.client(), &target).await.unwrap_err();
        assert_eq!(failure.class, class);
        assert_eq!(failure.message, "port p1 still uses it");
    }
}

#[tokio::test]
async fn a_router_waits_for_the_floating_ip_that_leads_through_it() {
    let on = EntityId(Uuid::from_u128(78));
    let mark = owner_key::encode(&OwnerKey::new(on, Incarnation(1)));
    let stub = stub(move |asked, _| {
        if asked.path.contains("/floatingips?router_id=r1") {
            return Answer::json(200, json!({"floatingips": [{"id": "f1", "tags": [mark]}]}));
        }
        if asked.path.contains("/ports?") {
            let port =
                json!({"id": "p1", "device_owner": "network:router_interface", "fixed_ips": []});
            return Answer::json(200, json!({ "ports": [port] }));
        }
        if asked.method == "GET" {
            return Answer::json(200, json!({"router": {"id": "r1", "routes": []}}));
        }
        let error = json!({
            "type": "RouterInterfaceInUseByFloatingIP", "message": "required by one or more", "detail": "",
        });
        Answer::json(409, json!({ "NeutronError": error }))
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let target = target("openstack.router", "r1");
    let failure = delete(kind("openstack.router"), setup.client(), &target).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::DependencyNotReady { on });
    assert_eq!(failure.message, "floating IP f1 still uses it");
}

#[tokio::test]
async fn a_missing_reference_is_not_a_missing_object() {
    let stub = stub(|_, _| {
        let error = json!({"type": "NetworkNotFound", "message": "Network x", "detail": ""});
        Answer::json(404, json!({ "NeutronError": error }))
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let network = "9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d4";
    let create = create_request("openstack.port", json!({"network_id": network}));
    let failure = super::create(kind("openstack.port"), setup.client(), &create).await.unwrap_err();
    assert_eq!((failure.class, failure.effect), (ErrorClass::Invalid, Effect::None));
}

#[test]
fn what_the_cloud_works_on_is_never_as_desired_and_never_compared() {
    let spec = json!({"name": "a", "flavorRef": "m1.tiny", "networks": [{"port": "p"}]});
    let building = json!({"status": "BUILD", "task_state": "spawning", "name": "a"});
    let update = Plan::Update { fields: vec!["/status".to_owned()] };
    assert_eq!(plan(kind("openstack.server"), &building, &spec), update);
}

#[test]
fn a_mark_that_hangs_on_parts_of_a_backup_is_none_of_a_snapshot() {
    let part = json!({"id": "s1", "metadata": {
        "managed_entity": owner_key::encode(&key()), "managed_server": "x",
    }});
    assert!(!kind("openstack.snapshot").is_top_level(&part));
    assert!(kind("openstack.snapshot").is_top_level(&json!({"id": "s2", "metadata": {}})));
}

#[tokio::test]
async fn a_volume_that_is_never_let_go_is_taken_back() {
    let stub = stub(|asked, _| {
        if asked.path.ends_with("os-volume_attachments") {
            let attached = json!([{"volumeId": "v1"}, {"volumeId": "v2"}]);
            return Answer::json(200, json!({ "volumeAttachments": attached }));
        }
        let old = asked.path.ends_with("v1");
        let touched = if old { "2026-11-25T03:00:00.0" } else { "2026-11-25T03:55:00.0" };
        let row = json!({"id": "v", "status": "detaching", "updated_at": touched});
        let echo = ("OpenStack-API-Version", "volume 3.59".to_owned());
        let date = ("Date", "Wed, 25 Nov 2026 04:00:00 GMT".to_owned());
        Answer::Reply(200, vec![echo, date], json!({ "volume": row }).to_string())
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    assert!(nova::volumes_move(setup.client(), "s1").await.unwrap(), "v2 may still go");
    let changes: Vec<_> =
        steps(&stub, "/volume").into_iter().filter(|step| !step.starts_with("GET")).collect();
    assert_eq!(changes, ["POST /volume/v3/p1/volumes/v1/action"]);
}
