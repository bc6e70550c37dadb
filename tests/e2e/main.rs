//! The real binary, from outside: its files, its interface, kills.
//!
//! Every server has a free port and a temporary folder.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests say what they find, and stop at it"
)]

mod access;
mod adoption;
mod audit;
mod bench;
mod bounds;
mod cli;
mod clock;
mod conditions;
mod damaged_views;
mod environment;
mod error_cleared;
mod errors;
mod guards;
mod harness;
mod hostile_input;
mod idempotency;
mod kill;
mod main_path;
mod mass_absence;
mod moved_files;
mod nodes;
mod operating;
mod ownership;
mod positions;
#[path = "../postgres_server.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod postgres_server;
mod proxies;
mod references;
mod reload;
mod repeated_requests;
mod replacement;
mod secrets;
#[path = "../skip.rs"]
mod skip;
mod startup;
mod streams;
mod too_deep;
mod unreached;
mod watch;
