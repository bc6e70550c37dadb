//! Adapters of the storage ports: the log, the sync queue with its leases, and the read models.
//!
//! - `open`: opens the store that a URL names; `opened`: what every adapter hands over
//! - `memory`: log, queue, read models and their audit in memory; the log can fail on request
//! - `sqlite`: the embedded default, one directory with `events.db` (the log) and `views.db` (everything derived from
//!   it)
//! - `postgres`: the store on PostgreSQL, for several processes
//! - `shared`: rules that need no database, for all adapters; `sql_value`: values of SQL rows
//! - `single_node`: the cluster of a store that one process has open
//! - `hash`: the chain over a stream's events; `audit`: verification of a whole log; `page_token`: tokens of lists;
//!   `failpoints`: where a test can kill the process
//!
//! **Architecture invariant:** only this crate names sqlx. Nothing that cannot be derived from the log is in
//! `views.db`. Every adapter passes the suite in `tests/conformance`.
//!
//! To add an adapter: implement the ports of `stateward_domain::ports` in a module of its own and add a subject in
//! `tests/conformance/support.rs`: each suite of the ports runs over it. The rules in `shared` leave it to write its
//! statements.
#![warn(missing_docs)]

pub mod audit;
mod failpoints;
pub mod hash;
mod hex;
pub mod memory;
mod open;
mod opened;
mod page_token;
pub mod postgres;
mod shared;
pub mod single_node;
mod sql_value;
pub mod sqlite;
#[cfg(test)]
mod stored_fold;

pub use failpoints::FAILPOINTS;
pub use open::{BadLocation, Location, OpenError, open};
pub use opened::{Broken, Opened, StoreLifetime};
