//! Every accepted request under an idempotency key is answered again as it was first, whatever happened in between, and
//! does nothing more: for every route that changes something, with and without effect.

mod cases;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, condition, text, until};
use cases::{Case, Names, Step, cases};

const KEY: &str = "Idempotency-Key";
/// The same request at once.
const TWINS: usize = 4;
/// Routes that take a body and change nothing.
const READING: [&str; 1] = ["POST /v1/audit/verify"];
/// Headers of an answer that belong to what was asked for.
const HEADERS: [&str; 4] = ["location", "operation-location", "etag", "stateward-position"];

const CONFIG: &str = "[server]\nrate_per_token = 100000\n[namespaces.elsewhere]\n\
    [backends.sandbox]\ndriver = \"fake\"\n\
    [backends.other]\ndriver = \"fake\"\nnamespaces = [\"elsewhere\"]\n\
    [backends.leaves]\ndriver = \"fake\"\nnamespaces = [\"elsewhere\"]\n";
/// Another one, under which much that was accepted would be refused: a reason is required, two backends fit, and one
/// is gone.
const OTHER_CONFIG: &str = "[server]\nrate_per_token = 100000\n[namespaces.elsewhere]\n\
    [namespaces.default]\nrequire_reason = true\n\
    [backends.sandbox]\ndriver = \"fake\"\n[backends.other]\ndriver = \"fake\"\n";

/// All that a client sees of an answer.
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

/// What users have done, oldest first: its type, and the request that it was done for.
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

/// What was asked for under a key, and what was answered.
struct Kept {
    what: String,
    key: String,
    step: Step,
    /// How it has to be answered again.
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

/// What the case begins with: the names of it.
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

/// The id of a thing that is at rest.
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

/// The request again, and another one under its key.
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
    // The namespace is in the body: one without is about another thing, and refused for what it says.
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
    // Whatever the process forgets, and whatever would be refused by now.
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

/// A route without a case is a route of which nobody knows whether it keeps its key.
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

/// As clients do that gave up waiting for the first answer.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_at_once_one_is_carried_out_and_all_are_answered_alike() {
    let setup = Setup::new(CONFIG);
    let server = setup.start().await;
    let client = &server.client;
    for (number, case) in cases().iter().enumerate() {
        // A token's value is told to one of them.
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

/// What was let go once stays let go for that time alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_frozen_anew_is_not_let_go_by_an_old_request() {
    let setup = Setup::new("");
    let frozen = async || {
        let mut command = setup.command();
        command.arg("--observe-only");
        Server::from_command(command, &setup.data()).await.unwrap()
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
