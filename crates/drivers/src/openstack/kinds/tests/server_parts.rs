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

fn nics(networks: Value) -> Update {
    Update {
        target: target("openstack.server", "s1"),
        spec: json!({ "networks": networks }),
        fields: vec!["/networks".to_owned()],
        observed: Value::Null,
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
    let asked = nics(json!([{"port": "p"}, {"port": "r"}]));
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
    let outcome = update(kind, setup.client(), &nics(json!("none"))).await.unwrap();
    setup.clock.advance(Duration::from_mins(2));
    let done = finish(kind, setup.client(), outcome).await.unwrap();
    assert!(matches!(done, Outcome::Done { .. }), "the next observation shows it");
}

#[tokio::test]
async fn a_nic_in_a_network_is_not_asked_for_twice_while_the_first_request_may_run() {
    let stub = server(&[], Arc::new(AtomicBool::new(true))).await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.server");
    let outcome = update(kind, setup.client(), &nics(json!([{"uuid": NET}]))).await.unwrap();
    assert!(changes(&stub).is_empty(), "the process before may have asked for it");
    setup.clock.advance(Duration::from_mins(1));
    let done = finish(kind, setup.client(), outcome).await.unwrap();
    assert!(matches!(done, Outcome::Done { .. }), "{done:?}");
    assert_eq!(changes(&stub), ["POST os-interface"]);
}
