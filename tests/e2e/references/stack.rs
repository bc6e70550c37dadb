//! Whole stacks, declared and deleted in any order, also with a kill in the middle.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::dependents::delete;
use super::{declare, patient, to};
use crate::harness::{Client, Server, Setup, World, condition, text, until};

const ENTITIES: usize = 20;
const SEEDS: u64 = 20;
const DEATHS: u64 = 4;

/// A stack: for each entity, the earlier ones that it refers to.
struct Stack {
    uses: Vec<Vec<usize>>,
    random: StdRng,
    seed: u64,
}

impl Stack {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let uses = (0..ENTITIES).map(|of| {
            let mut others: Vec<usize> = (0..of).collect();
            others.shuffle(&mut random);
            others.truncate(random.random_range(0..=3));
            others
        });
        Self { uses: uses.collect(), random, seed }
    }

    fn name(&self, of: usize) -> String {
        format!("s{}-{of}", self.seed)
    }

    fn desired(&self, of: usize) -> Value {
        let uses: Vec<Value> = self.uses[of].iter().map(|used| to(&self.name(*used))).collect();
        json!({ "size": of, "uses": uses })
    }

    fn shuffled(&mut self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..ENTITIES).collect();
        order.shuffle(&mut self.random);
        order
    }

    /// Declares all of it; ids in the order of the stack.
    async fn declare(&mut self, client: &Client) -> Vec<String> {
        let mut ids = vec![String::new(); ENTITIES];
        for of in self.shuffled() {
            ids[of] = declare(client, &self.name(of), self.desired(of)).await;
        }
        ids
    }

    async fn delete(&mut self, client: &Client, ids: &[String]) {
        for of in self.shuffled() {
            delete(client, &ids[of]).await;
        }
    }

    /// Waits until every object was created with the ids of its targets.
    async fn stands(&self, client: &Client, ids: &[String]) {
        let mut external = Vec::new();
        for (of, id) in ids.iter().enumerate() {
            let entity = client.reaches(id, "ok").await;
            assert!(!condition(&entity, "blocked"), "{entity:#}");
            let made_of: Vec<&Value> = self.uses[of].iter().map(|used| &external[*used]).collect();
            assert_eq!(entity["observed"]["attributes"]["uses"], json!(made_of), "{entity:#}");
            external.push(entity["observed"]["external_id"].clone());
        }
    }

    /// Waits until all of it is gone, and checks the order of deletion.
    async fn is_gone(&self, client: &Client, ids: &[String]) {
        let mut spans = Vec::new();
        for id in ids {
            client.reaches(id, "deleted").await;
            spans.push(span(client, id).await);
        }
        for (dependent, used) in self.uses.iter().enumerate() {
            for used in used {
                let (gone, begun) = (&spans[dependent].1, &spans[*used].0);
                let seed = self.seed;
                if gone >= begun {
                    let of = [
                        history(client, &ids[dependent]).await,
                        history(client, &ids[*used]).await,
                    ];
                    panic!("{dependent} was there when {used} went (seed {seed}): {of:#?}");
                }
            }
        }
    }
}

/// Positions of the first attempt to delete an entity, and of its end. A sweep that listed the object before may record
/// it as a stray after that, and then find it gone.
async fn span(client: &Client, id: &str) -> (String, String) {
    let events = client.get(&format!("/v1/entities/{id}/events?page_size=1000")).await.body;
    let events = events["items"].as_array().unwrap().clone();
    let begun = events.iter().find(|event| event["data"]["step"] == "delete").unwrap();
    let gone = events.iter().find(|event| event["type"] == "entity.deleted").unwrap();
    (text(&begun["position"]), text(&gone["position"]))
}

/// Its events, for the message of a failed test.
async fn history(client: &Client, id: &str) -> Vec<String> {
    let events = client.get(&format!("/v1/entities/{id}/events?page_size=1000")).await.body;
    let events = events["items"].as_array().unwrap().clone();
    let line = |event: &Value| {
        format!("{} {} {}", text(&event["position"]), event["type"], event["data"]["step"])
    };
    events.iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_made_and_unmade_in_any_order() {
    let (world, _setup, server) = patient().await;
    for seed in 0..SEEDS {
        let mut stack = Stack::new(seed);
        let ids = stack.declare(&server.client).await;
        stack.stands(&server.client, &ids).await;
        stack.delete(&server.client, &ids).await;
        stack.is_gone(&server.client, &ids).await;
        assert_eq!(world.counts().await.objects, 0, "seed {seed}");
    }
    world.counts().await.assert_none_twice();
}

/// Waits until `objects` returns true, kills the server, or a node of it, and starts it again.
async fn dies_at(
    (world, setup, server): (&World, &Setup, &mut Server),
    turn: u64,
    objects: impl Fn(u64) -> bool + Send + Sync,
) {
    until("some of it is done", async || objects(world.counts().await.objects).then_some(())).await;
    server.kill_in_turn(usize::try_from(turn).unwrap()).await;
    setup.revive(server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_survives_the_death_of_the_server() {
    let world = World::start().await;
    let setup = Setup::with_world(&world.url);
    let mut server = setup.start().await;
    for seed in 100..100 + DEATHS {
        let mut stack = Stack::new(seed);
        let some = stack.random.random_range(1..ENTITIES as u64);
        let ids = stack.declare(&server.client).await;
        dies_at((&world, &setup, &mut server), seed, |objects| objects >= some).await;
        stack.stands(&server.client, &ids).await;
        let some = stack.random.random_range(1..ENTITIES as u64);
        stack.delete(&server.client, &ids).await;
        dies_at((&world, &setup, &mut server), seed + 2, |objects| objects <= some).await;
        stack.is_gone(&server.client, &ids).await;
        assert_eq!(world.counts().await.objects, 0, "seed {seed}");
    }
    world.counts().await.assert_none_twice();
}
