//! The stacks of a platform team: all applied at once from files in any order, and deleted in any order.

use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde_json::Value;

use super::super::cloud::Cloud;
use super::super::lifecycle::{unique, variable};
use super::import::said;
use crate::harness::{Setup, condition, text};

const STACKS: &[&str] = &[
    include_str!("../stacks/web.yaml"),
    include_str!("../stacks/volume_boot.yaml"),
    include_str!("../stacks/tiers.yaml"),
    include_str!("../stacks/ports_first.yaml"),
    include_str!("../stacks/dual_stack.yaml"),
    include_str!("../stacks/snapshots.yaml"),
    include_str!("../stacks/images.yaml"),
];
/// Files that the documents of all stacks are spread over.
const FILES: usize = 7;

/// The documents of all stacks, adapted to the cloud.
fn manifests() -> Vec<Value> {
    let mut manifests = Vec::new();
    for stack in STACKS {
        let flavor = variable("STATEWARD_TEST_FLAVOR", "m1.tiny");
        let external = variable("STATEWARD_TEST_EXTERNAL_NETWORK", "public");
        let image = format!("imageRef: {}", variable("STATEWARD_TEST_IMAGE", "tiny"));
        let stack = stack
            .replace("seven-", &unique("seven-"))
            .replace("m1.tiny", &flavor)
            .replace("imageRef: tiny", &image)
            .replace("network_id: public", &format!("network_id: {external}"));
        for document in serde_norway::Deserializer::from_str(&stack) {
            let mut manifest = Value::deserialize(document).expect("a manifest");
            manifest["backend"] = "cloud".into();
            manifests.push(manifest);
        }
    }
    manifests
}

/// Writes the documents in random order into the files of a folder.
fn spread(manifests: &[Value], random: &mut StdRng, folder: &Path) {
    let mut shuffled = manifests.to_vec();
    shuffled.shuffle(random);
    let mut files = vec![String::new(); FILES];
    for manifest in &shuffled {
        let text = serde_norway::to_string(manifest).expect("YAML");
        let file = &mut files[random.random_range(..FILES)];
        file.push_str("---\n");
        file.push_str(&text);
    }
    for (number, text) in files.iter().enumerate() {
        std::fs::write(folder.join(format!("{number}.yaml")), text).expect("written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_stacks_are_made_from_files_in_any_order_and_leave_nothing() {
    let Some(cloud) = Cloud::wanted().await else { return };
    let first: u64 = variable("STATEWARD_TEST_SEVEN_FIRST", "0").parse().expect("a number");
    let rounds: u64 = variable("STATEWARD_TEST_SEVEN_ROUNDS", "1").parse().expect("a number");
    let setup = Setup::new(&format!(
        "[backends.cloud]\ndriver = \"openstack\"\ncloud = \"{}\"\nconcurrency = 8\n\
         retry = {{ first = \"200ms\", max = \"2s\" }}\n",
        cloud.name
    ));
    let server = setup.start().await;
    let client = &server.client;
    let folder = setup.folder.path();
    let manifests = manifests();
    let before = cloud.lists().await;
    for round in first..first + rounds {
        let began = Instant::now();
        let files = folder.join(format!("round-{round}"));
        std::fs::create_dir(&files).expect("a new folder");
        spread(&manifests, &mut StdRng::seed_from_u64(round), &files);
        let path = files.display();
        said(&server, folder, &format!("apply -f {path} --wait --timeout 3m")).await;
        let entities = client.entities().await;
        assert_eq!(entities.len(), manifests.len());
        for entity in &entities {
            assert_eq!(entity["state"], "ok", "{entity:#}");
            let settled = !condition(entity, "blocked") && condition(entity, "synced");
            assert!(settled, "{entity:#}");
        }
        let made = began.elapsed();
        said(&server, folder, &format!("delete -f {path} --wait --timeout 3m")).await;
        for entity in &entities {
            let id = text(&entity["id"]);
            let path = format!("/v1/entities/{id}/events?page_size=1000");
            let events = client.get(&path).await.body;
            let mut events = events["items"].as_array().expect("events").iter();
            let erred = events.find(|event| event.to_string().contains("\"next\":\"erred\""));
            assert_eq!(erred, None, "{}: only had to wait", entity["name"]);
        }
        println!("round {round}: made in {made:.1?}, gone after {:.1?}", began.elapsed());
        let after = cloud.lists().await;
        let left: Vec<_> = after.iter().filter(|(key, _)| !before.contains_key(*key)).collect();
        assert!(left.is_empty(), "left behind: {left:#?}");
    }
}
