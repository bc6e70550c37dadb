//! `stateward bench`: every figure is present and plausible. Speed is not asserted.

use serde_json::Value;
use tokio::process::Command;

use crate::harness::{Database, WAIT_MAX};

/// Every figure, by its JSON pointer.
const FIGURES: &[&str] = &[
    "/processors",
    "/disk/fdatasyncs_per_second",
    "/disk/fdatasync_ms",
    "/intake/0/echoes_per_second",
    "/intake/0/creates_per_second",
    "/intake/0/ratio",
    "/intake/0/create_p50_ms",
    "/intake/0/create_p99_ms",
    "/intake/1/creates_per_second",
    "/latency/requests",
    "/latency/p50_ms",
    "/latency/p95_ms",
    "/latency/p99_ms",
    "/convergence/seconds",
    "/convergence/creates_per_second",
    "/convergence/entities_per_second",
    "/convergence/server_cpu_ms_per_entity",
    "/memory_mib/start",
    "/memory_mib/peak",
    "/memory_mib/after",
    "/bytes_per_entity",
    "/replay/events_per_second",
    "/rebuild/events_per_second",
    "/fold/events_per_second",
    "/targets/0/bound",
    "/targets/0/measured",
];

/// Figures of two sizes, besides those of each list.
const SCALE_FIGURES: &[&str] = &[
    "/creates_per_second",
    "/create/p50_ms",
    "/create/p99_ms",
    "/converged_per_second",
    "/ok/p50_ms",
    "/ok/p99_ms",
    "/memory_mib",
    "/memory_peak_mib",
    "/stop_ms",
    "/start_ms",
    "/events_bytes",
    "/views_bytes",
];

async fn bench(folder: &std::path::Path, extra: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stateward"));
    command.args(["bench", "--quick", "--seconds=0.2", "--entities=200", "--json=-", "--dir"]);
    command.arg(folder).args(extra).env_remove("FAILPOINTS").kill_on_drop(true);
    let output = tokio::time::timeout(WAIT_MAX, command.output()).await;
    output.expect("it ends").expect("the binary starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_benchmark_measures_everything_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["--connections=1,4"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    for pointer in FIGURES {
        let figure = report.pointer(pointer).and_then(Value::as_f64);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{pointer}: {report:#}");
    }
    assert_eq!(report["convergence"]["entities"], 200, "all of them converge");
    let at_least = 4 * (200 + report["latency"]["requests"].as_u64().unwrap());
    for pace in ["replay", "rebuild"] {
        let events = report[pace]["events"].as_u64().unwrap();
        assert!(events >= at_least, "{pace}: an entity has four events: {report:#}");
    }
    assert!(report.get("verify").is_some(), "null where there is no such endpoint");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{said}");
}

/// Figures of each store; those of replays are there for one node.
const STORE_FIGURES: &[&str] = &[
    "append_p50_ms",
    "ok_p50_ms",
    "ok_p99_ms",
    "accepted_per_second",
    "creates_per_second",
    "memory_peak_mib",
];

#[tokio::test(flavor = "multi_thread")]
async fn one_node_and_three_are_compared_with_the_embedded_store() {
    let Some(database) = Database::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stateward"));
    command.args(["bench", "--seconds=0.2", "--json=-", "--store", &database.owner_url()]);
    command.arg("--dir").arg(folder.path()).env_remove("FAILPOINTS").kill_on_drop(true);
    let output = tokio::time::timeout(2 * WAIT_MAX, command.output()).await;
    let output = output.expect("it ends").expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    let stores = report["stores"].as_array().expect("stores");
    for (store, replays) in stores.iter().zip([true, true, false]) {
        let replayed = ["rebuild_per_second", "verify_per_second"].into_iter().filter(|_| replays);
        for name in STORE_FIGURES.iter().copied().chain(replayed) {
            assert!(store[name].as_f64().is_some_and(|figure| figure > 0.0), "{name}: {report:#}");
        }
    }
    assert_eq!(stores.len(), 3);
    assert!(report["follower"]["events_per_second"].as_f64() > Some(0.0), "{report:#}");
    assert_eq!(report["targets"].as_array().map(Vec::len), Some(7));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_benchmark_that_cannot_write_says_so_in_one_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = bench(file.path(), &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sizes_are_compared_list_by_list() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_stateward"));
    command.args(["bench", "--scale=500", "--json=-", "--dir"]).arg(folder.path());
    command.env_remove("FAILPOINTS").kill_on_drop(true);
    let output = tokio::time::timeout(WAIT_MAX, command.output()).await;
    let output = output.expect("it ends").expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    assert!(report["small"].as_u64() > Some(100) && report["large"].as_u64() > Some(500));
    for pointer in SCALE_FIGURES {
        let figure = report.pointer(pointer).and_then(Value::as_f64);
        assert!(figure.is_some_and(|figure| figure > 0.0), "{pointer}: {report:#}");
    }
    let asked = report["asked"].as_array().expect("lists");
    assert!(asked.len() > 30, "{report:#}");
    for list in asked {
        assert!(list["large"]["p50_ms"].as_f64() > Some(0.0), "{list:#}");
        // Both reply with as many items, or their costs could not be compared.
        assert_eq!(list["items"], list["items_small"], "{list:#}");
        let name = list["name"].as_str().expect("a name");
        let nothing = [
            "nothing",
            "kind that",
            "other namespace",
            "drifted=false",
            "two labels",
            "that all have",
            "/metrics",
        ];
        let nothing = nothing.iter().any(|part| name.contains(part));
        let full = if name.split(", ").any(|part| part == "name") { 1 } else { 5 };
        let expected = if nothing { 0 } else { full };
        assert!(name.contains("operations") || list["items"] == expected, "{list:#}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{said}");
}
