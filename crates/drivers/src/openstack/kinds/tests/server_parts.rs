//! Parts of servers that move while the server rests: NICs and volumes.

use std::sync::Mutex;
use std::time::Duration;

use super::*;
use crate::openstack::testing::Stub;

const NET: &str = "9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d4";

/// A server that was last changed long ago, with these ports; NICs are plugged in at once, and unplugged at `releases`.
async fn server(ports: &[&str], releases: Arc<AtomicBool>) -> Stub {
    let ports: Vec<String> = ports.iter().map(|&port| port.to_owned()).collect();
    let ports = Mutex::new(ports);
    let going = Mutex::new(Vec::new());
    stub(move |asked, _| {
        let mut ports = ports.lock().unwrap();
        match (asked.method.as_str(), asked.path.rsplit('/').next().unwrap_or_default()) {
            ("POST", "os-interface") => {
                let port = asked.body["interfaceAttachment"]["port_id"].as_str();
                ports.push(port.unwrap_or("made").to_owned());
            }
            ("DELETE", port) => going.lock().unwrap().push(port.to_owned()),
            _ => {}
        }
        if releases.load(Ordering::SeqCst) {
            let mut going = going.lock().unwrap();
            ports.retain(|port| !going.contains(port));
            going.clear();
        }
        let row =
            |port: &String| json!({"id": port, "network_id": NET, "device_owner": "compute:nova"});
        Answer::json(
            200,
            json!({
                "server": {
                    "id": "s1", "status": "ACTIVE", "updated": "2020-01-01T00:00:00Z",
                    "image": {"id": "i"}, "flavor": {"original_name": "f"},
                    "os-extended-volumes:volumes_attached": [],
                },
                "ports": ports.iter().map(row).collect::<Vec<_>>(), "volumeAttachments": [],
                "flavors": [{"id": "f", "name": "f"}],
            }),
        )
    })
    .await
}

/// The change to `networks` of a server on which `ports` were observed.
fn nics(networks: Value, ports: &[&str]) -> Update {
    let ports: Vec<_> = ports.iter().map(|port| json!({"port": port, "uuid": NET})).collect();
    Update {
        target: target("openstack.server", "s1"),
        spec: json!({ "networks": networks }),
        fields: vec!["/networks".to_owned()],
        observed: json!({ "networks": ports }),
    }
}

fn changes(stub: &Stub) -> Vec<String> {
    let steps = steps(stub, "/compute").into_iter().filter(|step| !step.starts_with("GET"));
    steps.map(|step| step.replace("/compute/v2.1/servers/s1/", "")).collect()
}

#[test]
fn other_nics_never_replace_a_server() {
    let observed = json!({
        "status": "ACTIVE", "task_state": null,
        "networks": [{"port": "p", "uuid": NET}, {"port": "q", "uuid": NET}],
    });
    for wanted in [json!([{"port": "p"}]), json!([{"port": "r"}]), json!("none")] {
        let plan = plan(kind("openstack.server"), &observed, &json!({ "networks": wanted }));
        assert_eq!(plan, Plan::Update { fields: vec!["/networks".to_owned()] }, "{wanted}");
    }
}

#[tokio::test]
async fn nics_are_plugged_in_and_unplugged_in_place() {
    let releases = Arc::new(AtomicBool::new(false));
    let stub = server(&["p", "q"], releases.clone()).await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.server");
    let asked = nics(json!([{"port": "p"}, {"port": "r"}]), &["p", "q"]);
    let mut outcome = update(kind, setup.client(), &asked).await.unwrap();
    assert_eq!(changes(&stub), ["POST os-interface", "DELETE os-interface/q"]);
    // Though the server itself was last changed years ago.
    for _ in 0..2 {
        let Outcome::Pending { handle, .. } = &outcome else { panic!("{outcome:?}") };
        let job = PendingJob::from_handle(handle).unwrap();
        outcome = resume(kind, setup.client(), job).await.unwrap();
        assert!(matches!(outcome, Outcome::Pending { .. }), "it is still there");
    }
    releases.store(true, Ordering::SeqCst);
    let done = finish(kind, setup.client(), outcome).await.unwrap();
    assert!(matches!(done, Outcome::Done { .. }), "{done:?}");
    assert_eq!(changes(&stub).len(), 2, "each once");
}

#[tokio::test]
async fn a_guest_that_keeps_a_nic_is_not_waited_for_without_end() {
    let stub = server(&["p"], Arc::new(AtomicBool::new(false))).await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.server");
    let outcome = update(kind, setup.client(), &nics(json!("none"), &["p"])).await.unwrap();
    setup.clock.advance(Duration::from_mins(2));
    let done = finish(kind, setup.client(), outcome).await.unwrap();
    assert!(matches!(done, Outcome::Done { .. }), "the next observation shows it");
}

#[tokio::test]
async fn a_nic_in_a_network_is_not_asked_for_twice_while_the_first_request_may_run() {
    let stub = server(&[], Arc::new(AtomicBool::new(true))).await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.server");
    let outcome = update(kind, setup.client(), &nics(json!([{"uuid": NET}]), &[])).await.unwrap();
    assert!(changes(&stub).is_empty(), "the process before may have asked for it");
    setup.clock.advance(Duration::from_mins(1));
    let done = finish(kind, setup.client(), outcome).await.unwrap();
    assert!(matches!(done, Outcome::Done { .. }), "{done:?}");
    assert_eq!(changes(&stub), ["POST os-interface"]);
}

#[tokio::test]
async fn a_nic_that_was_plugged_in_after_the_observation_stays() {
    let stub = server(&["p", "q", "later"], Arc::new(AtomicBool::new(true))).await;
    let setup = Setup::new(&stub.url);
    let asked = nics(json!([{"port": "p"}]), &["p", "q"]);
    update(kind("openstack.server"), setup.client(), &asked).await.unwrap();
    assert_eq!(changes(&stub), ["DELETE os-interface/q"]);
}

#[tokio::test]
async fn a_nic_that_was_plugged_in_while_the_change_waited_stays() {
    let stub = server(&["p", "later"], Arc::new(AtomicBool::new(true))).await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.server");
    let other = "9b4ee8a4-0b0e-4f3e-a3c4-0a4b0f7ad1d5";
    let asked = nics(json!([{"uuid": other}]), &["p"]);
    let outcome = update(kind, setup.client(), &asked).await.unwrap();
    assert!(changes(&stub).is_empty(), "the process before may have asked for it");
    setup.clock.advance(Duration::from_mins(1));
    finish(kind, setup.client(), outcome).await.unwrap();
    assert_eq!(changes(&stub), ["POST os-interface", "DELETE os-interface/p"]);
}

#[tokio::test]
async fn a_volume_that_was_attached_after_the_observation_stays() {
    let stub = stub(|_, _| Answer::json(200, json!({}))).await;
    let setup = Setup::new(&stub.url);
    let attached = ["a", "b", "later"].map(|id| json!({ "id": id }));
    let row = json!({
        "id": "s1", "image": {"id": "i"}, "os-extended-volumes:volumes_attached": attached,
    });
    let (wanted, observed) = (json!(["a"]), json!(["a", "b"]));
    nova::set_volumes(setup.client(), &row, &wanted, &observed).await.unwrap();
    assert_eq!(changes(&stub), ["DELETE os-volume_attachments/b"]);
}

#[tokio::test]
async fn a_router_interface_that_was_added_after_the_observation_stays() {
    let stub = stub(|_, _| {
        let port = |id: &str, subnet: &str| {
            json!({"id": id, "device_owner": "network:router_interface",
                "fixed_ips": [{"subnet_id": subnet}]})
        };
        let ports = json!([port("p", "s"), port("q", "t"), port("later", "u")]);
        Answer::json(200, json!({ "ports": ports }))
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let asked = Update {
        target: target("openstack.router", "r1"),
        spec: json!({"interfaces": [{"subnet_id": "s"}]}),
        fields: vec!["/interfaces".to_owned()],
        observed: json!({"interfaces": [
            {"port_id": "p", "subnet_id": "s"}, {"port_id": "q", "subnet_id": "t"},
        ]}),
    };
    update(kind("openstack.router"), setup.client(), &asked).await.unwrap();
    let removed: Vec<_> =
        stub.asked("/network").into_iter().filter(|asked| asked.method != "GET").collect();
    let [one] = &removed[..] else { panic!("{} changes", removed.len()) };
    assert_eq!(one.body, json!({"port_id": "q"}));
}

#[tokio::test]
async fn an_address_that_was_added_after_the_observation_is_not_dropped() {
    let address = |ip: &str| json!({"subnet_id": "s", "ip_address": ip});
    let there = json!([address("10.0.0.5"), address("10.0.0.9")]);
    let stub =
        stub(move |_, _| Answer::json(200, json!({"port": {"id": "p1", "fixed_ips": there}})));
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    for (seen, class) in [
        (json!([address("10.0.0.5")]), Some(ErrorClass::Conflict)),
        (json!([address("10.0.0.9"), address("10.0.0.5")]), None),
    ] {
        let asked = Update {
            target: target("openstack.port", "p1"),
            spec: json!({"fixed_ips": [address("10.0.0.6")]}),
            fields: vec!["/fixed_ips".to_owned()],
            observed: json!({ "fixed_ips": seen }),
        };
        let outcome = update(kind("openstack.port"), setup.client(), &asked).await;
        assert_eq!(outcome.err().map(|failure| failure.class), class, "{seen}");
        let wrote = steps(&stub, "/network").iter().any(|step| step.starts_with("PUT"));
        assert_eq!(wrote, class.is_none(), "{seen}");
    }
}
