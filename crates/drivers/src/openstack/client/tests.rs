//! The client against a stub: requests sent, retries, and the classification of every failure.

mod token_life;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::time::ManualClock;
use tokio::sync::Notify;

use super::*;
use crate::openstack::service::Service;
use crate::openstack::testing::{Answer, Asked, LOGIN, Setup, Stub, login, stub};

impl Setup {
    async fn get(&self, service: Service) -> Result<Value, Failure> {
        let request = Request::get(service, &["things", "1"]);
        Ok(self.client().send(request).await.map(|reply| reply.body)?)
    }

    async fn post(&self, service: Service) -> Failure {
        let request = Request::post(service, &["things"], json!({"secret": "hush"}));
        self.client().send(request).await.err().expect("a failure").into()
    }
}

fn ok(_: &Asked, _: usize) -> Answer {
    Answer::json(200, json!({"fine": true}))
}

#[tokio::test]
async fn a_request_carries_token_version_and_what_it_accepts() {
    let stub = stub(ok).await;
    let setup = Setup::new(&stub.url);
    for service in [Service::Compute, Service::Volume, Service::Network, Service::Image] {
        setup.get(service).await.unwrap();
    }
    let login = &stub.asked(LOGIN)[0].body["auth"];
    assert_eq!(login["identity"]["password"]["user"]["password"], "hush");
    assert_eq!(login["scope"]["project"], json!({"name": "p", "domain": {"id": "default"}}));
    let path = |start: &str| stub.asked(start)[0].path.clone();
    assert_eq!(path("/volume"), "/volume/v3/p1/things/1");
    assert_eq!(
        path("/network"),
        "/network/v2.0/things/1",
        "the version that the catalogue left out"
    );
    assert_eq!(path("/image"), "/image/v2/things/1");
    let asked = &stub.asked("/compute/v2.1/things/1")[0];
    assert_eq!(asked.headers["openstack-api-version"], "compute 2.79");
    assert_eq!(asked.headers["accept"], "application/json");
    assert_eq!(asked.headers["x-auth-token"], "token-1");
    assert!(asked.headers["x-openstack-request-id"].starts_with("req-"));
    assert_eq!(stub.logins(), 1);
}

#[tokio::test]
async fn an_application_credential_names_no_project() {
    let stub = stub(ok).await;
    let settings = json!({
        "auth_url": stub.url, "application_credential_id": "c1",
        "application_credential_secret": "hush",
    });
    let Value::Object(settings) = settings else { unreachable!("an object") };
    Setup::with(&settings).get(Service::Network).await.unwrap();
    let auth = &stub.asked(LOGIN)[0].body["auth"];
    assert_eq!(auth["identity"]["application_credential"], json!({"id": "c1", "secret": "hush"}));
    assert!(auth.get("scope").is_none());
}

#[tokio::test]
async fn many_who_need_a_token_log_in_once() {
    let stub = stub(ok).await;
    let setup = Setup::new(&stub.url);
    let all = join_all((0..20).map(|_| setup.get(Service::Network))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(stub.logins(), 1);
}

#[tokio::test]
async fn many_who_wait_for_a_login_that_fails_share_its_failure() {
    let stub = Stub::new(|_, _| Answer::json(401, json!({"error": {"code": 401, "message": "x"}})));
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let all = join_all((0..20).map(|_| setup.get(Service::Network))).await;
    assert!(all.iter().all(|one| {
        one.as_ref().is_err_and(|failure| failure.class == ErrorClass::Unauthorized)
    }));
    assert_eq!(stub.logins(), 1);
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_repeated_once() {
    let once = stub(|asked, before| match before {
        0 => Answer::json(401, json!({"error": {"code": 401, "message": "expired"}})),
        _ => ok(asked, before),
    });
    let once = once.await;
    Setup::new(&once.url).get(Service::Network).await.unwrap();
    assert_eq!((once.logins(), once.asked("/network").len()), (2, 2));

    let always = stub(|_, _| Answer::json(401, json!({"error": {"code": 401, "message": "no"}})));
    let always = always.await;
    let failure = Setup::new(&always.url).post(Service::Network).await;
    // Keystone just issued the token, so the service could not check it.
    assert_eq!((failure.class, failure.effect), (ErrorClass::Transient, Effect::None));
    assert_eq!((always.logins(), always.asked("/network").len()), (2, 2));
}

#[tokio::test]
async fn only_keystone_itself_parks_the_backend() {
    let refuses = Stub::new(|_, _| Answer::json(401, Value::Null)).await;
    let failure = Setup::new(&refuses.url).post(Service::Network).await;
    assert_eq!((failure.class, failure.effect), (ErrorClass::Unauthorized, Effect::None));
    for status in [429, 500, 503] {
        let ill = Stub::new(move |_, _| Answer::json(status, Value::Null)).await;
        let failure = Setup::new(&ill.url).post(Service::Network).await;
        assert_eq!(failure.class, ErrorClass::Transient, "{status}");
    }
    let other = Stub::new(|_, _| Answer::json(404, Value::Null)).await;
    let failure = Setup::new(&other.url).post(Service::Network).await;
    assert_eq!(failure.class, ErrorClass::Misconfigured);
    let failure = Setup::new("http://127.0.0.1:1").post(Service::Network).await;
    assert_eq!((failure.class, failure.effect), (ErrorClass::Transient, Effect::None));
}

#[tokio::test]
async fn a_change_without_reply_is_ambiguous_and_never_sent_again() {
    let stub = stub(|_, _| Answer::Never).await;
    let setup = Setup::new(&stub.url);
    setup.control.leave(Duration::from_millis(600));
    let failure = setup.post(Service::Volume).await;
    assert_eq!((failure.class, failure.effect), (ErrorClass::Ambiguous, Effect::Maybe));
    let asked = stub.asked("/volume");
    assert_eq!(asked.len(), 1);
    let sent = &asked[0].headers["x-openstack-request-id"];
    assert!(failure.message.contains(sent.as_str()), "what to search for: {}", failure.message);
    setup.control.leave(Duration::from_millis(600));
    let failure = setup.get(Service::Volume).await.unwrap_err();
    assert_eq!((failure.class, failure.effect), (ErrorClass::Transient, Effect::None));
}

#[tokio::test]
async fn a_request_is_not_given_up_while_its_lease_is_renewed() {
    let answers = Arc::new(Notify::new());
    let held = Arc::clone(&answers);
    let stub =
        stub(move |_, _| Answer::Once(Arc::clone(&held), Box::new(Answer::json(200, json!({})))))
            .await;
    let setup = Setup::new(&stub.url);
    let first = Duration::from_millis(800);
    setup.control.leave(first);
    let renewed = async {
        while stub.asked("/volume").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Read when the request was sent.
        setup.control.asked.notified().await;
        setup.control.leave(Duration::from_secs(10));
        // The old deadline passes: the remaining time is read again, and the request goes on.
        setup.control.asked.notified().await;
        answers.notify_one();
    };
    let (reply, ()) = tokio::join!(setup.get(Service::Volume), renewed);
    reply.expect("it had the time that the lease was given meanwhile");
}

#[tokio::test]
async fn nothing_is_sent_without_permission_or_time() {
    let stub = stub(ok).await;
    let setup = Setup::new(&stub.url);
    setup.get(Service::Volume).await.unwrap();
    setup.control.may_send.store(false, Ordering::SeqCst);
    let failure = setup.post(Service::Volume).await;
    assert_eq!((failure.class, failure.effect), (ErrorClass::Cancelled, Effect::None));
    setup.get(Service::Volume).await.expect("looking is always allowed");
    setup.control.may_send.store(true, Ordering::SeqCst);
    setup.control.leave(Duration::from_millis(100));
    let failure = setup.post(Service::Volume).await;
    assert_eq!((failure.class, failure.effect), (ErrorClass::Cancelled, Effect::None));
    assert!(stub.asked("/volume").iter().all(|asked| asked.method == "GET"));
}

#[tokio::test]
async fn a_list_is_read_to_its_end_and_no_further() {
    let page = |from: usize, rows: usize, more: bool| {
        let rows: Vec<_> = (from..from + rows).map(|n| json!({"id": format!("n{n}")})).collect();
        let links =
            if more { json!([{"rel": "next", "href": "http://192.0.2.1/x"}]) } else { json!([]) };
        Answer::json(200, json!({"networks": rows, "networks_links": links}))
    };
    let stub = stub(move |asked, _| {
        let marked = |mark: &str| asked.path.ends_with(&format!("marker={mark}"));
        match () {
            () if marked("n199") => page(200, 200, true),
            () if marked("n399") => page(400, 3, false),
            () => page(0, 200, true),
        }
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let request = Request::get(Service::Network, &["networks"]).query("project_id", "p1");
    let rows = setup.client().rows(request, "networks", Pagination::Links).await.unwrap();
    assert_eq!((rows.len(), &rows[402]["id"]), (403, &json!("n402")));
    let asked = stub.asked("/network");
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|asked| asked.path.contains("project_id=p1&limit=200")));
}

#[tokio::test]
async fn the_last_page_may_be_empty() {
    // Nova sends a "next" link whenever a page is full.
    let stub = stub(|asked, _| {
        let rows = if asked.path.contains("marker") { json!([]) } else { json!([{"id": "s1"}]) };
        let links = json!([{"rel": "next", "href": "http://192.0.2.1/x"}]);
        Answer::json(200, json!({"servers": rows, "servers_links": links}))
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    let request = Request::get(Service::Compute, &["servers", "detail"]);
    let rows = setup.client().rows(request, "servers", Pagination::Links).await.unwrap();
    assert_eq!((rows.len(), stub.asked("/compute").len()), (1, 2));
}

#[test]
fn an_authority_that_cannot_be_read_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    for content in [None, Some(""), Some("no certificate")] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let settings = json!({
            "auth_url": "https://cloud.test", "username": "u", "password": "hush",
            "project_name": "p", "cacert": file.display().to_string(),
        });
        let Value::Object(settings) = settings else { unreachable!("an object") };
        let environment = crate::openstack::cloud::Environment { variable: |_| None };
        let cloud = Cloud::resolve(&settings, &environment).unwrap();
        let error = Client::new(cloud, ManualClock::new()).err().expect("refused").to_string();
        assert!(error.contains("ca.pem"), "{content:?}: {error}");
    }
}

#[tokio::test]
async fn every_way_to_go_on_ends() {
    let rows = |from: usize, count: usize| -> Vec<Value> {
        (from..from + count)
            .map(|n| json!({"id": n.to_string(), "keypair": {"name": format!("k{n}")}}))
            .collect()
    };
    let stub = stub(move |asked, _| {
        let more = !(asked.path.contains("marker") || asked.path.contains("offset"));
        let mut body = json!({"rows": rows(0, if more { 200 } else { 3 })});
        if more {
            body["next"] = json!("/v2/images?marker=x");
        }
        Answer::json(200, body)
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    for (pagination, mark, all) in [
        (Pagination::Next, "marker=199", 203),
        (Pagination::Names("keypair"), "marker=k199", 203),
        (Pagination::Offset, "offset=200", 203),
        (Pagination::None, "", 200),
    ] {
        let path = format!("{pagination:?}").chars().take(4).collect::<String>();
        let request = Request::get(Service::Network, &[&path]);
        let found = setup.client().rows(request, "rows", pagination).await.unwrap();
        assert_eq!(found.len(), all, "{pagination:?}");
        let asked = stub.asked(&format!("/network/v2.0/{path}"));
        assert!(asked.last().unwrap().path.ends_with(mark), "{pagination:?}");
    }
}

#[tokio::test]
async fn a_dropped_version_is_noticed() {
    let stub = stub(|_, _| Answer::Reply(200, Vec::new(), "{}".to_owned())).await;
    let setup = Setup::new(&stub.url);
    for service in [Service::Compute, Service::Volume] {
        let failure = setup.get(service).await.unwrap_err();
        assert_eq!(failure.class, ErrorClass::Refused);
    }
    assert_eq!(setup.post(Service::Compute).await.effect, Effect::Partial, "it was carried out");
    setup.get(Service::Network).await.expect("it has no versions");
}

#[tokio::test]
async fn a_failure_names_the_request_and_no_secret() {
    let stub = stub(|_, _| {
        let message = "Invalid input for field secret. Value: hush. 'hush' is too short";
        Answer::json(400, json!({"badRequest": {"code": 400, "message": message}}))
    });
    let stub = stub.await;
    let failure = Setup::new(&stub.url).post(Service::Compute).await;
    assert_eq!(failure.request_id.as_deref(), Some("req-1"));
    assert_eq!(failure.message, "nova answers 400: Invalid input for field secret.");
    let shown = format!("{failure:?} {failure}");
    assert!(!shown.contains("hush") && !shown.contains("token-"), "{shown}");
}

#[tokio::test]
async fn an_id_that_leads_elsewhere_is_never_sent() {
    let stub = stub(ok).await;
    let setup = Setup::new(&stub.url);
    for id in ["", ".", "..", "a\nb"] {
        let sent = setup.client().send(Request::get(Service::Network, &["networks", id])).await;
        assert_eq!(sent.err().expect("refused").kind, ErrorKind::Invalid, "{id:?}");
    }
    assert!(stub.asked("/network").is_empty());
    let request = Request::get(Service::Network, &["networks", "../a?b#c%2e"]);
    setup.client().send(request).await.unwrap();
    assert_eq!(stub.asked("/network")[0].path, "/network/v2.0/networks/..%2Fa%3Fb%23c%252e");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_flood_not_read() {
    let stub = stub(|asked, _| {
        if asked.method == "POST" {
            let there = ("Location", "http://192.0.2.1/".to_owned());
            return Answer::Reply(302, vec![there], String::new());
        }
        Answer::Reply(200, Vec::new(), format!("[{}]", " ".repeat(17 * 1024 * 1024)))
    });
    let stub = stub.await;
    let setup = Setup::new(&stub.url);
    assert_eq!(setup.post(Service::Network).await.class, ErrorClass::Refused);
    let failure = setup.get(Service::Network).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_str()), (ErrorClass::Transient, "reply_lost"));
}

#[tokio::test]
async fn none_found_proves_nothing_right_after_the_first_reply() {
    let stub = stub(ok).await;
    let setup = Setup::new(&stub.url);
    setup.get(Service::Network).await.unwrap();
    let doubt = setup.client().proves_absence(Service::Network).unwrap_err();
    assert_eq!((doubt.kind, doubt.code), (ErrorKind::Transient, "search_settling"));
    setup.clock.advance(Duration::from_secs(5));
    setup.client().proves_absence(Service::Network).unwrap();
}

#[tokio::test]
async fn a_pause_that_is_asked_for_rests_the_service() {
    let stub = stub(|_, _| {
        let pause = ("Retry-After", "7".to_owned());
        Answer::Reply(429, vec![pause], String::new())
    });
    let stub = stub.await;
    let failure = Setup::new(&stub.url).post(Service::Volume).await;
    let class = ErrorClass::RateLimited { after_ms: 7_000, scope: "cinder".to_owned() };
    assert_eq!((failure.class, failure.effect), (class, Effect::None));
}

#[tokio::test]
async fn a_service_that_the_cloud_does_not_have_is_refused_and_a_region_without_any_is_misconfigured()
 {
    let stub = stub(ok).await;
    let settings = |region: &str| {
        let settings = json!({
            "auth_url": stub.url, "username": "u", "password": "hush", "project_name": "p",
            "region_name": region,
        });
        let Value::Object(settings) = settings else { unreachable!("an object") };
        settings
    };
    let elsewhere = Setup::with(&settings("RegionTwo")).get(Service::Network).await;
    let elsewhere = elsewhere.expect_err("no service is there");
    assert_eq!(
        (elsewhere.class, elsewhere.code.as_str()),
        (ErrorClass::Misconfigured, "no_endpoint")
    );
    let partly = Setup::with(&settings("RegionThree"));
    assert!(partly.get(Service::Network).await.is_ok());
    let volume = partly.get(Service::Volume).await.expect_err("it has no volumes");
    assert_eq!((volume.class, volume.code.as_str()), (ErrorClass::Refused, "no_endpoint"));
}
