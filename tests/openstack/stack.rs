//! The example of a whole stack, declared and deleted in random order, again and again.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::cloud::{Cloud, said};
use super::lifecycle::{reaches, variable};
use crate::harness::{Client, Setup, condition, text};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/openstack");
/// The prefix of the example's names in the cloud.
const PREFIX: &str = "shop-";
/// Time limit for twenty entities, sequential where they depend on each other, on a busy machine.
const WAIT_MAX: Duration = Duration::from_mins(3);
/// Commands of the cloud's own client that list what the example creates.
const LISTS: &[&str] = &[
    "network list",
    "subnet list",
    "port list",
    "router list",
    "floating ip list --long",
    "security group list",
    "server list",
    "server group list",
    "volume list",
    "keypair list",
];

/// All manifests of the example, adapted to the cloud.
fn manifests() -> Vec<Value> {
    let mut manifests = Vec::new();
    for file in ["network.yaml", "security.yaml", "servers.yaml"] {
        let text = std::fs::read_to_string(format!("{EXAMPLE}/{file}")).unwrap();
        let text = text
            .replace("m1.tiny", &variable("STATEWARD_TEST_FLAVOR", "m1.tiny"))
            .replace(
                "imageRef: tiny",
                &format!("imageRef: {}", variable("STATEWARD_TEST_IMAGE", "tiny")),
            )
            .replace(
                "network_id: public",
                &format!("network_id: {}", variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public")),
            );
        for document in serde_norway::Deserializer::from_str(&text) {
            let mut manifest = Value::deserialize(document).unwrap();
            manifest["backend"] = "cloud".into();
            manifests.push(manifest);
        }
    }
    manifests
}

async fn accepted(client: &Client, method: Method, path: &str, body: Option<&Value>) -> String {
    let reply = client.send(method, path, body, &[]).await.unwrap();
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{path}: {:#}", reply.body);
    text(&reply.body["entity"]["id"])
}

/// The example's objects that the cloud still has, by its own client.
async fn left(cloud: &Cloud) -> Vec<String> {
    let mut left = Vec::new();
    for list in LISTS {
        let rows = said(&cloud.name, &format!("{list} -f value")).await;
        let ours = rows.lines().filter(|row| row.contains(PREFIX) || row.contains("the shop"));
        left.extend(ours.map(|row| format!("{list}: {row}")));
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_made_and_unmade_in_any_order() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let first: u64 = variable("STATEWARD_TEST_STACK_FIRST", "0").parse().expect("a number");
    let rounds: u64 = variable("STATEWARD_TEST_STACK_ROUNDS", "20").parse().expect("a number");
    // Default leases: no server dies here.
    let setup = Setup::new(&format!(
        "[backends.cloud]\ndriver = \"openstack\"\ncloud = \"{}\"\n\
         retry = {{ first = \"200ms\", max = \"2s\" }}\n",
        cloud.name
    ));
    let server = setup.start().await;
    let client = &server.client;
    let mut manifests = manifests();
    assert_eq!(manifests.len(), 20);
    assert_eq!(left(&cloud).await, Vec::<String>::new(), "of an earlier run");
    for round in first..first + rounds {
        let began = Instant::now();
        let mut random = StdRng::seed_from_u64(round);
        manifests.shuffle(&mut random);
        let mut ids = Vec::new();
        for manifest in &manifests {
            ids.push(accepted(client, Method::POST, "/v1/entities", Some(manifest)).await);
        }
        for id in &ids {
            let entity = reaches(client, id, "ok", WAIT_MAX).await;
            assert!(!condition(&entity, "blocked") && entity["error"].is_null(), "{entity:#}");
        }
        let made = began.elapsed();
        ids.shuffle(&mut random);
        for id in &ids {
            accepted(client, Method::DELETE, &format!("/v1/entities/{id}"), None).await;
        }
        for id in &ids {
            reaches(client, id, "deleted", WAIT_MAX).await;
            assert_eq!(cloud.marked(id).await, Vec::<Value>::new(), "left behind");
        }
        println!("round {round}: made in {made:.1?}, gone after {:.1?}", began.elapsed());
    }
    assert_eq!(left(&cloud).await, Vec::<String>::new());
}
