//! Rules of the storage ports that need no database, used by every adapter: an adapter adds its statements.
//!
//! - `chain`: what an append becomes in the log, and what refuses it
//! - `group_commit`: which appends share a commit, and what becomes of each; `newest_events`: the end of the log in
//!   memory; `log_cache`: the same, with the versions of their streams
//! - `queue_plan`: what a delivery changes in the sync queue, and when a row may be leased
//! - `grants`: what is leased within the concurrency of a backend, where one process has the store
//! - `hints`: how far a projection is, and which backends have new work, for those who wait in this process
//! - `views`: the read models: fold, rows, filters and pages
//! - `event_columns`, `queue_row`: rows of the log and of the queue as they are stored
//! - `stored_row`: rows as lists of named values, and values that cannot be read

pub(crate) mod chain;
pub(crate) mod event_columns;
pub(crate) mod grants;
pub(crate) mod group_commit;
pub(crate) mod hints;
pub(crate) mod log_cache;
pub(crate) mod newest_events;
pub(crate) mod queue_plan;
pub(crate) mod queue_row;
pub(crate) mod stored_row;
pub(crate) mod views;
