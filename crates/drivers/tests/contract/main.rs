//! What every driver promises, for every kind. A new driver adds a subject; it writes no test of its own for what
//! stands here.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests say what they find, and stop at it"
)]

mod control;
mod failpoints;
mod local;
mod openstack;
mod ownership;
mod promises;
mod subject;
mod suite;
