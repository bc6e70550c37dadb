//! What every store promises, asked of each of them.
//!
//! - `log`: the event log, of memory and `SQLite`
//! - `torn`: batches in which something does not fit
//! - `queue`: the sync queue and its leases; `views`: read models
//! - `audit`: verification, checkpoints and copies of logs, over the random lives of the domain's invariants
//! - `derived`: counts and labels beside the rows of read models
//! - `objects`: who manages which object, in a log of an older version
//! - `open`: what the embedded store says when it cannot be opened; `put_back`: a log that is older than what is known of it

#![expect(clippy::unwrap_used, reason = "tests say what they find, and stop at it")]

mod audit;
mod batch_conflicts;
mod failpoints;
mod labels_and_counts;
#[path = "../../../domain/tests/invariants/lifecycle/mod.rs"]
mod lifecycle;
mod log;
#[path = "../../../domain/tests/invariants/moves.rs"]
mod moves;
mod object_claims;
mod open;
mod queue;
mod restore_hold;
mod support;
mod views;
