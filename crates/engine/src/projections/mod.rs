//! Projections: consumers of the whole log, each with its own checkpoint. `runner` delivers events; `executor` keeps
//! the sync queue.

mod dependent_cache;
pub mod executor;
pub mod runner;
mod triggers;
