//! Promises that only show at full size: `make test-load`. The tests count and do not time, so they hold in every build;
//! durations are printed.

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
#[path = "../postgres_server.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod postgres_server;
#[path = "../skip.rs"]
mod skip;
mod timing;
mod watchers;
