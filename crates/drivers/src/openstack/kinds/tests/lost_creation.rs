//! Creations whose reply comes after the caller gave up, for every kind.

use std::time::Duration;

use super::*;

const ID: &str = "9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d4";

/// A desired state of each kind; ids are used as they are.
fn desired(name: &str) -> Value {
    match name.strip_prefix("openstack.").unwrap() {
        "network" | "router" | "security_group" | "project" => json!({"name": "x"}),
        "subnet" => json!({"network_id": ID, "cidr": "10.0.0.0/24"}),
        "port" => json!({"network_id": ID}),
        "floating_ip" => json!({"floating_network_id": ID}),
        "volume" => json!({"name": "x", "size": 1}),
        "snapshot" => json!({"name": "x", "volume_id": ID}),
        "keypair" => json!({"name": "x", "public_key": "ssh-ed25519 A"}),
        "server_group" => json!({"name": "x", "policy": "affinity"}),
        "image" => json!({"name": "x", "disk_format": "raw", "container_format": "bare"}),
        "server" => json!({"name": "x", "flavorRef": "f", "imageRef": ID, "networks": "none"}),
        "backup" => json!({"name": "x", "server_id": ID}),
        other => panic!("{other} has no desired state here"),
    }
}

/// Everything that a creation reads before it sends its request.
fn lists() -> Value {
    json!({
        "flavors": [{"id": "f", "name": "f"}], "volumeAttachments": [{"volumeId": ID}],
        "snapshots": [], "os-server-groups": [], "networks": [{"id": ID, "name": "n"}],
    })
}

#[tokio::test]
async fn a_creation_that_is_answered_too_late_is_in_doubt_for_every_kind() {
    for kind in KINDS {
        let name = kind.meta().name;
        let stub = stub(|asked, _| match asked.method.as_str() {
            "GET" => Answer::json(200, lists()),
            _ => Answer::Never,
        });
        let stub = stub.await;
        let setup = Setup::new(&stub.url);
        setup.control.leave(Duration::from_millis(600));
        let asked = create_request(name, desired(name));
        let failure = create(*kind, setup.client(), &asked).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Ambiguous, "{name}: {failure}");
        assert_ne!(failure.effect, Effect::None, "{name}: it may have been carried out");
        let sent = stub.asked("/").into_iter().filter(|asked| asked.method != "GET").count();
        assert_eq!(sent, 2, "{name}: the login and one request");
    }
}

#[test]
fn a_lost_creation_settles_with_the_time_out_of_the_services() {
    let (usual, longer) = (Duration::from_mins(1), Duration::from_mins(3));
    assert!(kinds().iter().all(|spec| spec.settle == usual));
    assert!(kinds_of(longer).iter().all(|spec| spec.settle == longer));
}

#[tokio::test]
async fn a_backup_does_not_ask_again_for_a_part_that_may_still_come() {
    let mark = owner_key::encode(&key());
    let part = json!({
        "id": "s1", "volume_id": "v1", "status": "available", "name": "x",
        "metadata": {"managed_server": ID, "managed_parts": "2", "managed_entity": mark},
    });
    let stub = stub(move |asked, _| match asked.method.as_str() {
        "GET" if asked.path.contains("os-volume_attachments") => {
            let rows = json!([{"volumeId": "v1"}, {"volumeId": "v2"}]);
            Answer::json(200, json!({"volumeAttachments": rows}))
        }
        "GET" => Answer::json(200, json!({"snapshots": [part]})),
        _ => Answer::json(202, json!({"snapshot": {"id": "s2"}})),
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.backup");
    let resume = Update {
        target: target("openstack.backup", &owner_key::encode(&key())),
        spec: json!({"name": "x", "server_id": ID}),
        fields: vec!["/status".to_owned()],
        observed: Value::Null,
    };
    let posts = || stub.asked("/volume").iter().filter(|asked| asked.method == "POST").count();
    update(kind, setup.client(), &resume).await.unwrap();
    assert_eq!(posts(), 0, "the process before may have asked for it");
    setup.clock.advance(Duration::from_mins(1));
    update(kind, setup.client(), &resume).await.unwrap();
    assert_eq!(posts(), 1);
}

#[tokio::test]
async fn a_router_is_made_without_its_gateway_and_gets_it_by_a_request_that_may_be_repeated() {
    let stub = stub(|asked, _| match asked.method.as_str() {
        "GET" => Answer::json(200, json!({"ports": []})),
        _ => Answer::json(201, json!({"router": {"id": "r1"}})),
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let gateway = json!({ "network_id": ID });
    let spec = json!({"name": "x", "external_gateway_info": gateway});
    let asked = create_request("openstack.router", spec);
    create(kind("openstack.router"), setup.client(), &asked).await.unwrap();
    let bodies: Vec<_> = stub.asked("/network").into_iter().map(|asked| asked.body).collect();
    assert_eq!(bodies[0]["router"].get("external_gateway_info"), None);
    let later = |body: &Value| body["router"]["external_gateway_info"] == gateway;
    assert!(bodies[1..].iter().any(later), "{bodies:?}");
}
