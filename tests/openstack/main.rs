//! The binary against a real cloud, named by `OS_CLOUD`: `make test-openstack`. The tests get a token from the cloud's
//! own client and query the cloud directly, never through the driver.

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

mod alone;
mod cloud;
mod drift;
mod faults;
mod foreign;
mod kills;
mod lifecycle;
mod proxy;
#[path = "../skip.rs"]
mod skip;
mod slow;
mod stack;
