//! The client against a stub: requests sent, and the classification of every failure.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};
use stateward_domain::failure::{Effect, ErrorClass, Failure};
use stateward_domain::id::Attempt;
use stateward_domain::ports::driver::{CallContext, Observation};
use stateward_domain::time::ManualClock;

use super::*;
use crate::http::testing::{Answer, Asked, Control, Stub};

const JSON: (&str, &str) = ("Content-Type", "application/json");

struct Setup {
    client: Client,
    clock: Arc<ManualClock>,
    control: Arc<Control>,
    context: CallContext,
}

impl Setup {
    fn new(settings: Value) -> Self {
        let Value::Object(settings) = settings else { unreachable!("an object") };
        let settings: Map<String, Value> = settings;
        let clock = ManualClock::new();
        let client = Client::new(Site::resolve(&settings).unwrap(), clock.clone()).unwrap();
        let control = Control::new();
        let context = CallContext { attempt: Attempt(1), control: control.clone() };
        Self { client, clock, control, context }
    }

    fn cloud(url: &str) -> Self {
        Self::new(json!({"url": format!("{url}/jira"), "email": "a@b", "api_token": "hush"}))
    }

    fn oauth(url: &str) -> Self {
        Self::new(json!({
            "url": url, "client_id": "c", "client_secret": "hush",
            "token_url": format!("{url}/oauth/token"),
        }))
    }

    fn client(&self) -> CallClient<'_> {
        CallClient::new(&self.client, &self.context, "jira.issue")
    }

    async fn get(&self) -> Result<Value, Failure> {
        Ok(self.client().read(Request::get(&["issue", "1"])).await?)
    }

    async fn post(&self) -> Failure {
        let sent = self.client().send(Request::post(&["issue"], json!({"a": "hush"}))).await;
        sent.err().expect("a failure").into()
    }
}

fn reply(status: u16, body: Value) -> Answer {
    Answer::Reply(status, vec![(JSON.0, JSON.1.to_owned())], body.to_string())
}

fn page(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let headers = headers.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    Answer::Reply(status, headers, body.to_owned())
}

async fn stub(script: impl Fn(&Asked, usize) -> Answer + Send + Sync + 'static) -> Stub {
    Stub::scripted(|_| script).await
}

#[tokio::test]
async fn each_product_gets_its_version_and_its_credentials_below_the_context_path() {
    let stub = stub(|_, _| reply(200, json!({"id": "1"}))).await;
    Setup::cloud(&stub.url).get().await.unwrap();
    let asked = &stub.asked("/jira/rest/api/3/issue/1")[0];
    assert_eq!(asked.headers["authorization"], "Basic YUBiOmh1c2g=");
    assert_eq!(asked.headers["accept"], "application/json");
    let url = format!("{}/jira/", stub.url);
    let data_center = Setup::new(json!({"url": url, "personal_access_token": "hush"}));
    data_center.get().await.unwrap();
    let asked = &stub.asked("/jira/rest/api/2/issue/1")[0];
    assert_eq!(asked.headers["authorization"], "Bearer hush");
}

#[tokio::test]
async fn an_expired_access_token_is_renewed_once() {
    let stub = stub(|asked, before| match asked.path.as_str() {
        "/oauth/token" => {
            reply(200, json!({"access_token": format!("t{before}"), "expires_in": 3600}))
        }
        _ if asked.headers["authorization"] == "Bearer t1" => reply(200, json!({"id": "1"})),
        _ => page(401, &[], ""),
    })
    .await;
    let setup = Setup::oauth(&stub.url);
    setup.get().await.unwrap();
    setup.get().await.unwrap();
    assert_eq!(stub.asked("/oauth/token").len(), 2);
    let login = &stub.asked("/oauth/token")[0].body;
    assert_eq!((&login["client_id"], &login["client_secret"]), (&json!("c"), &json!("hush")));
}

#[tokio::test]
async fn an_access_token_that_stays_refused_parks_the_backend() {
    let stub = stub(|asked, _| match asked.path.as_str() {
        "/oauth/token" => reply(200, json!({"access_token": "t", "expires_in": 3600})),
        _ => page(401, &[], ""),
    })
    .await;
    let refused = Setup::oauth(&stub.url).get().await.unwrap_err();
    assert_eq!(refused.class, ErrorClass::Unauthorized);
    let refused = stub_of_client_credentials(400).await;
    assert_eq!(refused.class, ErrorClass::Unauthorized);
    let down = stub_of_client_credentials(503).await;
    assert_eq!(down.class, ErrorClass::Transient);
}

async fn stub_of_client_credentials(status: u16) -> Failure {
    let stub = stub(move |_, _| reply(status, json!({"error": "invalid_client"}))).await;
    Setup::oauth(&stub.url).get().await.unwrap_err()
}

#[tokio::test]
async fn a_web_page_is_no_answer_whatever_its_status() {
    let login = "<html><title>Log in - Jira</title><form>…</form></html>";
    for (status, headers, body, read, change) in [
        (200, &[][..], login, ErrorClass::Transient, ErrorClass::Ambiguous),
        (200, &[], "{\"id\": \"1\", \"fie", ErrorClass::Transient, ErrorClass::Ambiguous),
        (404, &[], login, ErrorClass::Transient, ErrorClass::Transient),
        (404, &[], "", ErrorClass::Transient, ErrorClass::Transient),
        (403, &[], login, ErrorClass::Transient, ErrorClass::Transient),
        (502, &[], login, ErrorClass::Transient, ErrorClass::Ambiguous),
        (401, &[], login, ErrorClass::Unauthorized, ErrorClass::Unauthorized),
        (
            302,
            &[("Location", "http://192.0.2.1/login")],
            "",
            ErrorClass::Refused,
            ErrorClass::Refused,
        ),
    ] {
        let stub = stub(move |_, _| page(status, headers, body)).await;
        let setup = Setup::cloud(&stub.url);
        let failure = setup.get().await.unwrap_err();
        assert_eq!((failure.class, failure.effect), (read, Effect::None), "{status} {body}");
        let failure = setup.post().await;
        let maybe = change == ErrorClass::Ambiguous;
        let effect = if maybe { Effect::Maybe } else { Effect::None };
        assert_eq!((failure.class, failure.effect), (change, effect), "{status} {body}");
        assert!(!failure.message.contains("hush") && !failure.message.contains('<'));
        assert_eq!(stub.asked("").len(), 2, "nothing is retried, no redirect is followed");
    }
}

#[tokio::test]
async fn a_limit_pauses_the_kind_and_one_of_an_issue_says_so() {
    for (reason, code) in
        [("jira-burst-based", "rate_limited"), ("jira-per-issue-on-write", PER_ISSUE)]
    {
        let stub =
            stub(move |_, _| page(429, &[("Retry-After", "3"), ("RateLimit-Reason", reason)], ""))
                .await;
        let failure = Setup::cloud(&stub.url).post().await;
        let class = ErrorClass::RateLimited { after_ms: 3_000, scope: "jira.issue".to_owned() };
        assert_eq!((failure.class, failure.code.as_str()), (class, code));
    }
}

#[tokio::test]
async fn a_lost_reply_of_a_change_is_ambiguous_and_of_a_read_is_not() {
    let stub = stub(|_, _| Answer::Never).await;
    let setup = Setup::cloud(&stub.url);
    setup.control.leave(Duration::from_millis(400));
    let failure = setup.post().await;
    assert_eq!((failure.class, failure.effect), (ErrorClass::Ambiguous, Effect::Maybe));
    setup.control.leave(Duration::from_millis(400));
    assert_eq!(setup.get().await.unwrap_err().class, ErrorClass::Transient);
    drop(stub);
    setup.control.leave(Duration::from_secs(10));
    let failure = Setup::cloud("http://127.0.0.1:1").post().await;
    assert_eq!((failure.class, failure.effect), (ErrorClass::Transient, Effect::None));
}

#[tokio::test]
async fn nothing_is_changed_without_permission() {
    let stub = stub(|_, _| reply(200, json!({"id": "1"}))).await;
    let setup = Setup::cloud(&stub.url);
    setup.control.may_send.store(false, Ordering::SeqCst);
    assert_eq!(setup.post().await.class, ErrorClass::Cancelled);
    setup.get().await.unwrap();
    assert_eq!(stub.asked("/jira/rest/api/3/issue").len(), 1);
}

#[tokio::test]
async fn a_proxy_is_used_only_when_it_is_configured() {
    let proxy = stub(|_, _| reply(200, json!({"id": "1"}))).await;
    let setup = Setup::new(json!({
        "url": "http://jira.invalid", "personal_access_token": "hush", "proxy": proxy.url,
    }));
    setup.get().await.unwrap();
    assert_eq!(proxy.asked("http://jira.invalid/rest/api/2/issue/1").len(), 1);
}

/// How the site answers beside its 404 for an issue.
#[derive(Clone, Copy)]
struct Rights {
    known: bool,
    project: bool,
    binned: bool,
    admin: bool,
}

async fn absence(rights: Rights, project: Option<&str>) -> Result<Observation, ErrorClass> {
    let stub = stub(move |asked, _| {
        let gone = json!({"errorMessages": ["Issue does not exist or you do not have permission to see it."]});
        match asked.path.trim_start_matches("/jira/rest/api/3/") {
            "myself" if rights.known => reply(200, json!({"accountId": "5b1", "active": true})),
            "myself" => page(401, &[], ""),
            "project/10" if rights.project => reply(200, json!({"id": "10"})),
            path if path.starts_with("project/search") => {
                let rows = if rights.binned { json!([{"id": "10", "key": "A"}]) } else { json!([]) };
                reply(200, json!({"values": rows, "isLast": true}))
            }
            path if path.starts_with("mypermissions") => {
                let admin = json!({"havePermission": rights.admin});
                reply(200, json!({"permissions": {"ADMINISTER": admin}}))
            }
            _ => reply(404, gone),
        }
    })
    .await;
    let setup = Setup::cloud(&stub.url);
    let client = setup.client();
    let error = client.read(Request::get(&["issue", "1"])).await.unwrap_err();
    let absence = client.absence("1", project.map(str::to_owned), error).await;
    absence.map_err(|error| Failure::from(error).class)
}

#[tokio::test]
async fn a_404_proves_absence_only_beside_an_account_and_a_project() {
    let all = Rights { known: true, project: true, binned: false, admin: false };
    let hidden = Rights { project: false, ..all };
    for (rights, project, absent) in [
        (all, Some("10"), true),
        (all, None, false),
        (hidden, Some("10"), false),
        (Rights { binned: true, ..hidden }, Some("10"), true),
        (Rights { admin: true, ..hidden }, Some("10"), true),
    ] {
        let found = absence(rights, project).await.unwrap();
        let is_absent = matches!(found, Observation::Absent { .. });
        assert_eq!(is_absent, absent, "{found:?}");
    }
    let nobody = absence(Rights { known: false, ..all }, Some("10")).await;
    assert_eq!(nobody.unwrap_err(), ErrorClass::Unauthorized);
}

#[tokio::test]
async fn an_object_that_was_just_created_is_not_absent() {
    let stub = stub(|_, _| reply(404, json!({"errorMessages": ["Issue does not exist"]}))).await;
    let setup = Setup::cloud(&stub.url);
    let client = setup.client();
    client.made("1");
    let error = client.read(Request::get(&["issue", "1"])).await.unwrap_err();
    let settling: Failure = client.absence("1", None, error).await.unwrap_err().into();
    assert!(settling.is_settling());
}

#[tokio::test]
async fn an_empty_search_proves_nothing_right_after_a_silence_or_for_nobody() {
    let stub = stub(|asked, before| match asked.path.as_str() {
        "/jira/rest/api/3/myself" if before < 2 => {
            reply(200, json!({"accountId": "5b1", "active": true}))
        }
        _ => reply(200, json!({"accountId": null})),
    })
    .await;
    let setup = Setup::cloud(&stub.url);
    let settling: Failure = setup.client().proves_absence().await.unwrap_err().into();
    assert!(settling.is_settling());
    setup.clock.advance(Duration::from_secs(5));
    setup.client().proves_absence().await.unwrap();
    let nobody: Failure = setup.client().proves_absence().await.unwrap_err().into();
    assert_eq!(nobody.class, ErrorClass::Unauthorized);
}

#[tokio::test]
async fn pages_are_read_by_token_and_by_offset() {
    let stub = stub(|asked, _| {
        let token = asked.body["nextPageToken"].as_str();
        let start = asked.body["startAt"].as_u64();
        match (asked.path.ends_with("/search/jql"), token, start) {
            (true, None, _) => {
                reply(200, json!({"issues": [{"id": "1"}], "nextPageToken": "x", "isLast": false}))
            }
            (true, Some("x"), _) => reply(200, json!({"issues": [{"id": "2"}], "isLast": true})),
            (false, _, Some(0)) => reply(200, json!({"issues": [{"id": "1"}], "total": 2})),
            (false, _, Some(1)) => reply(200, json!({"issues": [{"id": "2"}], "total": 2})),
            _ => page(400, &[], ""),
        }
    })
    .await;
    let data_center = Setup::new(json!({"url": stub.url, "personal_access_token": "hush"}));
    for setup in [Setup::cloud(&stub.url), data_center] {
        let found =
            setup.client().search("project = A", &["labels"], "managed-entity").await.unwrap();
        assert_eq!(found, [json!({"id": "1"}), json!({"id": "2"})]);
    }
}
