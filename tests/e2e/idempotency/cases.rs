//! The cases: a request, and a change before its repetition that would give it another effect or have it refused.

use serde_json::{Value, json};

/// Placeholders in paths and bodies, with their values.
pub(super) type Names = Vec<(String, String)>;

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) media: &'static str,
    /// `Null` = none.
    pub(super) body: Value,
}

impl Step {
    pub(super) fn new(method: &'static str, path: &str, body: Value) -> Self {
        Self { method, path: path.to_owned(), media: "application/json", body }
    }

    /// With placeholders replaced by the values known so far.
    pub(super) fn filled(&self, names: &Names) -> Self {
        let fill = |text: &str| {
            names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
        };
        let body = serde_json::from_str(&fill(&self.body.to_string())).unwrap();
        Self { path: fill(&self.path), body, ..self.clone() }
    }
}

/// A request under a key.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) route: &'static str,
    pub(super) what: &'static str,
    /// Attributes of a thing that is created first; `None` = none is needed.
    pub(super) desired: Option<Value>,
    /// The thing waits for a decision.
    pub(super) blocked: bool,
    pub(super) before: Vec<Step>,
    pub(super) step: Step,
    pub(super) between: Vec<Step>,
    /// Whether the request left more than its claim in the log.
    pub(super) effect: bool,
    /// The reply to a repetition where it differs from the first: status and name of the problem.
    pub(super) again: Option<(reqwest::StatusCode, &'static str)>,
}

/// A case of `route`, at the address `path`.
fn at(route: &'static str, what: &'static str, path: &str, body: Value) -> Case {
    let method = route.split(' ').next().unwrap();
    Case {
        route,
        what,
        desired: None,
        blocked: false,
        before: Vec::new(),
        step: Step::new(method, path, body),
        between: Vec::new(),
        effect: true,
        again: None,
    }
}

/// A case with a separate thing.
fn of_thing(route: &'static str, what: &'static str, body: Value) -> Case {
    let path = route.split(' ').nth(1).unwrap().to_owned();
    Case { desired: Some(json!({ "size": 1, "more": 1 })), ..at(route, what, &path, body) }
}

fn verb(name: &str, what: &'static str, body: Value) -> Case {
    let route = "POST /v1/entities/{id}/actions/{name}";
    let mut case = of_thing(route, what, body);
    case.step.path = action(name, Value::Null).path;
    case
}

impl Case {
    fn before(mut self, step: Step) -> Self {
        self.before.push(step);
        self
    }

    fn between(mut self, step: Step) -> Self {
        self.between.push(step);
        self
    }

    fn without_effect(self) -> Self {
        Self { effect: false, ..self }
    }

    fn media(mut self, media: &'static str) -> Self {
        self.step.media = media;
        self
    }

    /// The thing waits for a decision before it is created.
    fn blocked(self) -> Self {
        let desired = json!({ "_fake": { "fail": { "create": "already_exists" } } });
        Self { desired: Some(desired), blocked: true, ..self }
    }
}

fn put(desired: Value) -> Step {
    Step::new("PUT", "/v1/entities/{id}", json!({ "desired": desired }))
}

fn action(name: &str, body: Value) -> Step {
    Step::new("POST", &format!("/v1/entities/{{id}}/actions/{name}"), body)
}

fn cancel(operation: &str) -> Step {
    Step::new("POST", &format!("/v1/operations/{operation}/cancel"), Value::Null)
}

fn delete() -> Step {
    Step::new("DELETE", "/v1/entities/{id}", Value::Null)
}

fn backend(name: &str) -> Step {
    Step::new("POST", &format!("/v1/backends/other/actions/{name}"), json!({}))
}

/// At least one for each route that changes something.
pub(super) fn cases() -> Vec<Case> {
    [entities(), verbs(), operations(), access(), backends(), others()].concat()
}

fn entities() -> Vec<Case> {
    let (merge, steps) = ("application/merge-patch+json", "application/json-patch+json");
    let (change, patch) = ("PUT /v1/entities/{id}", "PATCH /v1/entities/{id}");
    let new = json!({ "kind": "fake.thing", "name": "new-{n}", "desired": {} });
    let gone = Step::new("DELETE", "/v1/entities/{first_entity_id}?policy=orphan", Value::Null);
    let size = |size: u64| json!({ "desired": { "size": size } });
    let pause = || action("pause", Value::Null);
    vec![
        at("POST /v1/entities", "gone since", "/v1/entities", new).between(gone),
        of_thing(change, "changed since", size(2)).between(put(json!({ "size": 3 }))),
        of_thing(change, "as it was", json!({ "desired": { "size": 1, "more": 1 } }))
            .without_effect()
            .between(put(json!({ "size": 3 }))),
        of_thing(change, "protected no more", json!({ "protected": true })).between(Step::new(
            "PUT",
            "/v1/entities/{id}",
            json!({ "protected": false }),
        )),
        of_thing(change, "deleted since", size(2)).between(delete()),
        of_thing(patch, "changed since", size(2)).media(merge).between(put(json!({ "size": 3 }))),
        of_thing(patch, "as it was", size(1))
            .media(merge)
            .without_effect()
            .between(put(json!({ "size": 3 }))),
        of_thing(
            patch,
            "what it removes is gone",
            json!([{ "op": "remove", "path": "/desired/more" }]),
        )
        .media(steps),
        of_thing(
            patch,
            "what it tests is so no more",
            json!([{ "op": "test", "path": "/desired/size", "value": 1 }]),
        )
        .media(steps)
        .without_effect()
        .between(put(json!({ "size": 2 }))),
        of_thing("DELETE /v1/entities/{id}", "taken back since", Value::Null)
            .before(pause())
            .between(cancel("{first_operation_id}")),
        of_thing("DELETE /v1/entities/{id}", "pending already, taken back since", Value::Null)
            .before(pause())
            .before(delete())
            .without_effect()
            .between(cancel("{first_operation_id}")),
    ]
}

fn verbs() -> Vec<Case> {
    let (pause, resume) = (|| action("pause", Value::Null), || action("resume", Value::Null));
    let external = json!({ "external_id": "{external}" });
    let pending = json!({ "operation": "{before_operation_id}" });
    vec![
        verb("refresh", "again", Value::Null).between(action("refresh", Value::Null)),
        verb("retry", "given up since", Value::Null)
            .blocked()
            .between(action("release", Value::Null)),
        verb("pause", "resumed since", Value::Null).between(resume()),
        verb("pause", "paused already, resumed since", Value::Null)
            .before(pause())
            .without_effect()
            .between(resume()),
        verb("resume", "paused since", Value::Null).before(pause()).between(pause()),
        verb("resume", "not paused, paused since", Value::Null).without_effect().between(pause()),
        verb("adopt", "changed since", external).between(put(json!({ "size": 3 }))),
        verb("release", "over", json!({})),
        verb("decide", "serves what is open", json!({ "decision": "create" })).blocked(),
        verb("decide", "given up", json!({ "decision": "give_up" }))
            .blocked()
            .between(action("release", Value::Null)),
        verb("cancel", "wanted anew since", pending)
            .before(pause())
            .before(put(json!({ "size": 2 })))
            .between(put(json!({ "size": 2 }))),
        verb("poke", "again", json!({})).between(action("poke", json!({}))),
    ]
}

fn operations() -> Vec<Case> {
    let route = "POST /v1/operations/{id}/cancel";
    let mut case = of_thing(route, "wanted anew since", Value::Null);
    case.step.path = cancel("{before_operation_id}").path;
    let case = case.before(action("pause", Value::Null)).before(put(json!({ "size": 2 })));
    vec![case.between(put(json!({ "size": 2 })))]
}

fn access() -> Vec<Case> {
    let namespace = || Step::new("POST", "/v1/namespaces", json!({ "name": "n{n}" }));
    let gone = || Step::new("DELETE", "/v1/namespaces/n{n}", Value::Null);
    let token = json!({ "actor": "ci", "grants": [{ "role": "viewer" }] });
    let issue = Step::new("POST", "/v1/tokens", token.clone());
    let revoke = "/v1/tokens/{before_id}";
    let told = at("POST /v1/tokens", "its value is told once", "/v1/tokens", token);
    vec![
        at("POST /v1/namespaces", "gone since", "/v1/namespaces", namespace().body).between(gone()),
        at("DELETE /v1/namespaces/{name}", "made anew since", &gone().path, Value::Null)
            .before(namespace())
            .between(namespace()),
        Case { again: Some((reqwest::StatusCode::CONFLICT, "shown-once")), ..told },
        at("DELETE /v1/tokens/{id}", "over", revoke, Value::Null).before(issue),
    ]
}

fn backends() -> Vec<Case> {
    let case = |name: &str, what| {
        let route = "POST /v1/backends/{name}/actions/{action}";
        at(route, what, &backend(name).path, json!({}))
    };
    let reload = "/v1/backends/reload";
    vec![
        case("pause", "resumed since").between(backend("resume")),
        case("pause", "paused already, resumed since")
            .before(backend("pause"))
            .without_effect()
            .between(backend("resume")),
        case("resume", "paused since").before(backend("pause")).between(backend("pause")),
        case("resume", "not paused, paused since")
            .before(backend("resume"))
            .without_effect()
            .between(backend("pause")),
        case("test", "while it was paused").without_effect().between(backend("resume")),
        at("POST /v1/backends/reload", "another configuration since", reload, Value::Null),
    ]
}

fn others() -> Vec<Case> {
    let of = |route: &'static str, what: &'static str, path: &str| {
        at(route, what, path, Value::Null).without_effect()
    };
    let (rebuild, retry) = ("/v1/projections/sync_queue/rebuild", "/v1/projections/entities/retry");
    vec![
        of("POST /v1/projections/{name}/rebuild", "rebuilt", rebuild),
        of("POST /v1/projections/{name}/retry", "nothing was set aside", retry),
        of("POST /v1/system/unfreeze", "nothing was frozen", "/v1/system/unfreeze"),
    ]
}
