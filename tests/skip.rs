//! Records a test that cannot run here, so that `make test` counts and names it at the end (`tests/skipped.py`).

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Every run appends here; the file is removed by `make test` before it runs the tests.
const FILE: &str = "skipped-tests.tsv";

/// Records that the running test, or a part of it, does not run for `reason`. The caller returns, and the test passes.
#[track_caller]
pub(crate) fn skipped(reason: &str) {
    let test = test_name(std::panic::Location::caller());
    println!("skipped: {test}: {reason}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(FILE);
    let line = format!("{}\t{test}\t{reason}\n", env!("CARGO_CRATE_NAME"));
    // Tests run at the same time, with nextest in processes of their own: one write each to the end of the file.
    let written = OpenOptions::new().create(true).append(true).open(&path);
    written
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("the list of skipped tests");
}

/// Both test runners give a test a thread of its name. Elsewhere, the place of the skip.
fn test_name(caller: &std::panic::Location<'_>) -> String {
    match std::thread::current().name() {
        Some(name) if !name.starts_with("main") && !name.starts_with("tokio") => name.to_owned(),
        _ => std::env::var("NEXTEST_TEST_NAME").unwrap_or_else(|_| caller.to_string()),
    }
}
