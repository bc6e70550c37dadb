//! A repeated request under an idempotency key gets the first reply and has no further effect, whatever happened in
//! between: for every route that changes something, with and without effect.

mod cases;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, condition, text, until};
use cases::{Case, Names, Step, cases};

const KEY: &str = "Idempotency-Key";
/// Concurrent repetitions of a request.
const TWINS: usize = 4;
/// Routes that take a body and change nothing.
const READING: [&str; 1] = ["POST /v1/audit/verify"];
/// Headers that are part of the reply.
const HEADERS: [&str; 4] = ["location", "operation-location", "etag", "stateward-position"];

const CONFIG: &str = "[server]\nrate_per_token = 100000\n[namespaces.elsewhere]\n\
    [backends.sandbox]\ndriver = \"fake\"\n\
    [backends.other]\ndriver = \"fake\"\nnamespaces = [\"elsewhere\"]\n\
    [backends.leaves]\ndriver = \"fake\"\nnamespaces = [\"elsewhere\"]\n";
/// Another configuration, under which many accepted requests would be refused: a reason is required, two backends match,
/// and one is gone.
const OTHER_CONFIG: &str = "[server]\nrate_per_token = 100000\n[namespaces.elsewhere]\n\
    [namespaces.default]\nrequire_reason = true\n\
    [backends.sandbox]\ndriver = \"fake\"\n[backends.other]\ndriver = \"fake\"\n";

/// The reply as a client sees it.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    headers: Vec<Option<String>>,
    body: Value,
}

async fn send(client: &Client, step: &Step, key: Option<&str>) -> Answer {
    let (method, path) = (step.method.parse::<Method>().unwrap(), &step.path);
    let mut request = client.request(method, path);
    if let Some(key) = key {
        request = request.header(KEY, key);
    }
    if !step.body.is_null() {
        request = request.header("Content-Type", step.media).body(step.body.to_string());
    }
    let response = request.send().await.unwrap();
    let value = |name: &&str| Some(response.headers().get(*name)?.to_str().unwrap().to_owned());
    let (status, headers) = (response.status(), HEADERS.iter().map(value).collect());
    let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null);
    Answer { status, headers, body }
}

/// Events caused by users, oldest first: type and request id.
async fn done_by_users(client: &Client) -> Vec<(String, String)> {
    let (mut done, mut token) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/events?page_size=1000{token}")).await.body;
        let items = page["items"].as_array().unwrap().iter();
        let by_users = items.filter(|event| event["actor"]["type"] == "user");
        done.extend(by_users.map(|event| (text(&event["type"]), text(&event["request_id"]))));
        match page["next_page_token"].as_str() {
            Some(next) => token = format!("&page_token={next}"),
            None => return done,
        }
    }
}

/// A request under a key, and its first reply.
struct Kept {
    what: String,
    key: String,
    step: Step,
    /// The expected reply to the repetition.
    again: Answer,
}

async fn play(client: &Client, number: usize, case: &Case) -> Kept {
    let what = format!("{number}: {}, {}", case.route, case.what);
    let mut names = prepared(client, number, case).await;
    let (key, step) = (format!("key-{number}"), case.step.filled(&names));
    let count = done_by_users(client).await.len();
    let first = send(client, &step, Some(&key)).await;
    assert!(first.status.is_success(), "{what}: {first:#?}");
    let events = done_by_users(client).await.split_off(count);
    let mere = events.iter().all(|(name, _)| name.ends_with(".request_recorded"));
    assert!(!events.is_empty() && mere != case.effect, "{what}: {events:?}");
    learn(&mut names, &first, "first");
    for step in &case.between {
        let answer = send(client, &step.filled(&names), None).await;
        assert!(answer.status.is_success(), "{what}: in between: {answer:#?}");
    }
    let again = match case.again {
        None => first,
        Some((status, name)) => Answer {
            status,
            headers: vec![None; HEADERS.len()],
            body: json!({ "type": format!("urn:stateward:problem:{name}") }),
        },
    };
    Kept { what, key, step, again }
}

/// Prepares a case; returns the placeholders' values.
async fn prepared(client: &Client, number: usize, case: &Case) -> Names {
    let mut names = vec![("{n}".to_owned(), number.to_string())];
    if let Some(desired) = &case.desired {
        let id = thing(client, number, desired, case.blocked).await;
        let external = client.entity(&id).await["observed"]["external_id"].clone();
        names.extend([("{id}".to_owned(), id), ("{external}".to_owned(), text(&external))]);
    }
    for step in &case.before {
        let answer = send(client, &step.filled(&names), None).await;
        assert!(answer.status.is_success(), "{}, {}: {answer:#?}", case.route, case.what);
        learn(&mut names, &answer, "before");
    }
    names
}

/// The id of a thing that has converged.
async fn thing(client: &Client, number: usize, desired: &Value, blocked: bool) -> String {
    let name = format!("t{number}");
    if !blocked {
        return client.thing(&name, desired.clone()).await;
    }
    let body = crate::harness::thing(&name, desired.clone());
    let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    let id = text(&reply.body["entity"]["id"]);
    until("it is blocked", async || condition(&client.entity(&id).await, "blocked").then_some(()))
        .await;
    id
}

fn learn(names: &mut Names, answer: &Answer, when: &str) {
    for pointer in ["/entity/id", "/operation/id", "/id"] {
        if let Some(value) = answer.body.pointer(pointer).and_then(Value::as_str) {
            let name = pointer.replace('/', "_");
            names.insert(0, (format!("{{{when}{name}}}"), value.to_owned()));
        }
    }
}

/// Sends the request again, and another one under its key.
async fn repeat(client: &Client, kept: &Kept) {
    let Kept { what, key, step, again } = kept;
    let mut answer = send(client, step, Some(key)).await;
    if again.status.is_client_error() {
        answer.body = json!({ "type": answer.body["type"] });
    }
    assert_eq!(&answer, again, "{what}");
    let other = Step { body: json!({ "other": [what] }), ..step.clone() };
    let refused = send(client, &other, Some(key)).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{what}: {refused:#?}");
    let is_reuse = text(&refused.body["type"]).ends_with("idempotency-key-reused");
    // The namespace is in the body: a body without one is another request, refused for its content.
    assert!(is_reuse || step.path == "/v1/entities", "{what}: {refused:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_answered_again_as_it_was_first() {
    let setup = Setup::new(CONFIG);
    let mut server = setup.start().await;
    let document = server.client.get("/openapi.json").await.body;
    let (cases, mut kept) = (cases(), Vec::new());
    covers_every_route(&document, &cases);
    for (number, case) in cases.iter().enumerate() {
        let one = play(&server.client, number, case).await;
        let before = done_by_users(&server.client).await;
        repeat(&server.client, &one).await;
        let after = done_by_users(&server.client).await;
        assert_eq!(before, after, "{}: something was done again", one.what);
        kept.push(one);
    }
    // Independent of the process's memory, and of what would be refused by now.
    server.kill_now().await;
    setup.configure(OTHER_CONFIG);
    let server = setup.start().await;
    let before = done_by_users(&server.client).await.len();
    for one in &kept {
        repeat(&server.client, one).await;
    }
    assert_eq!(done_by_users(&server.client).await.len(), before, "something was done again");
    let verified = server.client.send(Method::POST, "/v1/audit/verify", None, &[]).await.unwrap();
    assert_eq!(verified.body["ok"], true, "{:#}", verified.body);
}

/// Every route has a case: without one, it would not be tested whether the route records the key.
fn covers_every_route(document: &Value, cases: &[Case]) {
    let mut routes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let route = format!("{} {path}", method.to_uppercase());
            if method == "get" || READING.contains(&route.as_str()) {
                continue;
            }
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let named = parameters.filter(|parameter| parameter["name"] == KEY).count();
            assert_eq!(named, 1, "{route} does not say that it takes a key");
            routes.insert(route);
        }
    }
    let covered: BTreeSet<_> = cases.iter().map(|case| case.route.to_owned()).collect();
    assert_eq!(routes, covered);
    for verb in ["refresh", "retry", "pause", "resume", "adopt", "release", "decide", "cancel"] {
        let path = format!("/v1/entities/{{id}}/actions/{verb}");
        assert!(cases.iter().any(|case| case.step.path == path), "{verb} has no case");
    }
}

/// Like clients that gave up waiting for the first reply.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_at_once_one_is_carried_out_and_all_are_answered_alike() {
    let setup = Setup::new(CONFIG);
    let server = setup.start().await;
    let client = &server.client;
    for (number, case) in cases().iter().enumerate() {
        // Only one of them gets the token's value.
        if case.again.is_some() {
            continue;
        }
        let what = format!("{}, {}", case.route, case.what);
        let mut names = prepared(client, number, case).await;
        let (key, step) = (format!("twins-{number}"), case.step.filled(&names));
        let count = done_by_users(client).await.len();
        let answers = join_all((0..TWINS).map(|_| send(client, &step, Some(&key)))).await;
        for answer in &answers {
            assert!(answer.status.is_success(), "{what}: {answer:#?}");
            assert_eq!(answer, &answers[0], "{what}");
        }
        let events = done_by_users(client).await.split_off(count);
        let requests: BTreeSet<_> = events.iter().map(|(_, request)| request).collect();
        assert_eq!(requests.len(), 1, "{what}: {events:?}");
        learn(&mut names, &answers[0], "first");
        for step in &case.between {
            send(client, &step.filled(&names), None).await;
        }
    }
}

/// An unfreeze applies to that time only.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_frozen_anew_is_not_let_go_by_an_old_request() {
    let setup = Setup::new("");
    let frozen = async || {
        let mut command = setup.command();
        command.arg("--observe-only");
        setup.run(command).await.unwrap()
    };
    let unfreeze = |key: &'static str| {
        let body = json!({ "reason": "looked at" });
        (Step::new("POST", "/v1/system/unfreeze", body), key)
    };
    let is_frozen = async |server: &Server| {
        server.client.get("/readyz").await.body["observe_only"] == json!(true)
    };
    let mut server = frozen().await;
    assert!(is_frozen(&server).await);
    let (step, key) = unfreeze("k1");
    let first = send(&server.client, &step, Some(key)).await;
    assert_eq!((first.status, is_frozen(&server).await), (StatusCode::OK, false), "{first:#?}");
    server.kill_now().await;
    let server = frozen().await;
    assert_eq!(send(&server.client, &step, Some(key)).await, first);
    assert!(is_frozen(&server).await, "nobody has looked at it since");
    let (step, key) = unfreeze("k2");
    assert_eq!(send(&server.client, &step, Some(key)).await, first);
    assert!(!is_frozen(&server).await);
}
