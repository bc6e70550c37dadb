//! Projections: consumers of the whole log, each with its own checkpoint. `runner` delivers events; `executor` keeps
//! the sync queue; `failure`: why they fail.

mod dependent_cache;
pub mod executor;
mod failure;
pub mod runner;
mod triggers;
