//! The log's layout as cqrs-es and postgres-es see it: a reader, a view, appends of another program, and the service that
//! benchmarks compare with. Each test has a database of its own; the product is the binary that `STATEWARD_BIN` named at
//! the build.

#![expect(clippy::print_stdout, reason = "tests say what they find")]

mod aggregate;
mod example;
mod faults;
mod foreign;
mod lives;
mod peer;
mod reader;
mod view;

#[path = "../../../../e2e/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this suite uses a part of it")]
mod harness;
#[path = "../../../../postgres_server.rs"]
#[allow(dead_code, reason = "each suite uses a part of it")]
mod postgres_server;
#[path = "../../../../skip.rs"]
mod skip;
