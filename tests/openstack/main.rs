//! The binary against a real cloud, the one that `OS_CLOUD` names: `make test-openstack`. The cloud is asked by its
//! own command line for a token, and then directly: never through the driver.

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

mod alone;
mod cloud;
mod drift;
mod faults;
mod kills;
mod life;
mod proxy;
mod stack;
