//! The contract that every driver keeps, for every kind. A new driver adds a subject; it needs no tests of its own for
//! this contract.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests say what they find, and stop at it"
)]

mod call_control;
mod failpoints;
mod jira;
mod kind_under_test;
mod local;
mod openstack;
mod ownership;
mod promises;
#[path = "../../../../tests/skip.rs"]
mod skip;
mod suite;
