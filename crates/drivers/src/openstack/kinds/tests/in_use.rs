//! Obstacles outside: named, and waited for without end.

use super::*;

const SERVER: &str = "5e0d6a52-0000-4000-8000-000000000001";

/// A reply that refuses a deletion: status and body.
fn refusal(name: &str, message: &str) -> (u16, Value) {
    match name {
        "openstack.image" => (409, json!({"message": message, "code": "409", "title": "Conflict"})),
        "openstack.volume" | "openstack.snapshot" => {
            (400, json!({"badRequest": {"code": 400, "message": message}}))
        }
        _ => {
            let error = json!({"type": "ThingInUse", "message": message, "detail": ""});
            (409, json!({ "NeutronError": error }))
        }
    }
}

/// Everything that a foreign object uses, in all lists of the cloud, and one object of each kind.
fn world() -> Value {
    let settled = json!({
        "id": "x", "status": "available", "attachments": [{"server_id": SERVER}],
    });
    let foreign = json!({"id": "f", "name": "foreign", "snapshot_id": "x"});
    json!({
        "ports": [foreign], "snapshots": [foreign], "servers": [foreign], "volumes": [foreign],
        "floatingips": [foreign], "volume": settled, "snapshot": settled,
        "id": "x", "status": "active", "router": {"id": "x", "routes": []},
    })
}

#[tokio::test]
async fn a_deletion_that_a_foreign_object_blocks_waits_and_names_it() {
    for (name, message, expected) in [
        ("openstack.network", "in use", "port foreign (f) still uses it"),
        ("openstack.subnet", "in use", "port foreign (f) still uses it"),
        ("openstack.security_group", "in use", "port foreign (f) still uses it"),
        ("openstack.router", "in use", "floating IP foreign (f) still uses it"),
        ("openstack.volume", "Invalid volume: has snapshots", "snapshot foreign (f) still uses it"),
        ("openstack.snapshot", "Invalid snapshot: in use", "volume foreign (f) still uses it"),
        ("openstack.image", "it is in use", "server foreign (f) still uses it"),
    ] {
        let stub = stub(move |asked, _| {
            if asked.method == "DELETE" {
                let (status, body) = refusal(name, message);
                return Answer::json(status, body);
            }
            Answer::json(200, world())
        });
        let stub = stub.await;
        let setup = Setup::new(&stub.url);
        let failure = delete(kind(name), setup.client(), &target(name, "x")).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::InUseOutside, "{name}: {failure}");
        assert_eq!(failure.message, expected, "{name}");
        let known = obstacle(kind(name), setup.client(), &target(name, "x")).await.unwrap();
        let known = known.map(|known| (known.class, known.message));
        assert_eq!(known, Some((failure.class, failure.message)), "{name}: read as refused");
        let deletions = stub.asked("/").iter().filter(|asked| asked.method == "DELETE").count();
        assert_eq!(deletions, 1, "{name}: reading deletes nothing");
    }
}

#[tokio::test]
async fn a_project_with_content_waits_and_names_it() {
    let stub = stub(|asked, _| match asked.path.as_str() {
        path if path.contains("/projects/") => Answer::json(200, json!({"project": {"id": "x"}})),
        _ => Answer::json(200, world()),
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let name = "openstack.project";
    let failure = delete(kind(name), setup.client(), &target(name, "x")).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::InUseOutside, "{failure}");
    assert!(failure.message.contains("foreign (f)"), "{failure}");
    assert!(stub.asked("/").iter().all(|asked| asked.method != "DELETE"));
}

/// One change of a volume whose status is `status`, and which Cinder refuses in it.
async fn refused_change(status: &'static str) -> Failure {
    let stub = stub(move |asked, _| {
        if asked.method == "GET" {
            let volume = json!({"id": "x", "status": status, "size": 1});
            return Answer::json(200, json!({ "volume": volume }));
        }
        let message = "Invalid volume: Volume x status must be available to extend";
        Answer::json(400, json!({"badRequest": {"code": 400, "message": message}}))
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let change = Update {
        target: target("openstack.volume", "x"),
        spec: json!({"size": 2}),
        fields: vec!["/size".to_owned()],
        observed: Value::Null,
    };
    update(kind("openstack.volume"), setup.client(), &change).await.unwrap_err()
}

#[tokio::test]
async fn a_change_that_the_object_s_state_forbids_waits_until_that_ends() {
    assert_eq!(refused_change("in-use").await.class, ErrorClass::InUseOutside);
    assert_eq!(refused_change("backing-up").await.class, ErrorClass::Conflict, "it ends soon");
}

#[tokio::test]
async fn a_volume_that_another_server_has_is_waited_for() {
    for (status, class) in
        [("in-use", ErrorClass::InUseOutside), ("attaching", ErrorClass::Conflict)]
    {
        let stub = stub(move |asked, _| match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", _) => {
                let message = "Invalid input received: Invalid volume: volume is not available";
                Answer::json(400, json!({"badRequest": {"code": 400, "message": message}}))
            }
            (_, path) if path.contains("/volumes/") => {
                let attachments = json!([{"server_id": SERVER}]);
                let volume = json!({"id": "v", "status": status, "attachments": attachments});
                Answer::json(200, json!({ "volume": volume }))
            }
            _ => {
                let server = json!({
                    "id": "x", "status": "BUILD", "image": {"id": "i"},
                    "os-extended-volumes:volumes_attached": [],
                });
                Answer::json(200, json!({"server": server, "ports": [], "volumeAttachments": []}))
            }
        });
        let stub = stub.await;
        let setup = Setup::new(&stub.url);
        let change = Update {
            target: target("openstack.server", "x"),
            spec: json!({"volumes": ["v"]}),
            fields: vec!["/volumes".to_owned()],
            observed: Value::Null,
        };
        let failure = update(kind("openstack.server"), setup.client(), &change).await.unwrap_err();
        assert_eq!(failure.class, class, "{status}: {failure}");
    }
}
