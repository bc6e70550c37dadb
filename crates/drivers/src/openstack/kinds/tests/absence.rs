//! Proofs of absence, for every kind.

use super::*;
use crate::openstack::service::Service;

#[tokio::test]
async fn only_the_service_s_own_word_proves_absence() {
    let own = json!({"itemNotFound": {"code": 404, "message": "Volume v1 could not be found."}});
    let other = json!({"itemNotFound": {"code": 404, "message": "Volume v10 could not be found."}});
    let denied = json!({"forbidden": {"code": 403, "message": "Policy"}});
    for (status, body, expected) in [
        (404, own.to_string(), "absent"),
        (404, other.to_string(), "unknown"),
        (404, "<html>no such page</html>".to_owned(), "failure"),
        (403, denied.to_string(), "failure"),
        (500, "{}".to_owned(), "failure"),
        (503, "{}".to_owned(), "failure"),
        (200, json!({"volume": {"id": "another"}}).to_string(), "failure"),
    ] {
        let reply = body.clone();
        let stub = stub(move |_, _| {
            let echo = ("OpenStack-API-Version", "volume 3.59".to_owned());
            Answer::Reply(status, vec![echo], reply.clone())
        });
        let stub = stub.await;
        let setup = Setup::new(&stub.url);
        let target = target("openstack.volume", "v1");
        let seen = match observe(kind("openstack.volume"), setup.client(), &target).await {
            Ok(Observation::Present(_)) => "present",
            Ok(Observation::Absent { .. }) => "absent",
            Ok(Observation::Unknown { .. }) => "unknown",
            Err(_) => "failure",
        };
        assert_eq!(seen, expected, "{status} {body}");
    }
}

/// The error body of each service for a missing `id`.
fn denial(service: Service, id: &str) -> Value {
    let message = format!("Thing {id} could not be found.");
    match service {
        Service::Network => {
            json!({"NeutronError": {"type": "ThingNotFound", "message": message, "detail": ""}})
        }
        Service::Identity => {
            json!({"error": {"code": 404, "title": "Not Found", "message": message}})
        }
        Service::Image => {
            json!({"message": message, "code": "404 Not Found", "title": "Not Found"})
        }
        Service::Compute | Service::Volume => {
            json!({"itemNotFound": {"code": 404, "message": message}})
        }
    }
}

/// Whether an observation, and a poll of a pending deletion, accept a 404 with `body` as a proof of absence.
async fn believed(kind: &dyn Kind, id: &str, body: String) -> [bool; 2] {
    let stub = stub(move |_, _| {
        let echo = ("OpenStack-API-Version", "compute 2.79, volume 3.59".to_owned());
        let volume = ("OpenStack-API-Version", "volume 3.59".to_owned());
        Answer::Reply(404, vec![echo, volume], body.clone())
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let name = kind.meta().name;
    let seen = observe(kind, setup.client(), &target(name, id)).await;
    let job = PendingJob::new(name, id, &key(), pending_job::Phase::Delete);
    let ended = resume(kind, setup.client(), job).await;
    [matches!(seen, Ok(Observation::Absent { .. })), matches!(ended, Ok(Outcome::Done { .. }))]
}

#[tokio::test]
async fn no_404_but_the_service_s_own_of_this_id_proves_the_absence_of_any_kind() {
    for kind in KINDS {
        let (name, service) = (kind.meta().name, kind.meta().service);
        let id =
            if name == "openstack.backup" { owner_key::encode(&key()) } else { "x1".to_owned() };
        for stranger in [
            "<html><h1>404 Not Found</h1></html>".to_owned(),
            json!({"message": "no Route matched with those values"}).to_string(),
            json!({"detail": "Not Found"}).to_string(),
            json!({"error": "not_found"}).to_string(),
            json!({"error": {"code": 404, "message": "Not Found"}}).to_string(),
            denial(service, "x12").to_string(),
            denial(service, &id).to_string().replace(&format!("Thing {id}"), "The resource"),
        ] {
            assert_eq!(
                believed(*kind, &id, stranger.clone()).await,
                [false; 2],
                "{name} {stranger}"
            );
        }
        // A backup consists of snapshots: a list proves its absence.
        if name != "openstack.backup" {
            let own = denial(service, &id).to_string();
            assert_eq!(believed(*kind, &id, own.clone()).await, [true; 2], "{name} {own}");
        }
    }
}
