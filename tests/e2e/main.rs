//! The real binary, from outside: its files, its interface, kills.
//!
//! Every server has a free port and a temporary folder.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests say what they find, and stop at it"
)]

mod absence;
mod access;
mod adoption;
mod audit;
mod bench;
mod bounds;
mod cli;
mod clock;
mod conditions;
mod environment;
mod errors;
mod guards;
mod harness;
mod hostile;
mod idempotency;
mod kill;
mod moved;
mod operating;
mod ownership;
mod positions;
mod proxies;
mod references;
mod reload;
mod repeated;
mod replacement;
mod secrets;
mod slice;
mod startup;
mod streams;
mod too_deep;
mod watch;
