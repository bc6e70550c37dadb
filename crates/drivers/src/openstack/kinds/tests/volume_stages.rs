//! Work on a volume from its request to its end: polled, failed, cleaned up.

use super::*;

/// A volume with these `statuses`, one for each GET; a DELETE removes it.
fn volume(statuses: &'static [&'static str]) -> impl Fn(&Asked, usize) -> Answer {
    let gone = AtomicBool::new(false);
    move |asked, before| match asked.method.as_str() {
        "GET" if asked.path.contains("/messages") => Answer::json(
            200,
            json!({"messages": [
                {"resource_uuid": "v1", "user_message": "schedule allocate volume: no room"},
            ]}),
        ),
        "GET" if gone.load(Ordering::SeqCst) => {
            let message = "Volume v1 could not be found.";
            Answer::json(404, json!({"itemNotFound": {"code": 404, "message": message}}))
        }
        "GET" => {
            let status = statuses[before.min(statuses.len() - 1)];
            Answer::json(200, json!({"volume": {"id": "v1", "status": status, "size": 1}}))
        }
        "DELETE" => {
            gone.store(true, Ordering::SeqCst);
            Answer::json(202, Value::Null)
        }
        _ => Answer::json(202, json!({"volume": {"id": "v1", "status": "creating"}})),
    }
}

#[tokio::test]
async fn a_creation_is_done_when_the_cloud_says_so() {
    let stub = stub(volume(&["creating", "downloading", "available"])).await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.volume");
    let create = create_request("openstack.volume", json!({"size": 1, "metadata": {"a": "1"}}));
    let outcome = super::super::create(kind, setup.client(), &create).await.unwrap();
    assert!(matches!(outcome, Outcome::Pending { .. }), "{outcome:?}");
    let done = finish(kind, setup.client(), outcome).await.unwrap();
    assert!(matches!(done, Outcome::Done { external_id: Some(id), .. } if id.as_str() == "v1"));
    assert_eq!(
        stub.asked("/volume")[0].body["volume"]["metadata"],
        json!({"a": "1", "managed_entity": owner_key::encode(&key())})
    );
    assert_eq!(stub.asked("/volume/v3/p1/volumes/v1").len(), 3);
}

#[tokio::test]
async fn what_failed_while_it_was_made_is_removed_and_may_be_made_again() {
    let stub = stub(volume(&["creating", "error"])).await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.volume");
    let create = create_request("openstack.volume", json!({"size": 1}));
    let outcome = super::super::create(kind, setup.client(), &create).await.unwrap();
    let failure = finish(kind, setup.client(), outcome).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::Transient);
    assert!(failure.message.contains("no room"), "{failure}");
    assert!(steps(&stub, "/volume").iter().any(|step| step.starts_with("DELETE")));
    // A caller that missed this failure gets the reason when it polls again.
    let job = PendingJob::new("openstack.volume", "v1", &key(), pending_job::Phase::Create);
    let failure = resume(kind, setup.client(), job).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::NotFound);
    assert!(failure.message.contains("no room"), "{failure}");
}

#[tokio::test]
async fn what_failed_later_is_never_removed() {
    let stub = stub(volume(&["error"])).await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.volume");
    let observed = json!({"status": "error", "size": 1});
    let Plan::Update { fields } = plan(kind, &observed, &json!({"size": 1})) else {
        panic!("an error is not as desired")
    };
    let update = Update {
        target: target("openstack.volume", "v1"),
        spec: json!({"size": 1}),
        fields,
        observed,
    };
    let failure = super::super::update(kind, setup.client(), &update).await.unwrap_err();
    assert_eq!(failure.class, ErrorClass::Invalid);
    assert!(steps(&stub, "/volume").iter().all(|step| step.starts_with("GET")));
}

#[tokio::test]
async fn a_deletion_waits_until_it_is_allowed_and_until_it_is_done() {
    let stuck = Arc::new(AtomicBool::new(true));
    let inner = volume(&["creating", "creating", "available", "deleting"]);
    let still = stuck.clone();
    let stub = stub(move |asked, before| {
        if asked.method == "DELETE" && before == 0 {
            let message = "Invalid volume: Volume status must be available or error";
            still.store(false, Ordering::SeqCst);
            return Answer::json(400, json!({"badRequest": {"code": 400, "message": message}}));
        }
        inner(asked, before)
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let kind = kind("openstack.volume");
    let outcome = delete(kind, setup.client(), &target("openstack.volume", "v1")).await.unwrap();
    let done = finish(kind, setup.client(), outcome).await.unwrap();
    assert!(matches!(done, Outcome::Done { external_id: None, .. }), "{done:?}");
    assert!(!stuck.load(Ordering::SeqCst));
}
