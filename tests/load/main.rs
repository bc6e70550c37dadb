//! Promises that only show at full size: `make test-load`. They are counted, not timed, so that they hold in every build;
//! how long it took is printed.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests say what they find, and stop at it"
)]

#[path = "../e2e/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the end-to-end tests, which use all of it"
)]
mod harness;
mod timing;
mod watchers;
