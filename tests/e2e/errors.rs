//! Failing backends: each class of error has exactly the effects of its row in the table.

mod in_use;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, Server, Setup, World, condition, reason, text, thing, until};

/// Fails one call in five with transient errors.
#[tokio::test(flavor = "multi_thread")]
async fn one_call_in_five_fails_and_everything_ends_well() {
    let world = World::start().await;
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\nerror_rate = 0.2\nseed = 11\n\
         errors = [\"transient\", \"rate_limited\", \"ambiguous\", \"conflict\"]\n\
         retry = {{ first = \"20ms\", max = \"200ms\" }}\n",
        world.url
    ));
    let server = setup.start().await;
    let client = &server.client;
    let mut ids = Vec::new();
    for number in 0..200 {
        let body = thing(&format!("t{number}"), json!({ "size": 1 }));
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        ids.push(text(&reply.body["entity"]["id"]));
    }
    for (number, id) in ids.iter().enumerate() {
        let path = format!("/v1/entities/{id}");
        let body = json!({ "desired": { "size": 2 } });
        if number % 4 == 0 {
            client.send(Method::DELETE, &path, None, &[]).await.unwrap();
        } else {
            client.send(Method::PUT, &path, Some(&body), &[]).await.unwrap();
        }
    }
    let settled = client.settled().await;
    assert_eq!(settled.len(), 150);
    for entity in &settled {
        assert_eq!(entity["state"], "ok", "{entity:#}");
        assert_eq!(entity["observed"]["attributes"]["size"], 2, "{entity:#}");
    }
    let counts = world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, 150);
}

/// One call in five fails with `not_found`, although the object exists. Only a successful answer proves absence.
#[tokio::test(flavor = "multi_thread")]
async fn no_deletion_leaks_when_calls_fail_with_not_found() {
    let world = World::start().await;
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\nerror_rate = 0.2\nseed = 7\n\
         errors = [\"not_found\"]\nretry = {{ first = \"20ms\", max = \"200ms\" }}\n",
        world.url
    ));
    let server = setup.start().await;
    let client = &server.client;
    for number in 0..12 {
        let body = thing(&format!("t{number}"), json!({ "size": 1 }));
        client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
    }
    let made = client.settled().await;
    assert!(made.iter().all(|entity| entity["state"] == "ok"), "{made:#?}");
    assert_eq!(world.counts().await.objects, 12);
    for entity in &made {
        let path = format!("/v1/entities/{}", text(&entity["id"]));
        client.send(Method::DELETE, &path, None, &[]).await.unwrap();
    }
    until("every deletion has ended", async || client.entities().await.is_empty().then_some(()))
        .await;
    let counts = world.counts().await;
    assert_eq!(counts.objects, 0, "objects that no entity manages any more");
    counts.assert_none_twice();
}

/// An observation that fails with `not_found` proves nothing: not for a deletion, a refresh or a drift check.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_fails_with_not_found_proves_nothing() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let unlucky = json!({ "size": 1, "_fake": { "fail": { "observe": "not_found" }, "times": 2 } });
    for (name, refreshed) in [("looked-at", true), ("deleted", false)] {
        let id = client.thing(name, json!({ "size": 1 })).await;
        let object = text(&client.entity(&id).await["observed"]["external_id"]);
        world.tamper(&object, &unlucky).await;
        let path = format!("/v1/entities/{id}");
        if refreshed {
            client.done(Method::POST, &format!("{path}/actions/refresh"), json!({})).await;
            let entity = client.entity(&id).await;
            assert_eq!(entity["state"], "ok", "{entity:#}");
            assert_eq!(reason(&entity, "drifted"), "AsDesired", "it was not lost: {entity:#}");
            let events = events(client, &id).await;
            let of = |name: &str| events.iter().filter(|event| event["type"] == name).count();
            assert_eq!(of("entity.sync_failed"), 2, "both looks failed: {events:#?}");
            assert_eq!(of("entity.drift_cleared"), 0, "nothing was lost: {events:#?}");
        } else {
            client.done(Method::DELETE, &path, json!({})).await;
            assert_eq!(client.entity(&id).await["state"], "deleted");
        }
    }
    assert_eq!(world.counts().await.objects, 1, "what was deleted is gone, the other is not");
}

/// The effects of a creation that fails once with a class.
struct Row {
    class: &'static str,
    /// `next` of the event that records the failure.
    next: &'static str,
    /// Final state.
    state: &'static str,
    /// Final reason of the condition `blocked`; empty = not blocked.
    blocked: &'static str,
}

const TABLE: &[Row] = &[
    Row { class: "transient", next: "retry", state: "ok", blocked: "" },
    Row { class: "rate_limited", next: "retry", state: "ok", blocked: "" },
    Row { class: "ambiguous", next: "retry", state: "ok", blocked: "" },
    Row { class: "conflict", next: "retry", state: "ok", blocked: "" },
    Row { class: "not_found", next: "retry", state: "ok", blocked: "" },
    Row {
        class: "already_exists",
        next: "decision",
        state: "creation_scheduled",
        blocked: "DecisionNeeded",
    },
    Row { class: "invalid", next: "erred", state: "erred", blocked: "" },
    Row { class: "immutable", next: "erred", state: "erred", blocked: "" },
    Row { class: "quota_exceeded", next: "quota", state: "ok", blocked: "" },
    Row { class: "refused", next: "refused", state: "ok", blocked: "" },
    Row { class: "bug", next: "erred", state: "erred", blocked: "" },
];

async fn sandbox(world: &World) -> (Setup, Server) {
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\n\
         retry = {{ first = \"20ms\", max = \"200ms\" }}\nbreaker = {{ probe_interval = \"200ms\" }}\n",
        world.url
    ));
    let server = setup.start().await;
    (setup, server)
}

fn failing(class: &str) -> Value {
    json!({ "size": 1, "_fake": { "fail": { "create": class }, "times": 1 } })
}

async fn events(client: &Client, id: &str) -> Vec<Value> {
    let body = client.get(&format!("/v1/entities/{id}/events?page_size=1000")).await.body;
    body["items"].as_array().expect("items").clone()
}

fn first_failure(events: &[Value]) -> &Value {
    let failed = events.iter().find(|event| event["type"] == "entity.sync_failed");
    &failed.expect("a failure is recorded")["data"]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_class_does_what_its_row_says() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    for row in TABLE {
        let class = row.class;
        let body = thing(&class.replace('_', "-"), failing(class));
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        let id = text(&reply.body["entity"]["id"]);
        let entity = until(&format!("{class} has its effect"), async || {
            let entity = client.entity(&id).await;
            let waits = condition(&entity, "blocked") != row.blocked.is_empty();
            (entity["state"] == row.state && waits).then_some(entity)
        })
        .await;
        let events = events(client, &id).await;
        let failure = first_failure(&events);
        assert!(failure["next"].to_string().contains(row.next), "{class}: {failure:#}");
        assert_eq!(condition(&entity, "blocked"), !row.blocked.is_empty(), "{class}: {entity:#}");
        if !row.blocked.is_empty() {
            assert_eq!(reason(&entity, "blocked"), row.blocked, "{class}");
        }
        if row.state == "erred" {
            assert_eq!(entity["error"]["class"], class, "{entity:#}");
            let operation = text(&reply.body["operation"]["id"]);
            let operation = client.get(&format!("/v1/operations/{operation}")).await.body;
            assert_eq!(operation["state"], "failed", "{class}");
            recovers_with_a_new_wish(client, &id).await;
        }
    }
    let counts = world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, TABLE.len() as u64 - 1, "all but the one that waits: {counts:?}");
}

async fn recovers_with_a_new_wish(client: &Client, id: &str) {
    let body = json!({ "desired": { "size": 2 } });
    let reply = client.done(Method::PUT, &format!("/v1/entities/{id}"), body).await;
    assert_eq!(reply.body["entity"]["state"], "ok");
    assert_eq!(reply.body["entity"]["error"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_entity_goes_on_once_a_person_decided() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    for (name, decision, state) in [("a", "create", "ok"), ("b", "give_up", "erred")] {
        let body = thing(name, failing("already_exists"));
        let reply = client.send(Method::POST, "/v1/entities", Some(&body), &[]).await.unwrap();
        let id = text(&reply.body["entity"]["id"]);
        until("it is blocked", async || {
            condition(&client.entity(&id).await, "blocked").then_some(())
        })
        .await;
        let path = format!("/v1/entities/{id}/actions/decide");
        let body = json!({ "decision": decision });
        client.send(Method::POST, &path, Some(&body), &[]).await.unwrap();
        client.reaches(&id, state).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_parks_the_backend_until_it_is_well() {
    for class in ["unauthorized", "misconfigured"] {
        let world = World::start().await;
        let (_setup, server) = sandbox(&world).await;
        let client = &server.client;
        let reply = client.done(Method::POST, "/v1/entities", thing("parks", failing(class))).await;
        let id = text(&reply.body["entity"]["id"]);
        let failure = events(client, &id).await;
        let next = &first_failure(&failure)["next"];
        assert!(next.to_string().contains("backend"), "{class}: {next}");
        world.counts().await.assert_none_twice();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_an_entity_is_woken_by_it() {
    let world = World::start().await;
    let setup = Setup::new(&format!(
        "[backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\n\
         retry = {{ first = \"20ms\", max = \"1h\" }}\n",
        world.url
    ));
    let server = setup.start().await;
    let client = &server.client;
    let slow = thing("first", json!({ "_fake": { "pending_ms": 700 } }));
    let reply = client.send(Method::POST, "/v1/entities", Some(&slow), &[]).await.unwrap();
    let first = text(&reply.body["entity"]["id"]);
    let waits = json!({ "_fake": {
        "fail": { "create": "dependency_not_ready" }, "times": 1, "on": first,
    } });
    let reply = client.done(Method::POST, "/v1/entities", thing("second", waits)).await;
    let second = text(&reply.body["entity"]["id"]);
    assert_eq!(client.entity(&first).await["state"], "ok", "it did not wait");
    let events = events(client, &second).await;
    assert!(first_failure(&events)["next"].to_string().contains(&first), "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_driver_concerns_one_entity_alone() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let body = thing("panics", json!({ "_fake": { "panic": "create" } }));
    let reply = client.waited(Method::POST, "/v1/entities", body).await;
    assert_eq!(reply.body["entity"]["state"], "erred", "{:#}", reply.body);
    assert_eq!(reply.body["entity"]["error"]["class"], "bug");
    client.thing("another", json!({ "size": 1 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_backend_does_not_do_blocks() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let id = client.thing("stubborn", json!({ "size": 1 })).await;
    let body = json!({ "desired": { "size": 2, "_fake": { "ignore_updates": true } } });
    client.send(Method::PUT, &format!("/v1/entities/{id}"), Some(&body), &[]).await.unwrap();
    let entity = until("it is blocked", async || {
        let entity = client.entity(&id).await;
        condition(&entity, "blocked").then_some(entity)
    })
    .await;
    assert_eq!(reason(&entity, "blocked"), "NotConverging", "{entity:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_object_is_made_again_only_when_a_person_says_so() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let id = client.thing("lost", json!({ "size": 1 })).await;
    let object = text(&client.entity(&id).await["observed"]["external_id"]);
    world.take_away(&object).await;
    let refresh = format!("/v1/entities/{id}/actions/refresh");
    let reply = client.waited(Method::POST, &refresh, json!({})).await;
    assert_eq!(reply.body["operation"]["done"], true, "{:#}", reply.body);
    let entity = until("the loss shows", async || {
        let entity = client.entity(&id).await;
        condition(&entity, "blocked").then_some(entity)
    })
    .await;
    assert_eq!(reason(&entity, "blocked"), "DecisionNeeded");
    assert!(condition(&entity, "drifted"), "{entity:#}");
    assert_eq!(world.counts().await.objects, 0);

    let decide = format!("/v1/entities/{id}/actions/decide");
    client.done(Method::POST, &decide, json!({ "decision": "create" })).await;
    assert_eq!(world.counts().await.objects, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn mass_absence_parks_the_backend_and_a_person_lets_it_go_on() {
    let world = World::start().await;
    let (_setup, server) = sandbox(&world).await;
    let client = &server.client;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(client.thing(&format!("t{number}"), json!({ "size": 1 })).await);
    }
    for id in &ids {
        let object = text(&client.entity(id).await["observed"]["external_id"]);
        world.take_away(&object).await;
    }
    for id in &ids {
        let path = format!("/v1/entities/{id}/actions/refresh");
        client.send(Method::POST, &path, Some(&json!({})), &[]).await.unwrap();
    }
    let backend = until("the backend is parked", async || {
        let body = client.get("/v1/backends/sandbox").await.body;
        (body["open"] == false).then_some(body)
    })
    .await;
    assert!(!backend["closed"].is_null(), "{backend:#}");
    let resume = "/v1/backends/sandbox/actions/resume";
    let body = json!({ "reason": "they were deleted on purpose" });
    let reply = client.send(Method::POST, resume, Some(&body), &[]).await.unwrap();
    assert!(reply.status.is_success(), "{:#}", reply.body);
    // On every node within a second.
    until("it is open", async || {
        (client.get("/v1/backends/sandbox").await.body["open"] == true).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_once_and_again_after_the_backend_was_away() {
    let world = World::start().await;
    world.wants("token").await;
    let setup = Setup::new(&format!(
        "[secrets]\ntoken = {{ file = \"token\" }}\n\
         [backends.sandbox]\ndriver = \"fake\"\nurl = \"{}\"\ntoken = {{ \"$secret\" = \"token\" }}\n\
         drift_interval = \"100ms\"\nbreaker = {{ probe_interval = \"200ms\" }}\n",
        world.url
    ));
    std::fs::write(setup.folder.path().join("token"), "token").unwrap();
    let server = setup.start().await;
    let client = &server.client;
    let id = client.thing("lost", json!({ "size": 1 })).await;
    world.take_away(&text(&client.entity(&id).await["observed"]["external_id"])).await;
    let asks = async || {
        let entity = client.entity(&id).await;
        (reason(&entity, "blocked") == "DecisionNeeded").then_some(entity)
    };
    let asked = until("it asks", asks).await;
    // As many checks as another entity needs to find ten changes by others record nothing new.
    let other = client.thing("other", json!({ "size": 1 })).await;
    let object = text(&client.entity(&other).await["observed"]["external_id"]);
    for size in 2..12 {
        let version = client.entity(&other).await["version"].as_u64();
        world.tamper(&object, &json!({ "size": size })).await;
        until("the other's drift is corrected", async || {
            let entity = client.entity(&other).await;
            (entity["version"].as_u64() > version && condition(&entity, "synced")).then_some(())
        })
        .await;
    }
    assert_eq!(client.entity(&id).await["version"], asked["version"], "it asks all the time");

    world.wants("another").await;
    let refresh = format!("/v1/entities/{id}/actions/refresh");
    client.send(Method::POST, &refresh, Some(&json!({})), &[]).await.unwrap();
    until("the backend is away", async || {
        let entity = client.entity(&id).await;
        (reason(&entity, "blocked") == "BackendUnavailable").then_some(())
    })
    .await;
    world.wants("token").await;
    until("it asks again", asks).await;
}
