//! The files of `examples/postgres` say what the programs that read them understand.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Setup, refused};

#[tokio::test(flavor = "multi_thread")]
async fn the_compose_file_starts_three_nodes_with_a_configuration_that_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/postgres");
    let text = std::fs::read_to_string(folder.join("compose.yaml")).unwrap();
    let compose: Value = serde_norway::from_str(&text).unwrap();
    let services = compose["services"].as_object().expect("services");
    for node in ["node-1", "node-2", "node-3"] {
        let balancer = std::fs::read_to_string(folder.join("haproxy.cfg")).unwrap();
        assert!(balancer.contains(&format!("server {node} {node}:8420")), "{node}");
        let migrated = &services[node]["depends_on"]["migrate"]["condition"];
        assert_eq!(migrated, "service_completed_successfully", "{node}");
        for file in services[node]["volumes"].as_array().expect("volumes") {
            let source = file.as_str().expect("text").split(':').next().expect("a source");
            let known = compose["volumes"].get(source).is_some();
            assert!(known || folder.join(source).exists(), "{node}: {source}");
        }
    }
    // Valid up to the secrets, which are not here.
    let setup = Setup::new("");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stateward"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]);
    command.arg(folder.join("stateward.toml")).arg("--data").arg(setup.data());
    let (code, lines) = refused(command).await;
    assert_eq!(code, Some(1));
    assert!(lines.join("\n").contains("/run/secrets/"), "{lines:?}");
}
