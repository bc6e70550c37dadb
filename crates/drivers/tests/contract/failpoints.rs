//! Every call of the port has a failpoint before and one after it.

#[test]
fn every_call_of_a_driver_has_its_crash_points() {
    let calls = [
        "identity", "health", "verify", "observe", "obstacle", "find", "list", "create", "update",
        "delete", "action", "resume", "cancel",
    ];
    let expected: Vec<_> = calls
        .iter()
        .flat_map(|call| [format!("driver::{call}::before"), format!("driver::{call}::after")])
        .collect();
    let mut listed: Vec<_> =
        stateward_drivers::FAILPOINTS.iter().map(|&name| name.to_owned()).collect();
    listed.sort();
    let mut sorted = expected.clone();
    sorted.sort();
    assert_eq!(listed, sorted);
    let source = include_str!("../../src/instrumented/mod.rs");
    for point in expected {
        assert!(source.contains(&format!("\"{point}\"")), "{point} is listed and never passed");
    }
    let port = include_str!("../../../domain/src/ports/driver.rs");
    let (_, port) = port.split_once("pub trait Driver").unwrap();
    let (port, _) = port.split_once("\n}").unwrap();
    assert_eq!(port.matches("async fn ").count(), calls.len(), "a call without crash points");
}
