//! The store on PostgreSQL: any number of processes share one database.
//!
//! - `open`: the bundle of ports of one database
//! - `target`: the URL; `primary`: which of its hosts takes writes; `primary_search`: which of them continues the log; `connect`: connections to it; `session`: one of them
//! - `schema`: migrations, and the check of every process that opens the log; `identity`: the log's name and epoch;
//!   `continuity`: whether a database that was lost is the same one; `seen_events`: the newest events, which are compared for that
//! - `standby_barrier`: when what was found is on the standbys too
//! - `error`: classes of errors; `health`: what the store knows about its own state; `counters`: what a process did; `held_back`: how long readers
//!   have waited
//! - `log`: the event log; `queue`: the sync queue with its leases; `views`: the read models;
//!   `cluster`: members and duties; `audit`: verification and export; `import`, `copy`: a whole
//!   log into an empty database
//! - `checkpoint_hints`, `shared_checkpoint`: waits for what other processes did to queue and read models
//! - `lease_clock`: the clock of leases; `clock_skew`: how far it is from this machine's; `views_db`: what queue and read models share; `column_arrays`: how rows are sent
//!
//! **Architecture invariant:** every write that matters is one statement, so a frozen or unreachable process holds no
//! lock between round trips. Everything is read from the primary.

mod audit;
mod checkpoint_hints;
mod clock_skew;
mod cluster;
mod column_arrays;
mod connect;
mod continuity;
mod copy;
mod counters;
mod error;
mod health;
mod held_back;
mod identity;
mod import;
mod lease_clock;
mod limits;
mod log;
mod open;
mod pooler;
mod primary;
mod primary_search;
mod queue;
mod schema;
mod seen_events;
mod session;
mod shared_checkpoint;
mod standby_barrier;
mod target;
mod views;
mod views_db;

pub use audit::Auditor;
pub use cluster::Members;
pub use connect::Database;
pub use copy::{CopyError, copy, end_fence, fence, place};
pub use error::OpenError;
pub use health::Health;
pub use identity::LogIdentity;
pub use import::{ImportError, import};
pub use lease_clock::LeaseClock;
pub use limits::Limits;
pub use log::Log;
pub use open::{Settings, open};
pub use queue::Queue;
pub use schema::migrate;
pub use target::{BadUrl, Target};
pub use views::Entities;
#[cfg(test)]
pub(crate) use views::SHAPE as VIEWS_SHAPE;
