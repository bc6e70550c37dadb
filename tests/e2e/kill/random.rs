//! Fifty kills at random moments, under load.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Client, Setup, World, condition, text, thing};

const DEATHS: usize = 50;
const CLIENTS: usize = 4;

/// The state that a client expects: from acknowledged requests, and from the one whose answer was lost.
#[derive(Default)]
struct Expected {
    /// Entities by name, with the newest size that was acknowledged; `None` = deleted.
    entities: BTreeMap<String, (String, Option<u64>)>,
    operations: Vec<String>,
    /// The one request whose answer was lost with the server: name and desired size.
    unanswered: Option<(String, Option<u64>)>,
}

impl Expected {
    /// Creates, updates and deletes until the server is gone.
    async fn load(&mut self, client: &Client, name: usize, round: usize) {
        for turn in 0.. {
            let name = format!("t{name}-{round}-{}", turn / 3);
            let size = turn % 3;
            let known = self.entities.get(&name).map(|(id, _)| format!("/v1/entities/{id}"));
            let (requested, sent) = match (size, known) {
                (0, _) => {
                    let body = thing(&name, json!({ "size": 0 }));
                    (Some(0), client.send(Method::POST, "/v1/entities", Some(&body), &[]).await)
                }
                (1, Some(path)) => {
                    let body = json!({ "desired": { "size": 1 } });
                    (Some(1), client.send(Method::PUT, &path, Some(&body), &[]).await)
                }
                (2, Some(path)) if turn % 2 == 0 => {
                    (None, client.send(Method::DELETE, &path, None, &[]).await)
                }
                _ => continue,
            };
            let Ok(reply) = sent else {
                self.unanswered = Some((name, requested));
                return;
            };
            assert_eq!(reply.status, StatusCode::ACCEPTED, "{:#}", reply.body);
            self.operations.push(text(&reply.body["operation"]["id"]));
            self.entities.insert(name, (text(&reply.body["entity"]["id"]), requested));
        }
    }

    /// An unanswered request may have been accepted or not: reads the entity to find out.
    async fn resolve_unanswered(&mut self, client: &Client) {
        let Some((name, requested)) = self.unanswered.take() else { return };
        let entity = if let Some((id, _)) = self.entities.get(&name) {
            client.entity(id).await
        } else {
            let found = client.get(&format!("/v1/entities?kind=fake.thing&name={name}")).await;
            match found.body["items"].get(0) {
                Some(entity) => entity.clone(),
                None => return,
            }
        };
        let size = entity["desired"]["size"].as_u64();
        // The state does not show it: while an interrupted attempt counts as running, a deletion waits behind it.
        let operations = format!("/v1/entities/{}/operations?page_size=1000", text(&entity["id"]));
        let operations = client.get(&operations).await.body;
        let operations = operations["items"].as_array().expect("a list");
        let deleted = operations.iter().any(|operation| operation["type"] == "delete");
        let now = if deleted { None } else { size };
        let before = self.entities.get(&name).map(|(_, requested)| *requested);
        assert!(
            now == requested || Some(now) == before,
            "{name} is neither old nor new: {entity:#}"
        );
        self.entities.insert(name, (text(&entity["id"]), now));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_deaths_under_load_lose_nothing_and_make_nothing_twice() {
    let world = World::start().await;
    world.latency(3).await;
    let setup = Setup::with_world(&world.url);
    let mut chance = StdRng::seed_from_u64(50);
    let mut expected: Vec<Expected> = (0..CLIENTS).map(|_| Expected::default()).collect();
    let mut server = setup.start().await;
    for round in 0..DEATHS {
        let client = server.client.clone();
        for expected in &mut expected {
            expected.resolve_unanswered(&client).await;
        }
        let pause = Duration::from_millis(chance.random_range(5..250));
        let load = expected
            .iter_mut()
            .enumerate()
            .map(|(name, expected)| expected.load(&client, name, round));
        let death = async {
            tokio::time::sleep(pause).await;
            server.kill_in_turn(round).await;
        };
        tokio::join!(futures_util::future::join_all(load), death);
        setup.revive(&mut server).await;
    }
    verify(&server.client, &world, expected).await;
}

/// Retries what three deaths in a row met in the middle of an attempt: the rule against attempts that kill their process
/// leaves it to a person, without another call. Returns the number; anything else that erred stays so.
async fn retry_abandoned(client: &Client) -> usize {
    let mut retried = 0;
    for entity in client.settled().await {
        if entity["error"]["code"] == "attempts_abandoned" {
            let path = format!("/v1/entities/{}/actions/retry", text(&entity["id"]));
            client.done(Method::POST, &path, json!({})).await;
            retried += 1;
        }
    }
    retried
}

async fn verify(client: &Client, world: &World, mut expected: Vec<Expected>) {
    for expected in &mut expected {
        expected.resolve_unanswered(client).await;
    }
    let retried = retry_abandoned(client).await;
    let settled = client.settled().await;
    let by_id: BTreeMap<_, _> =
        settled.iter().map(|entity| (text(&entity["id"]), entity)).collect();
    let (mut living, mut acknowledged) = (0, 0);
    for expected in &expected {
        for (name, (id, size)) in &expected.entities {
            let Some(size) = size else {
                let lives = by_id.get(id);
                assert!(lives.is_none(), "{name} was deleted, and lives: {lives:#?}");
                continue;
            };
            living += 1;
            let entity = by_id.get(id).unwrap_or_else(|| panic!("{name} was lost"));
            assert_eq!(entity["state"], "ok", "{entity:#}");
            assert!(condition(entity, "synced"), "{entity:#}");
            assert_eq!(entity["observed"]["attributes"]["size"].as_u64(), Some(*size), "{name}");
        }
        for id in &expected.operations {
            let operation = client.get(&format!("/v1/operations/{id}")).await;
            assert_eq!(operation.status, StatusCode::OK, "an acknowledged operation is gone");
            assert_eq!(operation.body["done"], true, "{:#}", operation.body);
        }
        acknowledged += expected.operations.len();
    }
    assert_eq!(living, settled.len(), "entities that nobody asked for");
    let counts = world.counts().await;
    counts.assert_none_twice();
    assert_eq!(counts.objects, living as u64, "leaked or lost in the world");
    println!(
        "{DEATHS} deaths, {acknowledged} acknowledged changes, {living} entities left, {retried} retried"
    );
}
