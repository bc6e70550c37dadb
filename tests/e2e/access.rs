//! Authorisation: every route with every role, in the caller's namespace and in another one.

use std::collections::BTreeSet;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Lost, Server, Setup, text, until};

/// The scope of a required role.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    /// No token.
    Open,
    /// Any valid token.
    Anyone,
    /// In the namespace of the thing.
    There,
    /// Beside all namespaces.
    Everywhere,
}

use Scope::{Anyone, Everywhere, Open, There};

/// Roles, weakest first; the index is the rank.
const ROLES: [&str; 3] = ["viewer", "operator", "admin"];
const VIEWER: usize = 0;
const OPERATOR: usize = 1;
const ADMIN: usize = 2;

/// Method, path, scope, weakest role. `{id}` is an entity, `{operation}` its operation.
const TABLE: &[(&str, &str, Scope, usize)] = &[
    ("GET", "/livez", Open, VIEWER),
    ("GET", "/readyz", Open, VIEWER),
    ("GET", "/metrics", Open, VIEWER),
    ("GET", "/openapi.json", Open, VIEWER),
    ("GET", "/v1/entities", Anyone, VIEWER),
    ("POST", "/v1/entities", There, OPERATOR),
    ("GET", "/v1/entities/{id}", There, VIEWER),
    ("PUT", "/v1/entities/{id}", There, OPERATOR),
    ("PATCH", "/v1/entities/{id}", There, OPERATOR),
    ("DELETE", "/v1/entities/{id}", There, OPERATOR),
    ("GET", "/v1/entities/{id}/events", There, VIEWER),
    ("GET", "/v1/entities/{id}/operations", There, VIEWER),
    ("POST", "/v1/entities/{id}/actions/{name}", There, OPERATOR),
    ("GET", "/v1/operations", Anyone, VIEWER),
    ("GET", "/v1/operations/{id}", There, VIEWER),
    ("POST", "/v1/operations/{id}/cancel", There, OPERATOR),
    ("GET", "/v1/events", Anyone, VIEWER),
    ("GET", "/v1/kinds", Anyone, VIEWER),
    ("GET", "/v1/kinds/{kind}", Anyone, VIEWER),
    ("GET", "/v1/backends", Anyone, VIEWER),
    ("GET", "/v1/backends/{name}", Anyone, VIEWER),
    ("GET", "/v1/backends/{name}/objects", Everywhere, OPERATOR),
    ("POST", "/v1/backends/reload", Everywhere, ADMIN),
    ("POST", "/v1/backends/{name}/actions/{action}", Everywhere, ADMIN),
    ("GET", "/v1/nodes", Everywhere, VIEWER),
    ("GET", "/v1/projections", Everywhere, VIEWER),
    ("POST", "/v1/projections/{name}/rebuild", Everywhere, ADMIN),
    ("POST", "/v1/projections/{name}/retry", Everywhere, ADMIN),
    ("POST", "/v1/audit/verify", Everywhere, VIEWER),
    ("GET", "/v1/audit/checkpoint", Everywhere, VIEWER),
    ("GET", "/v1/audit/export", Everywhere, ADMIN),
    ("POST", "/v1/system/unfreeze", Everywhere, ADMIN),
    ("GET", "/v1/namespaces", Anyone, VIEWER),
    ("POST", "/v1/namespaces", Everywhere, ADMIN),
    ("DELETE", "/v1/namespaces/{name}", Everywhere, ADMIN),
    ("GET", "/v1/tokens", Everywhere, ADMIN),
    ("POST", "/v1/tokens", Everywhere, ADMIN),
    ("DELETE", "/v1/tokens/{id}", Everywhere, ADMIN),
];

#[test]
fn every_route_has_a_row() {
    let mut routes = BTreeSet::new();
    for folder in ["routes", "openapi"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/src").join(folder);
        collect(&source, &mut routes);
    }
    let rows: BTreeSet<_> =
        TABLE.iter().map(|(method, path, ..)| format!("{method} {path}")).collect();
    assert_eq!(routes, rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_every_route() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let document = server.client.get("/openapi.json").await.body;
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path, ..) in TABLE.iter().filter(|(_, path, ..)| *path != "/openapi.json") {
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(operation["responses"].is_object(), "{method} {path} is not described");
    }
    let page = server.client.request(Method::GET, "/docs/").send().await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(!page.contains("://"), "the page loads something from elsewhere");
}

/// Reads the routes from the source: each is a `resource("PATH")` followed by its `web::METHOD()`s.
fn collect(folder: &Path, routes: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, routes);
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for rest in source.split("resource(").skip(1) {
            let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
            let (path, rest) = rest.split_once('"').unwrap();
            for method in ["get", "post", "put", "patch", "delete"] {
                if rest.contains(&format!("web::{method}()")) {
                    routes.insert(format!("{} {path}", method.to_uppercase()));
                }
            }
        }
    }
}

/// Two namespaces with an entity each, and callers of all roles in one of them and in all.
struct Land {
    _setup: Setup,
    server: Server,
    here: (String, String),
    there: (String, String),
}

impl Land {
    async fn new() -> Self {
        let setup = Setup::new("[namespaces.here]\n[namespaces.there]\n");
        let server = setup.start().await;
        let here = made(&server.client, "here").await;
        let there = made(&server.client, "there").await;
        Self { _setup: setup, server, here, there }
    }

    async fn caller(&self, role: &str, namespace: Option<&str>) -> Client {
        let grant = match namespace {
            Some(name) => json!({ "role": role, "namespace": name }),
            None => json!({ "role": role }),
        };
        let body = json!({ "actor": "somebody", "grants": [grant] });
        let admin = &self.server.client;
        let reply = admin.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::CREATED, "{:#}", reply.body);
        admin.with_token(&text(&reply.body["value"]))
    }

    fn path(template: &str, (entity, operation): &(String, String)) -> String {
        let id = if template.starts_with("/v1/operations") { operation } else { entity };
        template
            .replace("actions/{name}", "actions/refresh")
            .replace("backends/{name}", "backends/sandbox")
            .replace("projections/{name}", "projections/none")
            .replace("namespaces/{name}", "namespaces/none")
            .replace("tokens/{id}", "tokens/none")
            .replace("actions/{action}", "actions/none")
            .replace("{kind}", "fake.thing")
            .replace("{id}", id)
    }
}

async fn made(admin: &Client, namespace: &str) -> (String, String) {
    let manifest = json!({
        "kind": "fake.thing", "name": "it", "namespace": namespace, "backend": "sandbox",
        "desired": { "size": 1 },
    });
    let reply = admin.done(Method::POST, "/v1/entities", manifest).await;
    (text(&reply.body["entity"]["id"]), text(&reply.body["operation"]["id"]))
}

/// A request that is invalid: once it is authorised, it is refused for its content.
async fn knock(caller: &Client, method: &str, path: &str, namespace: &str) -> StatusCode {
    let method: Method = method.parse().unwrap();
    let nonsense =
        json!({ "kind": "none.such", "name": "x", "desired": {}, "namespace": namespace });
    let body = match method {
        Method::GET | Method::DELETE => None,
        Method::PUT | Method::PATCH => Some(json!({ "desired": 7 })),
        _ if path.ends_with("/refresh") => None,
        _ => Some(nonsense),
    };
    let headers: &[_] = if method == Method::PATCH {
        &[("Content-Type", "application/merge-patch+json")]
    } else {
        &[]
    };
    let reply: Result<_, Lost> = caller.send(method, path, body.as_ref(), headers).await;
    reply.unwrap().status
}

fn is_let_in(status: StatusCode) -> bool {
    ![StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_gets_as_far_as_its_row_says() {
    let land = Land::new().await;
    for (rank, role) in ROLES.iter().enumerate() {
        for namespace in [Some("here"), None] {
            let caller = land.caller(role, namespace).await;
            for (method, template, scope, weakest) in TABLE {
                if (*method, *template) == ("DELETE", "/v1/entities/{id}") {
                    continue;
                }
                let what = format!("{role} in {namespace:?}: {method} {template}");
                let path = Land::path(template, &land.here);
                let status = knock(&caller, method, &path, "here").await;
                let expected = match scope {
                    Open | Anyone => true,
                    There => rank >= *weakest,
                    Everywhere => rank >= *weakest && namespace.is_none(),
                };
                assert_eq!(is_let_in(status), expected, "{what}: {status}");
                if *scope == There && namespace.is_some() {
                    let path = Land::path(template, &land.there);
                    let status = knock(&caller, method, &path, "there").await;
                    let hidden = [StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY];
                    assert!(hidden.contains(&status), "{what}, another's: {status}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_accepted_without_a_valid_token() {
    let land = Land::new().await;
    let issued = land.caller("admin", None).await;
    let tokens = land.server.client.get("/v1/tokens").await.body;
    let id = text(&tokens["items"][0]["id"]);
    assert!(!tokens.to_string().contains("stw_"), "a value is shown: {tokens:#}");
    assert_eq!(issued.get("/v1/tokens").await.status, StatusCode::OK);
    let revoke = format!("/v1/tokens/{id}");
    land.server.client.send(Method::DELETE, &revoke, None, &[]).await.unwrap();

    let strangers = ["", "stw_0", "admin"].map(|token| land.server.client.with_token(token));
    for caller in strangers.iter().chain([&issued]) {
        for (method, template, scope, _) in TABLE {
            let status = knock(caller, method, &Land::path(template, &land.here), "here").await;
            let expected = *scope == Open;
            assert_eq!(status != StatusCode::UNAUTHORIZED, expected, "{method} {template}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_events_show_one_s_own_namespaces_only() {
    let land = Land::new().await;
    let caller = land.caller("viewer", Some("here")).await;
    for path in ["/v1/entities", "/v1/operations", "/v1/events?page_size=1000"] {
        let body = caller.get(path).await.body;
        let items = body["items"].as_array().unwrap();
        assert!(!items.is_empty(), "{path}");
        assert!(!body.to_string().contains(&land.there.0), "{path} shows another's");
        assert!(!body.to_string().contains("access.token_issued"), "{path} shows who came in");
        let other = format!("{path}{}namespace=there", if path.contains('?') { "&" } else { "?" });
        assert_eq!(caller.get(&other).await.body["items"], json!([]), "{other}");
    }
    let all = land.server.client.get("/v1/events?page_size=1000").await.body.to_string();
    assert!(all.contains("access.token_issued"), "who let whom in is history");
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_and_tokens_survive_and_are_refused_when_they_make_no_sense() {
    let setup = Setup::new("[namespaces.fixed]\nrequire_reason = true\n");
    let mut server = setup.start().await;
    let admin = server.client.clone();
    let made = json!({ "name": "made" });
    let create = || admin.send(Method::POST, "/v1/namespaces", Some(&made), &[]);
    assert_eq!(create().await.unwrap().status, StatusCode::CREATED);
    assert_eq!(create().await.unwrap().status, StatusCode::CONFLICT);
    let body = json!({ "actor": "ci", "grants": [{ "role": "viewer", "namespace": "made" }] });
    let reply = admin.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
    let value = text(&reply.body["value"]);
    for (path, body) in [
        ("/v1/namespaces", json!({ "name": "no name" })),
        ("/v1/namespaces", json!({ "name": "x", "colour": "red" })),
        ("/v1/tokens", json!({ "actor": "ci", "grants": [] })),
        ("/v1/tokens", json!({ "actor": "ci", "grants": [{ "role": "king" }] })),
        (
            "/v1/tokens",
            json!({ "actor": "ci", "grants": [{ "role": "viewer", "namespace": "?" }] }),
        ),
        (
            "/v1/tokens",
            json!({ "actor": "ci", "grants": [{ "role": "viewer" }], "expires_at": "2001-01-01T00:00:00Z" }),
        ),
    ] {
        let reply = admin.send(Method::POST, path, Some(&body), &[]).await.unwrap();
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {:#}", reply.body);
    }
    let fixed = admin.send(Method::DELETE, "/v1/namespaces/fixed", None, &[]).await.unwrap();
    assert_eq!(fixed.status, StatusCode::CONFLICT);

    assert!(server.terminate().await.success());
    server = setup.start().await;
    let caller = server.client.with_token(&value);
    let namespaces = caller.get("/v1/namespaces").await.body;
    assert_eq!(namespaces["items"], json!([{ "name": "made", "require_reason": false }]));
    let admin = server.client.clone();
    let gone = admin.send(Method::DELETE, "/v1/namespaces/made", None, &[]).await.unwrap();
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    needs_a_reason(&admin).await;
    let log = std::fs::read(setup.data().join("events.db")).unwrap();
    let wal = std::fs::read(setup.data().join("events.db-wal")).unwrap_or_default();
    let secret = value.as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(!holds(&log) && !holds(&wal) && !server.said().contains(&value), "a token leaked");
}

async fn needs_a_reason(admin: &Client) {
    let manifest = json!({
        "kind": "fake.thing", "name": "it", "namespace": "fixed", "backend": "sandbox",
        "desired": {},
    });
    let send = |headers| admin.send(Method::POST, "/v1/entities", Some(&manifest), headers);
    let refused = send(&[]).await.unwrap();
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&refused.body["type"]).ends_with("reason-required"), "{:#}", refused.body);
    let reply = send(&[("Stateward-Reason", "ticket 7")]).await.unwrap();
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let events = format!("/v1/entities/{}/events", text(&reply.body["entity"]["id"]));
    assert_eq!(admin.get(&events).await.body["items"][0]["reason"], Value::from("ticket 7"));
}

#[expect(clippy::disallowed_methods, reason = "the server's clock is this machine's")]
#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_when_it_was_meant_to() {
    let setup = Setup::new("");
    let server = setup.start().await;
    let soon = jiff::Timestamp::now() + std::time::Duration::from_secs(2);
    let body = json!({
        "actor": "ci", "grants": [{ "role": "viewer" }], "expires_at": soon.to_string(),
    });
    let issued = server.client.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
    let caller = server.client.with_token(&text(&issued.body["value"]));
    assert_eq!(caller.get("/v1/kinds").await.status, StatusCode::OK);
    until("it is over", async || {
        (caller.get("/v1/kinds").await.status == StatusCode::UNAUTHORIZED).then_some(())
    })
    .await;
    assert!(jiff::Timestamp::now() >= soon, "not before its time");
}
