//! The promises of the storage ports, checked against each adapter.
//!
//! Of each adapter that has the ports, as `support` lists them; no suite names one:
//!
//! - `log`: the event log; `batch_conflicts`: appends that conflict within a batch
//! - `queue`: the sync queue and its leases, but `queue/restart`; `cluster`: members and duties
//! - `hints`: waits that another handle of the store ends
//! - `views`: read models; `filters`: their lists; `labels_and_counts`: their secondary rows
//! - `audit_of_stores`: verification of an open store, checkpoints and exports
//! - `support`: the adapters; `histories`: random histories of entities, appended to a log
//!
//! Of `postgres`: `postgres`, its races, outages, and the errors of opening it
//! Of `postgres`: what several processes on one database promise, and the errors of opening it.
//!
//! Of the files of `sqlite`: `queue/restart`, and
//!
//! - `audit`: verification, checkpoints and copies of files, over the random histories of the domain's invariants
//! - `object_claims`: which entity manages which object, in a log of an older version
//! - `health`: what an open store reports about itself
//! - `open`: errors of opening a store; `damaged_rows`: stored values that this system did not write
//! - `restore_hold`: a log that is older than its recorded head
//! - `health`: what an open store reports about itself
//! - `failpoints`: the list of failpoints

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests say what they find, and stop at it"
)]

mod audit;
mod audit_of_stores;
mod batch_conflicts;
mod cluster;
mod damaged_rows;
mod failpoints;
mod filters;
mod health;
mod hints;
mod histories;
mod labels_and_counts;
#[path = "../../../domain/tests/invariants/lifecycle/mod.rs"]
mod lifecycle;
mod log;
#[path = "../../../domain/tests/invariants/moves.rs"]
mod moves;
mod object_claims;
mod open;
mod postgres;
#[path = "../../../../tests/postgres_server.rs"]
#[expect(dead_code, reason = "each suite uses a part of it")]
mod postgres_server;
mod queue;
mod restore_hold;
#[path = "../../../../tests/skip.rs"]
mod skip;
mod support;
mod views;
