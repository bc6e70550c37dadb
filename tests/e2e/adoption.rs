//! An object that one entity manages is neither shown to nor changed by another one, by whatever request.

mod fixture;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Client, Reply, Server, Setup, condition, reason, text, until};

/// Backends with short intervals.
const CONFIG: &str = "[backends.local]\ndriver = \"local\"\nroot = \"./managed\"\n\
    drift_interval = \"200ms\"\nretry = { first = \"50ms\", max = \"200ms\" }\n\
    [backends.sandbox]\ndriver = \"fake\"\ndrift_interval = \"200ms\"\n\
    retry = { first = \"50ms\", max = \"200ms\" }\n";

/// A text that only replies to the owner of the object may contain.
const SECRET: &str = "only for y";

/// A server, and operators of the namespaces `x` and `y`.
struct Ground {
    setup: Setup,
    server: Server,
    x: Client,
    y: Client,
}

impl Ground {
    async fn new() -> Self {
        let setup = Setup::new(CONFIG);
        let server = setup.start().await;
        let (x, y) = (operator(&server.client, "x").await, operator(&server.client, "y").await);
        Self { setup, server, x, y }
    }

    /// An unmanaged file.
    fn file(&self, path: &str) {
        std::fs::write(self.setup.managed().join(path), "nobody's").unwrap();
    }
}

async fn operator(admin: &Client, namespace: &str) -> Client {
    let body = json!({ "name": namespace });
    admin.send(Method::POST, "/v1/namespaces", Some(&body), &[]).await.unwrap();
    let grants = json!([{ "role": "operator", "namespace": namespace }]);
    let body = json!({ "actor": namespace, "grants": grants });
    let issued = admin.send(Method::POST, "/v1/tokens", Some(&body), &[]).await.unwrap();
    admin.with_token(issued.body["value"].as_str().unwrap())
}

/// A kind with owner keys, or one whose objects are identified by their paths.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    File,
    Thing,
}

const KINDS: [Kind; 2] = [Kind::File, Kind::Thing];

impl Kind {
    /// The manifest of an entity called `name`, with a separate identity; `more` is merged into it.
    fn manifest(self, namespace: &str, name: &str, more: &Value) -> Value {
        let mut manifest = match self {
            Self::File => json!({
                "kind": "local.file", "backend": "local",
                "desired": { "path": format!("{namespace}-{name}"), "content": SECRET },
            }),
            Self::Thing => json!({
                "kind": "fake.thing", "backend": "sandbox", "desired": { "text": SECRET },
            }),
        };
        manifest["namespace"] = json!(namespace);
        manifest["name"] = json!(name);
        for (member, value) in more.as_object().unwrap() {
            manifest[member] = value.clone();
        }
        manifest
    }
}

async fn post(client: &Client, manifest: &Value) -> Reply {
    client.send(Method::POST, "/v1/entities", Some(manifest), &[]).await.unwrap()
}

async fn act(client: &Client, id: &str, action: &str, body: &Value) -> Reply {
    let path = format!("/v1/entities/{id}/actions/{action}");
    client.send(Method::POST, &path, Some(body), &[]).await.unwrap()
}

async fn manage(client: &Client, id: &str, policy: &str) -> Reply {
    let body = json!({ "management_policy": policy });
    client.send(Method::PUT, &format!("/v1/entities/{id}"), Some(&body), &[]).await.unwrap()
}

/// The id of an entity that was accepted.
fn accepted(reply: &Reply) -> String {
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
    text(&reply.body["entity"]["id"])
}

/// An entity that is `ok`, and its object's external id.
async fn made(client: &Client, manifest: &Value) -> (String, String) {
    let entity = client.done(Method::POST, "/v1/entities", manifest.clone()).await.body;
    let object = text(&entity["entity"]["observed"]["external_id"]);
    (text(&entity["entity"]["id"]), object)
}

async fn blocked(client: &Client, id: &str, why: &str) -> Value {
    until(&format!("{id} is blocked: {why}"), async || {
        let entity = client.entity(id).await;
        (condition(&entity, "blocked") && reason(&entity, "blocked") == why).then_some(entity)
    })
    .await
}

/// Checks that a reply is a refusal as taken; only a caller who may see the holder (`sees`) is given its id.
fn taken(reply: &Reply, holder: &str, sees: bool, road: &str) {
    assert_eq!(reply.status, StatusCode::CONFLICT, "{road}: {:#}", reply.body);
    let body = reply.body.to_string();
    assert!(text(&reply.body["type"]).ends_with("identity-taken"), "{road}: {body}");
    assert!(text(&reply.body["detail"]).contains("taken"), "{road}: {body}");
    assert!(!body.contains(SECRET), "{road}: {body}");
    assert_eq!(body.contains(holder), sees, "{road}: {body}");
}

/// Tries every request by which `client` in `namespace` could take an object that `holder` manages.
async fn every_road(
    (client, namespace, sees): (&Client, &str, bool),
    kind: Kind,
    (holder, object): (&str, &str),
) {
    let name = |road: &str| format!("{road}-{sees}");
    for policy in ["observe_only", "full"] {
        let more = json!({ "external_id": object, "management_policy": policy });
        let manifest = kind.manifest(namespace, &name(policy), &more);
        taken(&post(client, &manifest).await, holder, sees, policy);
        // It waits for a decision, because the named object does not exist.
        let more = json!({ "external_id": "nothing", "management_policy": policy });
        let manifest = kind.manifest(namespace, &name(&format!("nothing-{policy}")), &more);
        let id = accepted(&post(client, &manifest).await);
        blocked(client, &id, "DecisionNeeded").await;
        let adopt = json!({ "external_id": object });
        taken(&act(client, &id, "adopt", &adopt).await, holder, sees, "adopt");
        let decide = json!({ "decision": "adopt", "external_id": object });
        taken(&act(client, &id, "decide", &decide).await, holder, sees, "decide");
        act(client, &id, "release", &json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_leads_to_an_object_that_another_entity_manages() {
    let ground = Ground::new().await;
    let Ground { server, x, y, .. } = &ground;
    for kind in KINDS {
        let manifest = kind.manifest("y", "own", &json!({}));
        let (holder, object) = made(y, &manifest).await;
        let pair = (holder.as_str(), object.as_str());
        every_road((x, "x", false), kind, pair).await;
        every_road((y, "y", true), kind, pair).await;
        every_road((&server.client, "x", true), kind, pair).await;
        let own = y.entity(&holder).await;
        assert_eq!((&own["state"], condition(&own, "synced")), (&json!("ok"), true), "{own:#}");
    }
    // The path of an entity that manages another object, and the object as the path of another entity.
    ground.file("found");
    let more = json!({ "external_id": "found", "management_policy": "full" });
    let holder = accepted(&post(y, &Kind::File.manifest("y", "finder", &more)).await);
    let desired = json!({ "desired": { "path": "found", "content": "mine" } });
    let reply = post(x, &Kind::File.manifest("x", "maker", &desired)).await;
    taken(&reply, &holder, false, "a path that another entity has by its name");
    let read = std::fs::read_to_string(ground.setup.managed().join("y-own")).unwrap();
    assert_eq!(read, SECRET);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmanaged_object_is_shared_until_an_entity_manages_it() {
    let ground = Ground::new().await;
    let Ground { x, y, .. } = &ground;
    for kind in KINDS {
        // The owner key of a released entity blocks no adoption.
        let object = match kind {
            Kind::File => {
                ground.file("shared");
                "shared".to_owned()
            }
            Kind::Thing => {
                let (id, object) = made(y, &kind.manifest("y", "former", &json!({}))).await;
                assert_eq!(act(y, &id, "release", &json!({})).await.status, StatusCode::ACCEPTED);
                object
            }
        };
        let more = json!({ "external_id": object, "management_policy": "observe_only" });
        let (first, _) = made(x, &kind.manifest("x", "looks", &more)).await;
        let (second, _) = made(y, &kind.manifest("y", "looks", &more)).await;
        let full = manage(y, &second, "full").await;
        assert!(full.status.is_success(), "{:#}", full.body);
        taken(&manage(x, &first, "full").await, &second, false, "full");
        let seen = blocked(x, &first, "ObjectTaken").await;
        assert_eq!(seen["observed"]["attributes"], Value::Null, "{seen:#}");
        assert!(manage(y, &second, "observe_only").await.status.is_success());
        until("it is shared again", async || {
            let seen = x.entity(&first).await;
            (!condition(&seen, "blocked") && condition(&seen, "ready")).then_some(())
        })
        .await;
        assert!(manage(x, &first, "full").await.status.is_success(), "it is free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_the_owner_key_of_a_living_entity_is_not_shown() {
    let ground = Ground::new().await;
    let Ground { x, y, .. } = &ground;
    let (owner, object) = made(y, &Kind::Thing.manifest("y", "own", &json!({}))).await;
    // It no longer manages the object, but the object still carries its key.
    assert!(manage(y, &owner, "observe_only").await.status.is_success());
    for policy in ["observe_only", "full"] {
        let desired = json!({ "text": "mine" });
        let more = json!({
            "external_id": object, "management_policy": policy, "desired": desired,
            "deletion_policy": "delete",
        });
        let id = accepted(&post(x, &Kind::Thing.manifest("x", policy, &more)).await);
        let seen = blocked(x, &id, "ObjectTaken").await;
        assert_eq!(seen["observed"]["attributes"], Value::Null, "{seen:#}");
        let events = x.get(&format!("/v1/entities/{id}/events")).await.body.to_string();
        assert!(!events.contains(SECRET) && !events.contains(&owner), "{events}");
        if policy == "full" {
            let path = format!("/v1/entities/{id}");
            let deleted = x.send(Method::DELETE, &path, None, &[]).await.unwrap();
            assert_eq!(deleted.status, StatusCode::ACCEPTED, "{:#}", deleted.body);
            blocked(x, &id, "ObjectTaken").await;
        }
        let released = act(x, &id, "release", &json!({})).await;
        assert!(released.status.is_success(), "{:#}", released.body);
    }
    let own = y.entity(&owner).await;
    assert_eq!(own["observed"]["attributes"], json!({ "text": SECRET }), "{own:#}");
    // Once the owner is released, the entity that names the object manages it.
    assert!(act(y, &owner, "release", &json!({})).await.status.is_success());
    let more = json!({ "external_id": object, "management_policy": "full" });
    made(x, &Kind::Thing.manifest("x", "heir", &more)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_meets_a_taken_object_is_recorded_and_the_owner_gets_it_back() {
    let ground = Ground::new().await;
    let Ground { server, x, y, .. } = &ground;
    // The id of the first thing of a fresh world: an entity claims it before the object is created.
    let object = "thing-000000000001";
    let more = json!({ "external_id": object, "management_policy": "full" });
    let squatter = accepted(&post(x, &Kind::Thing.manifest("x", "early", &more)).await);
    blocked(x, &squatter, "DecisionNeeded").await;
    let maker = accepted(&post(y, &Kind::Thing.manifest("y", "maker", &json!({}))).await);
    let seen = blocked(y, &maker, "ObjectTaken").await;
    assert_eq!(seen["observed"]["external_id"], object, "{seen:#}");
    let events = y.get(&format!("/v1/entities/{maker}/events")).await.body.to_string();
    assert!(events.contains("entity.external_id_recorded"), "{events}");
    // The holder of the claim observes the object, and finds the key of another entity on it.
    assert_eq!(act(x, &squatter, "retry", &json!({})).await.status, StatusCode::ACCEPTED);
    let seen = blocked(x, &squatter, "ObjectTaken").await;
    assert_eq!(seen["observed"]["attributes"], Value::Null, "{seen:#}");
    until("the maker has its object", async || {
        let seen = y.entity(&maker).await;
        (!condition(&seen, "blocked") && condition(&seen, "synced")).then_some(())
    })
    .await;
    let report = server.client.send(Method::POST, "/v1/audit/verify", None, &[]).await.unwrap();
    assert_eq!(report.body["ok"], true, "{:#}", report.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_released_entity_left_is_listed_as_something_to_be_taken_over() {
    let ground = Ground::new().await;
    let Ground { server, y, .. } = &ground;
    let (kept, managed) = made(y, &Kind::Thing.manifest("y", "kept", &json!({}))).await;
    let (left, free) = made(y, &Kind::Thing.manifest("y", "left", &json!({}))).await;
    assert!(act(y, &left, "release", &json!({})).await.status.is_success());
    let path = "/v1/backends/sandbox/objects?kind=fake.thing";
    until("the list knows of both", async || {
        let page = server.client.get(path).await.body;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        let is =
            |id: &str| items.iter().find(|item| item["external_id"] == id)?["managed"].as_bool();
        (is(&managed) == Some(true) && is(&free) == Some(false)).then_some(())
    })
    .await;
    assert_eq!(y.get(path).await.status, StatusCode::FORBIDDEN);
    // Even if it is only observed, no other entity may manage it.
    assert!(manage(y, &kept, "observe_only").await.status.is_success());
    let page = server.client.get(path).await.body;
    let item = page["items"].as_array().unwrap().iter().find(|it| it["external_id"] == managed);
    assert_eq!(item.unwrap()["managed"], true);
}
